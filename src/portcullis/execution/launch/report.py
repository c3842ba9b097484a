"""What the launcher tells the gate of a box, for the record, under the agent's identity."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog

from portcullis.client.ask import ask
from portcullis.client.connector import Kept
from portcullis.client.gate import Gate
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ended, Hold

log = structlog.get_logger(__name__)

_LAST_SECONDS: Final = 3.0
"""So long the word about an end may take; nobody waits for more."""
_LONGEST: Final = 64
_STATUS: Final = 255


class Began(msgspec.Struct, frozen=True, kw_only=True):
    """A box that stands. ``command`` is the agent's program, by its name alone."""

    command: str
    profile: str
    adapter: str
    enforced: frozenset[Hold]


class Report:
    """The reports of one box of ``agent``."""

    def __init__(self, gate: Gate, agent: str) -> None:
        self._gate = gate
        self._agent = agent
        self._run = ""

    async def began(self, kept: Kept, box: Began) -> None:
        """Say what the agent is about to run in; ``kept`` is what it acts under.

        Raises Problem when the gate does not put it on record: then the agent is not to begin.
        """
        shown = "".join(one for one in box.command if one.isprintable())[:_LONGEST]
        said = {
            "agent": self._agent,
            "command": shown or "?",
            "profile": box.profile,
            "adapter": box.adapter,
            "enforced": sorted(box.enforced),
        }
        self._run = str((await self._said(kept, "/v1/runs", said)).get("run", ""))

    async def ended(self, how: Ended) -> None:
        """Say how it ended, unless the gate does not listen to this agent any more."""
        status = min(max(how.status, 0), _STATUS)
        said = {"agent": self._agent, "why": how.why.value, "status": status}
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await self._said(self._gate, f"/v1/runs/{self._run}/end", said)
        except (Problem, TimeoutError) as error:
            log.info("end_not_reported", error=getattr(error, "code", type(error).__name__))

    async def _said(self, kept: Kept, path: str, said: Mapping[str, object]) -> dict[str, Any]:
        link = kept.link()
        url = f"{kept.url}{path}"
        granted = await link.grant("POST", url)
        return await ask("POST", url, context=link.context, json=said, headers=granted.headers)

"""The catalogue for operators: which tools are approved, which are not what was approved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import msgspec

from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.inspection_ports import Pin, Pins, Sighting
from portcullis.core.names import HIDDEN, made_of_words
from portcullis.core.ports import Clock

Changed: TypeAlias = Callable[[], Awaitable[None]]
StandingName: TypeAlias = Literal["pinned", "changed", "suspect"]


async def unwatched() -> None:
    """Nobody in this process follows the pins."""


class ToolRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A tool: as it is pinned, and as its server describes it when that is something else."""

    server: str
    tool: str
    pin: Pin | None = None
    seen: Sighting | None = None

    @property
    def state(self) -> StandingName:
        """What may be done with it: only a pinned tool is shown and called."""
        if self.seen is None:
            return "pinned"
        return "suspect" if self.seen.reasons else "changed"


class Catalogue:
    """Shows tools, and approves one exactly as it was shown; that is recorded durably before.

    ``route`` is as in ``Principals``; ``changed`` is told after each approval.
    """

    def __init__(
        self, pins: Pins, records: Records, clock: Clock, route: str, changed: Changed
    ) -> None:
        self._pins = pins
        self._records = records
        self._clock = clock
        self._route = route
        self._changed = changed

    async def tools(self) -> tuple[ToolRecord, ...]:
        """All tools that were ever seen, by server and name."""
        pins = {(p.server, p.tool): p for p in await asyncio.to_thread(self._pins.all)}
        seen = {(s.server, s.tool): s for s in await asyncio.to_thread(self._pins.sightings)}
        return tuple(
            ToolRecord(server=key[0], tool=key[1], pin=pins.get(key), seen=seen.get(key))
            for key in sorted(pins.keys() | seen.keys())
        )

    async def tool(self, server: str, tool: str) -> ToolRecord:
        """One tool. Raises Problem PC7017 for one that was never seen."""
        for record in await self.tools():
            if (record.server, record.tool) == (server, tool):
                return record
        raise Problem("PC7017", "no tool of this name was seen at this server")

    async def pin(self, context: Context, server: str, tool: str, digest: str) -> ToolRecord:
        """Approve the definition of this digest, and no other.

        Raises Problem PC7017, and PC7016 when the digest is neither that of what was last seen
        nor that of the pin.
        """
        record = await self.tool(server, tool)
        shown = [one for one in (record.seen, record.pin) if one is not None]
        definition = next((one.definition for one in shown if one.digest == digest), None)
        if definition is None:
            raise Problem("PC7016", "what was last seen of the tool has another digest")
        named = tool if made_of_words(tool) else HIDDEN  # a server's words, and not an operator's
        await self._records.act(
            context,
            "catalogue.pin",
            f"{server}.{named}",
            route=self._route,
            parameters={"server": server, "tool": named, "digest": digest},
        )
        pin = Pin(
            server=server,
            tool=tool,
            digest=digest,
            definition=definition,
            pinned_at=self._clock.now(),
            approved_by=context.principal.id,
        )
        await asyncio.to_thread(self._pins.put, pin)
        await self._changed()
        return await self.tool(server, tool)

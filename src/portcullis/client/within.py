"""The gate within one session: what is asked there is asked under that session's delegation."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, NoReturn

from portcullis.client.ask import CUT, ask
from portcullis.client.gate import Gate, Granted, Link
from portcullis.core.errors import Problem

ENDS: Final = CUT | {"PC2006"}
"""What the gate says to those who act in a session that is closed, too."""
_DOUBT_SECONDS: Final = 0.05
"""Between two questions, however many doubts come."""
_AGAIN_SECONDS: Final = 1.0
"""Before the gate is asked anew that did not say whether the session is open, or did at once."""
_REFUSALS: Final = frozenset({401, 403})


class Within:
    """An ``Access`` and what a connector asks of a ``Gate``; it ends with the session, too.

    A request that shows another delegation of its own is carried under that one.
    """

    def __init__(self, gate: Gate, delegation: str) -> None:
        self._gate = gate
        self._delegation = delegation
        self._doubt = asyncio.Event()
        self._token = ""

    @property
    def url(self) -> str:
        """The gate's origin."""
        return self._gate.url

    def link(self) -> Link:
        """The gate's newest link, under the session."""
        return _Link(self, self._gate.link())

    async def ready(self) -> None:
        """See that the gate takes the delegation. Raises its refusal."""
        await self._ask()

    def doubt(self) -> None:
        """Have ``cut_off`` ask the gate at once."""
        self._gate.doubt()
        self._doubt.set()

    async def cut_off(self) -> Problem:
        """Return why when the identity is cut off, or the session has ended.

        The gate is asked to say so when the session ends; the first refusal says it, too.
        """
        waiting = [asyncio.ensure_future(one) for one in (self._gate.cut_off(), self._ended())]
        watching = asyncio.ensure_future(self._watch())
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in (*waiting, watching):
                task.cancel()

    async def _watch(self) -> NoReturn:
        """Doubt as soon as the gate says that the session is no more."""
        url, loop = f"{self.url}/v1/runs/session", asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                link = self._gate.link()
                granted = await link.grant("GET", url, self._delegation)
                said = await ask("GET", url, context=link.context, headers=granted.headers)
            except Problem as problem:
                if problem.status in _REFUSALS:
                    self.doubt()
            else:
                if said.get("open") is not True:
                    self.doubt()
                elif loop.time() - began > _AGAIN_SECONDS:
                    continue
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _ended(self) -> Problem:
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            try:
                await self._ask()
            except Problem as problem:
                if problem.status in _REFUSALS:
                    return problem
            await asyncio.sleep(_DOUBT_SECONDS)

    async def _ask(self) -> None:
        link = self._gate.link()
        granted = await link.grant("POST", self.url, self._delegation, spent=self._token)
        self._token = granted.token

    async def _granted(
        self, link: Link, method: str, url: str, delegation: str, spent: str
    ) -> Granted:
        try:
            return await link.grant(method, url, delegation or self._delegation, spent=spent)
        except Problem as problem:
            if problem.status in _REFUSALS:
                self.doubt()
            raise


class _Link:
    """A link that is used within a session."""

    def __init__(self, within: Within, link: Link) -> None:
        self._within = within
        self._link = link

    @property
    def context(self) -> ssl.SSLContext | None:
        return self._link.context

    async def grant(
        self, method: str, url: str, delegation: str = "", *, spent: str = ""
    ) -> Granted:
        return await self._within._granted(self._link, method, url, delegation, spent)  # noqa: SLF001 - of one kind

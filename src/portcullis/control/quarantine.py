"""Who is in quarantine: put there and let out by operators, or put there by a risk level."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from portcullis.control.containment import Containment, acting
from portcullis.control.finishing import Finishing
from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.feed import IsolationScope, Kept
from portcullis.core.ports import Directory
from portcullis.core.principal import PrincipalKind
from portcullis.core.session_ports import SessionState


class Quarantining:
    """Isolates agents and sessions, and ends that. ``route`` names the face in the records.

    ``unheld`` raises Problem PC7063 while an incident holds somebody.

    Isolation acts first, in every gateway, and is then recorded and made durable; when either
    fails it stays, and the caller gets the error. Its end is durable in the log before it acts.
    """

    def __init__(
        self,
        *,
        feed: Containment,
        directory: Directory,
        sessions: SessionState,
        records: Records,
        route: str,
        unheld: Callable[[str, str], Awaitable[None]] | None = None,
    ) -> None:
        self._unheld = unheld
        self._feed = feed
        self._directory = directory
        self._sessions = sessions
        self._records = records
        self._route = route
        self._finish = Finishing()

    async def begin(self, context: Context, scope: IsolationScope, value: str, reason: str) -> None:
        """Isolate an agent or a session. ``reason`` stands in the log in clear.

        Raises Problem PC2010 for an unknown agent, PC2006 for a session that is not open, PC6001
        and PC9002 when it has no record or the database did not take it: then it acts all the same.
        """
        await self._expect(scope, value)
        self._feed.confine(scope, value, reason)
        by = f"{context.principal.kind}:{context.principal.id}"

        async def durably() -> None:
            try:
                await self._act(context, "begin", scope, value, reason)
            finally:
                await self._feed.isolate(scope, value, reason, by)

        await self._finish(acting(durably()))

    async def end(self, context: Context, scope: IsolationScope, value: str, reason: str) -> None:
        """Let somebody out. Raises Problem PC4011 when nobody of this name is in quarantine.

        And PC7063 while an incident holds it.
        """
        if self._unheld is not None:
            await self._unheld(scope, value)
        if not any(one.scope == scope and one.value == value for one in await self.list()):
            raise Problem("PC4011", f"{scope} {value} is not in quarantine")
        await self._act(context, "end", scope, value, reason)
        await self._feed.release(scope, value)

    async def list(self) -> tuple[Kept, ...]:
        """Who is in quarantine, the newest first."""
        return tuple(one for one in await self._feed.kept() if one.isolation)

    async def _expect(self, scope: IsolationScope, value: str) -> None:
        if scope == "session":
            if await self._sessions.get(value) is None:
                raise Problem("PC2006", "no such session is open")
        elif await asyncio.to_thread(self._directory.get, PrincipalKind.AGENT, value) is None:
            raise Problem("PC2010", "there is no agent of this name")

    async def _act(
        self, context: Context, verb: str, scope: IsolationScope, value: str, reason: str
    ) -> None:
        await self._records.act(
            context,
            f"quarantine.{verb}",
            f"{scope}:{value}",
            route=self._route,
            parameters={"reason": reason},
        )

"""The conversations of this gate: who may use which, how many, and for how long."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable

import structlog

from portcullis.core.call import Context, Route
from portcullis.core.errors import Problem
from portcullis.core.ports import KillFeed
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.relay_ports import Claims
from portcullis.gateway.live import GRACE
from portcullis.gateway.mcp import Mcp
from portcullis.gateway.mcp_conversation import Conversation
from portcullis.gateway.owned import unowned
from portcullis.wire.mcp import Era

log = structlog.get_logger(__name__)

_SHARE = 4
"""No principal holds more than one in this many of the conversations, nor of the processes."""


class Conversations:
    """Bounded by ``limits.mcp_sessions``; idle ones end after ``limits.session_idle_seconds``.

    ``named`` makes the id of a legacy session. Where there are several gateways, ``claims`` has
    the modern conversations with a process of their own: each stays at the gateway called ``name``
    that has its process.
    """

    def __init__(
        self,
        mcp: Mcp,
        named: Callable[[str], str] = unowned,
        claims: Claims | None = None,
        name: str = "",
    ) -> None:
        self._mcp = mcp
        self._named = named
        self._claims = claims
        self._name = name
        self._open: dict[str, Conversation] = {}
        self._ending: set[asyncio.Future[None]] = set()
        self._sweeping = False

    def __len__(self) -> int:
        return len(self._open)

    async def modern(self, server: str, context: Context, route: Route) -> Conversation:
        """The caller's one stateless conversation with a server."""
        owner, key = owner_of(context), modern_key(server, context)
        found = self._open.get(key)
        if found is not None and not found.lost:
            return found
        if found is not None:
            await self.end(found)
        return await self._begin(
            Conversation(self._mcp, server, key, owner, Era.MODERN, route, context.session)
        )

    async def legacy(self, server: str, context: Context, route: Route) -> Conversation:
        """A new conversation for an ``initialize``; its key is the new session's id."""
        key = self._named(secrets.token_urlsafe(32))
        owner = owner_of(context)
        return await self._begin(
            Conversation(self._mcp, server, key, owner, Era.LEGACY, route, context.session)
        )

    async def find(self, key: str, server: str, context: Context) -> Conversation:
        """The legacy conversation of this id; Problem PC1035 unless it is this caller's own."""
        found = self._open.get(key)
        mine = (
            found is not None
            and found.era is Era.LEGACY
            and found.server == server
            and found.owner == owner_of(context)
        )
        if found is None or not mine:
            raise Problem("PC1035", "no such MCP session of this caller with this server")
        if found.lost or self._idle(found):
            await self.end(found)
            raise Problem("PC1035", "the MCP session has ended")
        return found

    async def end(self, conversation: Conversation, *, at_once: bool = False) -> None:
        """End a conversation and what it holds upstream, a process ``at_once`` without patience."""
        mine = self._open.get(conversation.key) is conversation
        if mine:
            del self._open[conversation.key]
        try:
            await conversation.close(at_once=at_once)
        finally:
            if mine:
                await self._released(conversation)

    async def reap(self) -> None:
        """End the conversations that have been idle for too long."""
        for conversation in [c for c in self._open.values() if c.lost or self._idle(c)]:
            await self.end(conversation)

    async def run(self) -> None:
        """Reap for as long as the gate runs; cancel it to stop."""
        while True:
            await asyncio.sleep(min(30.0, self._mcp.limits.session_idle_seconds / 4))
            try:
                await self.reap()
            except Exception:
                log.exception("reap_failed")

    def sweep(self, feed: KillFeed) -> None:
        """End those of whoever is cut off, with the processes that run for them; on the loop.

        After ``GRACE``: the calls in them are ended at once, and their callers told why.
        """
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(GRACE, self._sweep, feed)

    def _sweep(self, feed: KillFeed) -> None:
        self._sweeping = False
        over: list[Conversation] = []
        for conversation in tuple(self._open.values()):
            kind, name, session = conversation.owner
            holder = Principal(
                kind=PrincipalKind(kind),
                id=name,
                credential="",
                expires_at=math.inf,
                session=session or None,
                issued_at=math.inf,
            )
            if feed.reason(holder, conversation.session) is not None:
                over.append(conversation)
        self._end_all(over)

    def end_with(self, is_open: Callable[[str], bool]) -> None:
        """End those whose session has ended, with the processes that run for them; on the loop."""
        self._end_all([c for c in self._open.values() if c.session and not is_open(c.session.id)])

    def _end_all(self, over: list[Conversation]) -> None:
        for conversation in over:
            ending = asyncio.ensure_future(self.end(conversation, at_once=True))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End all conversations."""
        for conversation in list(self._open.values()):
            await self.end(conversation)

    async def _begin(self, conversation: Conversation) -> Conversation:
        limits, channels = self._mcp.limits, self._mcp.channels
        if conversation.server not in channels.servers():
            raise Problem("PC5012", "no MCP server of this name is configured")
        if self._claims is not None and self._stays(conversation):
            await self._claims.claim(conversation.key, self._name)
            begun = self._open.get(conversation.key)
            if begun is not None and not begun.lost:  # by another request, meanwhile
                return begun
        limit = limits.mcp_sessions
        own = [c for c in self._open.values() if c.owner[:2] == conversation.owner[:2]]
        whole = len(self._open) >= limit
        full = whole or len(own) >= max(1, limit // _SHARE)
        if not full and channels.spawns(conversation.server):
            own = [c for c in own if channels.spawns(c.server)]
            full = len(own) >= max(1, limits.processes // _SHARE)
        if full:
            spare = [c for c in own if not c.busy]
            if not spare:
                code = "PC5006" if whole else "PC5025"
                raise Problem(code, "too many MCP conversations are open")
            oldest = min(spare, key=lambda c: c.used_at)
            self._open[conversation.key] = conversation
            await self.end(oldest)
        self._open[conversation.key] = conversation
        return conversation

    async def _released(self, conversation: Conversation) -> None:
        """Let go the claim; where that fails it stays with this gateway, which may begin anew."""
        if self._claims is None or not self._stays(conversation):
            return
        try:
            await self._claims.release(conversation.key, self._name)
        except Problem as problem:
            log.warning("claim_not_released", server=conversation.server, code=problem.code)

    def _stays(self, conversation: Conversation) -> bool:
        """Whether another gateway would make another process for it."""
        modern = conversation.era is Era.MODERN
        return modern and self._mcp.channels.spawns(conversation.server)

    def _idle(self, conversation: Conversation) -> bool:
        silence = self._mcp.clock.monotonic() - conversation.used_at
        return not conversation.busy and silence > self._mcp.limits.session_idle_seconds


def modern_key(server: str, context: Context) -> str:
    """The key of a caller's one modern conversation with a server."""
    return ":".join(("modern", server, *owner_of(context)))


def owner_of(context: Context) -> tuple[str, ...]:
    """Whose conversation it is: the principal and the session it acts in."""
    session = context.session.id if context.session else ""
    return (context.principal.kind.value, context.principal.id, session)

"""The conversations of this gate: who may use which, how many, and for how long."""

from __future__ import annotations

import asyncio
import secrets

import structlog

from portcullis.core.call import Context, Route
from portcullis.core.errors import Problem
from portcullis.gateway.mcp import Mcp
from portcullis.gateway.mcp_conversation import Conversation
from portcullis.wire.mcp import Era

log = structlog.get_logger(__name__)

_SHARE = 4
"""No principal holds more than one in this many of the conversations, nor of the processes."""


class Conversations:
    """Bounded by ``limits.mcp_sessions``; idle ones end after ``limits.session_idle_seconds``."""

    def __init__(self, mcp: Mcp) -> None:
        self._mcp = mcp
        self._open: dict[str, Conversation] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def modern(self, server: str, context: Context, route: Route) -> Conversation:
        """The caller's one stateless conversation with a server."""
        owner = owner_of(context)
        key = ":".join(("modern", server, *owner))
        found = self._open.get(key)
        if found is not None and not found.lost:
            return found
        if found is not None:
            await self.end(found)
        return await self._begin(Conversation(self._mcp, server, key, owner, Era.MODERN, route))

    async def legacy(self, server: str, context: Context, route: Route) -> Conversation:
        """A new conversation for an ``initialize``; its key is the new session's id."""
        key = secrets.token_urlsafe(32)
        owner = owner_of(context)
        return await self._begin(Conversation(self._mcp, server, key, owner, Era.LEGACY, route))

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

    async def end(self, conversation: Conversation) -> None:
        """End a conversation and what it holds upstream."""
        if self._open.get(conversation.key) is conversation:
            del self._open[conversation.key]
        await conversation.close()

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

    async def close(self) -> None:
        """End all conversations."""
        for conversation in list(self._open.values()):
            await self.end(conversation)

    async def _begin(self, conversation: Conversation) -> Conversation:
        limits, channels = self._mcp.limits, self._mcp.channels
        if conversation.server not in channels.servers():
            raise Problem("PC5012", "no MCP server of this name is configured")
        limit = limits.mcp_sessions
        own = [c for c in self._open.values() if c.owner[:2] == conversation.owner[:2]]
        full = len(self._open) >= limit or len(own) >= max(1, limit // _SHARE)
        if not full and channels.spawns(conversation.server):
            own = [c for c in own if channels.spawns(c.server)]
            full = len(own) >= max(1, limits.processes // _SHARE)
        if full:
            spare = [c for c in own if not c.busy]
            if not spare:
                raise Problem("PC5006", "too many MCP conversations are open")
            oldest = min(spare, key=lambda c: c.used_at)
            self._open[conversation.key] = conversation
            await self.end(oldest)
        self._open[conversation.key] = conversation
        return conversation

    def _idle(self, conversation: Conversation) -> bool:
        silence = self._mcp.clock.monotonic() - conversation.used_at
        return not conversation.busy and silence > self._mcp.limits.session_idle_seconds


def owner_of(context: Context) -> tuple[str, ...]:
    """Whose conversation it is: the principal and the session it acts in."""
    session = context.session.id if context.session else ""
    return (context.principal.kind.value, context.principal.id, session)

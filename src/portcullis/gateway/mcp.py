"""MCP through the gate: what every conversation shares, whatever its era and transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from portcullis.config import Limits
from portcullis.core.call import Action, Call, Context, Questions, Result, Route, ToolSpec
from portcullis.core.errors import Problem
from portcullis.core.ports import Channels, Clock, Incoming, Inventory
from portcullis.core.verdict import Deny, Finding
from portcullis.gateway.live import ended
from portcullis.gateway.outcome import Outcome, Recorded, recorded
from portcullis.gateway.pipeline import LookUp, Pipeline
from portcullis.gateway.records import new_id
from portcullis.wire.json import encode
from portcullis.wire.mcp import Asked
from portcullis.wire.mcp_state import Seal

Emit: TypeAlias = Callable[[dict[str, Any], str], Awaitable[None]]
"""Sends one message to the client, under an event id where the stream can be resumed ("")."""

GONE: Final = "the call ended before its answer was complete"


@asynccontextmanager
async def leaving(incoming: AsyncIterator[Incoming]) -> AsyncIterator[AsyncIterator[Incoming]]:
    """Leave a channel's iterator in every case: leaving it early cancels the request upstream."""
    try:
        yield incoming
    finally:
        close = getattr(incoming, "aclose", None)
        if close is not None:
            await close()


@dataclass(frozen=True, slots=True)
class Mcp:
    """The parts of the gate that MCP needs. ``seal`` has a key of this deployment alone."""

    pipeline: Pipeline
    inventory: Inventory
    channels: Channels
    seal: Seal
    clock: Clock
    limits: Limits

    async def decide(self, call: Call, context: Context, look: LookUp | None = None) -> Outcome:
        """Take the line; raise Recorded when the answer is no."""
        outcome = await self.pipeline.request(call, context, look)
        if isinstance(outcome.verdict, Deny):
            raise recorded(outcome.verdict)
        return outcome

    async def conclude(
        self, outcome: Outcome, context: Context, result: Result, findings: Sequence[Finding] = ()
    ) -> Result:
        """Take the line back; raise Recorded when the result is withheld.

        ``findings`` is what was seen on the way to it.
        """
        try:
            judged = await self.pipeline.result(outcome, context, result, findings=findings)
        except BaseException as error:  # a result is owed
            gone = ended(error) if isinstance(error, asyncio.CancelledError) else None
            self.pipeline.failed(outcome, context, gone or Problem("PC5014", GONE))
            raise
        if isinstance(judged, Deny):
            raise recorded(judged)
        return judged

    def refuse(
        self, problem: Problem, context: Context, route: Route, server: str, method: str
    ) -> Problem:
        """Record what never became a call; return the problem to answer with."""
        if isinstance(problem, Recorded):
            return problem
        principal = context.principal
        recorded = self.pipeline.refused(
            problem,
            route=route,
            principal_kind=principal.kind,
            principal=principal.id,
            credential=principal.credential,
            session=principal.session or "",
            source=context.source,
            method=method,
            server=server,
            trace_id=context.trace_id,
        )
        return problem if recorded is problem else recorded

    def over(self, context: Context) -> Problem | None:
        """Whether the session behind a stream has ended."""
        if context.session is not None and self.clock.now() >= context.session.expires_at:
            return Problem("PC2006", "the session expired while the stream was open")
        return None

    def expired(self, context: Context) -> Problem | None:
        """Whether the credential behind a stream has ended."""
        if self.clock.now() >= context.principal.expires_at:
            return Problem("PC2003", "the credential expired while the stream was open")
        return None


def make_call(
    route: Route,
    server: str,
    method: str,
    asked: Asked,
    payload: dict[str, Any],
    call_id: str = "",
    tool: ToolSpec | None = None,
    *,
    answers: Questions | None = None,
    within: tuple[Call, ...] = (),
) -> Call:
    """The Call of one message; ``payload`` is what would be forwarded, ``tool`` what it calls.

    ``answers`` and ``within`` are as ``asked`` and ``within`` of a Call.
    """
    return Call(
        id=call_id or new_id(),
        route=route,
        action=asked.action,
        server=server,
        name=asked.name,
        method=method,
        arguments=asked.arguments,
        payload=payload,
        body=encode(payload),
        tool=tool,
        asked=answers,
        within=within,
    )


def protocol(name: str) -> Asked:
    """What is asked for by an operation of the transport itself (listen, end)."""
    return Asked(action=Action.PROTOCOL, name=name, arguments={})


def summary(
    payload: Any,
    *,
    is_error: bool = False,
    finish: str = "",
    chunks: int = 0,
    streamed: dict[str, bytes] | None = None,
) -> Result:
    """A Result of an MCP message's result, error, or nothing; ``streamed`` went before it."""
    return Result(
        payload=payload,
        size=len(encode(payload)) if payload else 0,
        is_error=is_error,
        finish=finish or None,
        chunks=chunks,
        streamed=streamed or {},
    )

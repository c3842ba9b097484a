"""The guard API: ``/v1/calls``, for tools that are functions in the agent's own program.

The agent asks before it runs a tool, runs it with the arguments that it is given back, and reports
what came of it before its own code goes on. Both take the line, as a call of an MCP server does;
only the forwarding happens elsewhere, and so nothing can be looked up from a toolset.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import structlog

from portcullis.config import Limits, Toolset
from portcullis.core.call import Action, Call, Context, Result, Route
from portcullis.core.errors import Problem
from portcullis.core.limit_ports import Standing
from portcullis.core.ports import Clock, Inventory
from portcullis.core.verdict import Deny
from portcullis.gateway.guard_calls import Begun, Running
from portcullis.gateway.http import Request, send_json
from portcullis.gateway.live import cuttable, quietly
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.outcome import Recorded, recorded
from portcullis.gateway.owned import LONGEST, unowned
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import new_id
from portcullis.wire import guard as wire
from portcullis.wire import ratelimit
from portcullis.wire.json import decode, encode

log = structlog.get_logger(__name__)

Shows: TypeAlias = Callable[[Context, str, str], bool]
"""Whether a caller may be shown a toolset's tool by this name."""

_RESULT: Final = re.compile(rf"/([^/]{{1,{LONGEST}}})/result")
_TICK: Final = 0.25
"""Seconds between two looks at what runs; who is cut off is refused at once all the same."""
_GONE: Final = "the call ended before its result was judged"

_NOTHING: Final = Call(
    id="",
    route=Route.GUARD,
    action=Action.PROTOCOL,
    server="",
    name="result",
    method="",
    arguments={},
    payload={},
    body=b"{}",
)
"""In place of the call of a result that belongs to none."""


class Guard:
    """The handler that the router calls, for all that is at and below ``/v1/calls``.

    An agent's description of its tool is pinned as it is first seen, like a server's: only of a
    tool that the agent ``shows`` it may see. ``named`` makes the ids that calls are reported by.
    Run ``run`` beside it, and ``drain`` it at the end.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        inventory: Inventory,
        shows: Shows,
        toolsets: Mapping[str, Toolset],
        *,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
        standing: Standing | None = None,
        named: Callable[[str], str] = unowned,
    ) -> None:
        self._pipeline = pipeline
        self._inventory = inventory
        self._shows = shows
        self._toolsets = toolsets
        self._limits = limits
        self._clock = clock
        self._standing = standing
        self._running = Running(limits, named)
        metrics.watch_guarded(lambda: len(self._running))

    async def __call__(self, request: Request, context: Context, rest: str) -> None:
        """Serve one request. Problems that the log does not hold yet are raised to the router."""
        if request.scope.get("query_string"):
            raise Problem("PC1021", "this route takes no query")
        found = _RESULT.fullmatch(rest)
        if rest and found is None:
            raise Problem("PC1010", "the gate has no such route")
        if request.method != "POST":
            raise Problem("PC1009", "only POST is served here")
        try:
            if found is None:
                await self._decide(request, context)
            else:
                await self._conclude(request, context, found[1])
        except Recorded as problem:
            if not request.started:
                body = encode(problem.document())
                kind = b"application/problem+json"
                headers = ratelimit.refused(problem)
                await quietly(send_json(request.send, problem.status, body, headers, kind=kind))

    async def run(self) -> None:
        """End what is late, cut off, or of a session that is over, until cancelled."""
        while True:
            await asyncio.sleep(_TICK)
            try:
                self.sweep()
            except Exception:
                log.exception("guard_not_swept")

    def sweep(self) -> None:
        """Look at all that runs, once."""
        now = self._clock.monotonic()
        for begun in self._running:
            denied = self._pipeline.chunk(begun.outcome.call, begun.context)
            if denied is not None:
                self._fail(begun, Problem(denied.code, denied.reason))
            elif now >= begun.until:
                self._fail(begun, Problem("PC5021", "no result came in time"))

    def busy(self) -> bool:
        """Whether calls run of which nobody has reported."""
        return bool(len(self._running))

    def drain(self) -> None:
        """End all that runs, and begin no more."""
        self._running.close()
        for begun in self._running:
            self._fail(begun, Problem("PC5013", "the gate was shut down before the result came"))

    async def _decide(self, request: Request, context: Context) -> None:
        asked = wire.asked(decode(await request.json_body(self._limits.body_bytes)))
        toolset = self._toolsets.get(asked.toolset)
        if toolset is None:
            hint = "Add it under `guard` in portcullis.yaml."
            raise Problem("PC5012", "no toolset of this name is configured", hint=hint)
        call = _call(asked)
        with self._running.room(context, len(call.body)):
            await self._offer(call, context)
            outcome = await self._pipeline.request(call, context)
            if isinstance(outcome.verdict, Deny):
                raise recorded(outcome.verdict)
            seconds = toolset.result_seconds or self._limits.request_seconds
            until = self._clock.monotonic() + seconds
            try:
                begun = self._running.begin(outcome, context, until)
            except Problem as problem:
                self._pipeline.failed(outcome, context, problem)
                raise Recorded(problem.code, problem.detail) from None
        arguments = wire.arguments_of(outcome.call.payload)
        body = encode({"call": begun.id, "arguments": arguments})
        quotas = self._standing.quotas(outcome.event) if self._standing else ()
        headers = ratelimit.standing(quotas)
        try:
            with cuttable():
                await send_json(request.send, 200, body, headers)
        except Problem as problem:
            self._fail(begun, problem)
            raise Recorded(problem.code, problem.detail) from None
        except BaseException:
            self._fail(begun, Problem("PC5014", _GONE))
            raise

    async def _offer(self, call: Call, context: Context) -> None:
        """Take note of how the caller describes the tool, unless it may not see that tool.

        Then the line says what it may not, as if nothing had been described.
        """
        if call.tool is None or self._pipeline.chunk(call, context) is not None:
            return
        if self._shows(context, call.server, call.name):
            await self._inventory.offered(call.server, call.tool)

    async def _conclude(self, request: Request, context: Context, call_id: str) -> None:
        body: bytes | Problem
        try:
            body = await self._body(request)  # first: until it is here, the call may be late
        except Problem as problem:
            body = problem
        begun = self._running.claim(call_id, context)
        if begun is None:
            denied = self._pipeline.chunk(_NOTHING, context)  # whoever is cut off is told so
            if denied is not None:
                raise Problem(denied.code, denied.reason)
            raise Problem("PC5020", "no call of yours by this id waits for a result")
        outcome = begun.outcome
        try:
            with cuttable():
                if isinstance(body, Problem):
                    raise body
                said = wire.reported(decode(body))
                shown = wire.result(said, outcome.call.tool)
                size = len(encode(shown))
                back = Result(payload=shown, size=size, is_error=said.is_error)
                judged = await self._pipeline.result(outcome, context, back)
        except Problem as problem:
            self._pipeline.failed(outcome, context, problem)
            raise Recorded(problem.code, problem.detail) from None
        except BaseException:
            self._pipeline.failed(outcome, context, Problem("PC5014", _GONE))
            raise
        if isinstance(judged, Deny):
            raise recorded(judged)
        await quietly(send_json(request.send, 200, encode({"result": wire.value(judged.payload)})))

    async def _body(self, request: Request) -> bytes:
        """A result's, which has a bound of its own: Problem PC5004 beyond it."""
        try:
            return await request.json_body(self._limits.result_bytes)
        except Problem as problem:
            if problem.code != "PC1007":
                raise
            raise Problem(
                "PC5004", f"the result is larger than {self._limits.result_bytes} bytes"
            ) from None

    def _fail(self, begun: Begun, problem: Problem) -> None:
        """End a call without a result, unless it has ended."""
        if self._running.end(begun):
            self._pipeline.failed(begun.outcome, begun.context, problem)


def _call(asked: wire.Asked) -> Call:
    call_id = new_id()
    payload = wire.request(call_id, asked.tool.name, asked.arguments)
    return Call(
        id=call_id,
        route=Route.GUARD,
        action=Action.TOOL,
        server=asked.toolset,
        name=asked.tool.name,
        method=wire.METHOD,
        arguments=asked.arguments,
        payload=payload,
        body=encode(payload),
        tool=asked.tool,
    )

"""Which requests are traced, and what their spans say: see docs/tracing.md.

Whether a request is traced is the gate's own draw: nothing that a caller sends has a part in it.
The parts that stand in here are the gate's own words; a name that an agent chose is in none. Names
follow OpenTelemetry's semantic conventions where these have one, else they are ``portcullis.*``.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import Final

from msgspec import structs

from portcullis.core.call import Action, Call, Context, Result, Route
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.trace import UNTRACED, Kind, Span, Trace, Untraced, parent_of
from portcullis.core.verdict import PASS, Allow, Deny, Hold, Transform, Verdict
from portcullis.gateway.http import Request
from portcullis.gateway.outcome import PENDING, Outcome
from portcullis.wire import otlp

_METHODS: Final = frozenset({"GET", "POST", "DELETE"})
_TARGETS: Final = {"mcp": "/mcp/{server}", "v1/calls": "/v1/calls"}
_MODELS: Final = frozenset({"openai", "anthropic"})
_FAULTS: Final = 500
_MCP: Final = frozenset({Route.MCP_HTTP, Route.MCP_HTTP_LEGACY, Route.MCP_STDIO})


class Tracer:
    """Draws the requests that are traced: ``ratio`` of them; ``put`` takes a trace that is over.

    ``put`` returns at once and never raises. With ``passed_on`` upstreams are told of the trace.
    """

    def __init__(
        self,
        ratio: float,
        put: Callable[[Trace], None],
        clock: Clock,
        *,
        passed_on: bool = False,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._ratio = ratio
        self._put = put
        self._clock = clock
        self._passed_on = passed_on
        self._draw = draw

    def begin(self, request: Request, first: str) -> Trace | None:
        """The trace of a request for the face ``first`` of the gate, if it is to have one.

        A caller's own trace is linked to: then ours has another id, so that nobody adds spans to
        a trace of somebody else's.
        """
        if self._draw() >= self._ratio:
            return None
        method = request.method if request.method in _METHODS else "_OTHER"
        target = f"/{first}" if first in _MODELS else _TARGETS.get(first, "")
        parent = request.headers.get(b"traceparent", b"").decode("latin-1")
        trace = self._begun(f"{method} {target}".rstrip(), request.trace_id, parent)
        trace.root.attributes["http.request.method"] = method
        if target:
            trace.root.attributes["http.route"] = target
        return trace

    @contextlib.contextmanager
    def call(self, context: Context, name: str, traceparent: str = "") -> Iterator[Context]:
        """The context of a call that is no request of the gate's HTTP listeners, for its time.

        Drawn like one; ``name`` is the gate's own word for such calls, ``traceparent`` what the
        caller sent with this one.
        """
        if self._draw() >= self._ratio:
            yield structs.replace(context, trace=None)
            return
        trace = self._begun(name, context.trace_id, traceparent)
        try:
            yield structs.replace(context, trace=trace)
        except Problem as problem:
            trace.root.code = trace.root.code or problem.code
            raise
        finally:
            self.end(trace, 0)

    def _begun(self, name: str, trace_id: str, traceparent: str) -> Trace:
        link = parent_of(traceparent)
        return Trace(
            f"{random.getrandbits(128) or 1:032x}" if link else trace_id,
            name,
            _from(self._clock),
            link=link,
            passed_on=self._passed_on,
        )

    def end(self, trace: Trace, status: int) -> None:
        """The request is over, and was answered under this HTTP status, 0 for not at all."""
        root = trace.root
        if status:
            root.attributes["http.response.status_code"] = status
        if not root.code and status >= _FAULTS:
            root.code = str(status)
        trace.end()
        self._put(trace)


def _from(clock: Clock) -> Callable[[], int]:
    """The time in nanoseconds since the epoch, which never goes back."""
    began, at = perf_counter_ns(), int(clock.now() * 1e9)
    return lambda: at + perf_counter_ns() - began


def calling(
    tracer: Tracer | None, context: Context, name: str, traceparent: str = ""
) -> contextlib.AbstractContextManager[Context]:
    """``Tracer.call``, or the context as it is where nothing is traced."""
    if tracer is None:
        return contextlib.nullcontext(context)
    return tracer.call(context, name, traceparent)


def going(trace: Trace | None, name: str) -> Span | Untraced:
    """What is asked for a call beyond the gate: a client's span, by the gate's own word for it."""
    return UNTRACED if trace is None else trace.begin(name, Kind.CLIENT)


def checking(trace: Trace, phase: str, check: str) -> Span:
    """A check looks at a call, or at what came back (``phase``)."""
    span = trace.begin(f"{check} {phase}")
    span.attributes["portcullis.check"] = check
    span.attributes["portcullis.phase"] = phase
    return span


def judged(span: Span, verdict: Verdict) -> None:
    """What a check said."""
    if isinstance(verdict, Deny):
        word, code = "deny", verdict.code
    elif isinstance(verdict, Hold):
        word, code = "hold", ""
    elif isinstance(verdict, Transform):
        word, code = "transform", ""
    else:
        word, code = "pass" if verdict is PASS else "allow", ""
    span.attributes["portcullis.verdict"] = word
    if not isinstance(verdict, Allow) and verdict.findings:
        span.attributes["portcullis.findings"] = len(verdict.findings)
    span.end(code)


def decided(trace: Trace, outcome: Outcome, context: Context) -> None:
    """What became of the call: the request's own span says it, of the first if there are more."""
    call: Call = outcome.call
    said, denied = trace.root.attributes, isinstance(outcome.verdict, Deny)
    if "portcullis.event.id" in said:
        return
    session = context.session
    verdict = "allow" if not denied else "deny"
    texts = {
        "portcullis.event.id": outcome.event,
        "portcullis.route": call.route.value,
        "portcullis.action": call.action.value,
        "portcullis.verdict": "hold" if _code(outcome.verdict) == PENDING else verdict,
        "portcullis.check": outcome.check,
        "portcullis.risk": outcome.risk.value,
        otlp.GEN_AI_AGENT: context.principal.id,
        otlp.GEN_AI_CONVERSATION: session.id if session else "",
        otlp.MCP_METHOD: call.method if call.route in _MCP else "",
    }
    said.update({key: text for key, text in texts.items() if text})
    said["portcullis.request.bytes"] = len(call.body)
    trace.root.code = _code(outcome.verdict)


def concluded(trace: Trace, outcome: Outcome, result: Result, denied: Deny | None) -> None:
    """How large the result was, what it cost, and why it was withheld."""
    root = trace.root
    if root.attributes.get("portcullis.event.id") != outcome.event:
        return
    root.attributes["portcullis.result.bytes"] = result.size
    if result.usage is not None:
        for key, tokens in (
            (otlp.GEN_AI_INPUT, result.usage.input_tokens),
            (otlp.GEN_AI_OUTPUT, result.usage.output_tokens),
        ):
            if tokens is not None:
                root.attributes[key] = tokens
    root.code = root.code or _code(denied)


def failed(trace: Trace, outcome: Outcome, code: str) -> None:
    """An allowed call has no good result."""
    root = trace.root
    if root.attributes.get("portcullis.event.id") == outcome.event:
        root.code = root.code or code


def asking(trace: Trace, call: Call, *, literal: bool = False) -> Span:
    """The upstream is asked: a client's span of the GenAI conventions.

    A model is named where the configuration does (``literal``), a tool where its server lists it.
    """
    attributes: dict[str, str | int | bool] = {"portcullis.server": call.server}
    if call.action is Action.MODEL:
        name = operation = "embeddings" if call.method.endswith("/embeddings") else "chat"
        attributes[otlp.GEN_AI_OPERATION] = operation
        attributes[otlp.GEN_AI_PROVIDER] = call.server
        if literal:
            attributes[otlp.GEN_AI_MODEL] = call.name
            name = f"{operation} {call.name}"
    else:
        name = call.method
        attributes[otlp.MCP_METHOD] = call.method
        if call.action is Action.TOOL:
            attributes[otlp.GEN_AI_OPERATION] = "execute_tool"
        if call.tool is not None:
            attributes[otlp.GEN_AI_TOOL] = call.tool.name
            name = f"{call.method} {call.tool.name}"
    span = trace.begin(name, Kind.CLIENT)
    span.attributes = attributes
    return span


def told(trace: Trace | None, span: Span | None) -> list[tuple[str, str]]:
    """The headers by which an upstream learns of a trace: none, unless it is to."""
    if trace is None or span is None or not trace.passed_on:
        return []
    return [("traceparent", trace.traceparent(span))]


def _code(verdict: object) -> str:
    return verdict.code if isinstance(verdict, Deny) else ""

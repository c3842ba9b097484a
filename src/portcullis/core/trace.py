"""W3C trace context, and the spans of a request that is traced (OpenTelemetry's, without content).

What stands in a span is the gate's own: names of checks and upstreams, codes, sizes, verdicts,
ids that it made itself. Nothing that a caller chose is ever written into one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from enum import IntEnum
from types import TracebackType
from typing import Final, NamedTuple, Self

from portcullis.core.errors import Problem

MAX_SPANS: Final = 256
"""The most spans of one trace: a request that goes on for long has no more."""

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}"
)


class Parent(NamedTuple):
    """A span of somebody else's: 32 and 16 hex digits."""

    trace: str
    span: str


def parent_of(traceparent: str) -> Parent | None:
    """What a ``traceparent`` header names, or None when it is malformed or names no span."""
    match = _TRACEPARENT.fullmatch(traceparent)
    return Parent(*match.groups()) if match else None


def trace_of(traceparent: str) -> str | None:
    """The trace id (32 hex digits) of a ``traceparent`` header; None exactly where parent_of is."""
    found = parent_of(traceparent)
    return found.trace if found else None


def new_trace() -> str:
    """A new trace id: unique, not secret, so no system call is spent on it."""
    return f"{random.getrandbits(128):032x}"


class Kind(IntEnum):
    """Which side of a call a span is, by the numbers of OTLP's ``SpanKind``."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class Span:
    """Something that took time; ``began`` and ``ended`` are nanoseconds since the epoch.

    It ends once, the first time that it is told to. ``code`` says what went wrong: a code of ours
    or the name of a fault, empty when nothing did. As a context manager it ends with the block.
    """

    __slots__ = ("_now", "attributes", "began", "code", "ended", "id", "kind", "name")

    def __init__(self, name: str, kind: Kind, now: Callable[[], int]) -> None:
        """``now`` tells the time, in nanoseconds since the epoch."""
        self._now = now
        self.id = f"{random.getrandbits(64) or 1:016x}"
        self.name = name
        self.kind = kind
        self.began = now()
        self.ended = 0
        self.code = ""
        self.attributes: dict[str, str | int | bool] = {}

    def end(self, code: str = "") -> None:
        """It is over."""
        if not self.ended:
            self.ended = self._now()
            self.code = code or self.code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        fault = "" if kind is None else kind.__name__
        self.end(error.code if isinstance(error, Problem) else fault)


class Trace:
    """The spans of one request, the first of which is the request itself; the others are its parts.

    ``link`` is the span of the caller's that the request names: it is told of, and believed in
    nothing. ``passed_on`` says whether upstreams are told of this trace. Once ``ended``, or beyond
    ``MAX_SPANS``, a span that is begun is in no trace.
    """

    __slots__ = ("_now", "ended", "id", "link", "passed_on", "spans")

    def __init__(
        self,
        trace_id: str,
        name: str,
        now: Callable[[], int],
        *,
        link: Parent | None = None,
        passed_on: bool = False,
    ) -> None:
        self._now = now
        self.id = trace_id
        self.link = link
        self.passed_on = passed_on
        self.ended = False
        self.spans = [Span(name, Kind.SERVER, now)]

    @property
    def root(self) -> Span:
        """The request."""
        return self.spans[0]

    def begin(self, name: str, kind: Kind = Kind.INTERNAL) -> Span:
        """A part of the request begins."""
        span = Span(name, kind, self._now)
        if not self.ended and len(self.spans) < MAX_SPANS:
            self.spans.append(span)
        return span

    def end(self) -> None:
        """The request is over, with all that has not ended yet."""
        for span in reversed(self.spans):
            span.end("" if span is self.root else "unfinished")
        self.ended = True

    def traceparent(self, span: Span) -> str:
        """What an upstream is told: this trace, and the span that it is called in."""
        return f"00-{self.id}-{span.id}-01"


class Untraced:
    """In place of a span, where nothing is traced."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


UNTRACED: Final = Untraced()
"""It takes a ``with``, and does nothing."""


def part(trace: Trace | None, name: str) -> Span | Untraced:
    """A part of a request that may be traced, for a ``with``."""
    return UNTRACED if trace is None else trace.begin(name)

"""W3C trace context: which trace a request belongs to."""

from __future__ import annotations

import random
import re
from typing import Final

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}"
)


def trace_of(traceparent: str) -> str | None:
    """The trace id (32 hex digits) of a ``traceparent`` header, or None when it has none."""
    match = _TRACEPARENT.fullmatch(traceparent)
    return match.group(1) if match else None


def new_trace() -> str:
    """A new trace id: unique, not secret, so no system call is spent on it."""
    return f"{random.getrandbits(128):032x}"

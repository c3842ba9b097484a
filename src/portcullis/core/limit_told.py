"""What those are told who meet a limit: which it is, what is left of it, and until when.

Nobody is told of others' usage.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from enum import StrEnum

import msgspec


class Measure(StrEnum):
    """What is counted.

    ``requests`` are calls as they go, ``calls`` how many there are in all, ``concurrency`` those
    that run. Tokens and cost are of model calls; ``rows`` and ``bytes`` are of what tools,
    resources and prompts give back. ``session`` is the time since a session was opened.
    """

    REQUESTS = "requests"
    CALLS = "calls"
    INPUT = "input_tokens"
    OUTPUT = "output_tokens"
    TOKENS = "tokens"
    COST = "cost"
    ROWS = "rows"
    BYTES = "bytes"
    CONCURRENCY = "concurrency"
    SESSION = "session_seconds"


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """One limit as its subject is told of it: ``left`` is None where others' usage would show.

    ``window`` is in seconds, 0 where there is none; ``resets_at`` is when it is whole again, in
    ``seconds`` from when this was said.
    """

    name: str
    measure: Measure
    ceiling: int
    left: int | None
    window: float
    resets_at: float
    seconds: int = 0


class Exceeded(msgspec.Struct, frozen=True, kw_only=True):
    """Which limit a refusal is of, when it is worth trying again (0 for never), how it stands."""

    limit: str
    measure: Measure
    resets_at: float = 0.0
    quotas: tuple[Quota, ...] = ()

    def members(self) -> dict[str, str]:
        """What every refusal says of it, whatever its shape."""
        said = {"limit": self.limit, "measure": self.measure.value}
        if self.resets_at:
            said["resets_at"] = moment(self.resets_at)
        return said


def moment(at: float) -> str:
    """A time as RFC 3339 has it, in whole seconds, not too early."""
    return datetime.fromtimestamp(math.ceil(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

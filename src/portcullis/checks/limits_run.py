"""A call that limits are of, from its reservation to what it really took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from portcullis.core.call import Action, Call, Result, Route, Usage
from portcullis.core.errors import Problem
from portcullis.core.limit_ports import Price
from portcullis.core.limit_told import Exceeded, Measure
from portcullis.core.limits import MICROS, MOST, Limit, Rate, Reservation, Slot, State, Want, Window
from portcullis.core.verdict import Deny
from portcullis.oversight import limits as rules
from portcullis.oversight import limits_size as size
from portcullis.oversight.limits import Estimate, Planned

_NEVER: Final = frozenset(
    {
        *("PC5006", "PC5012", "PC5013", "PC5022", "PC5025"),
        *("PC5080", "PC5081", "PC5082", "PC5083"),
    }
)
"""Problems with which a call ends before its upstream got it."""
_UNREACHED: Final = "no connection"
"""What the reason of PC5001 begins with when nothing was sent."""
_ELSEWHERE: Final = frozenset({Route.AUTHZEN, Route.EXT_AUTHZ})
"""Over which somebody else asks, and then acts himself."""
_BOUND: Final = frozenset({Measure.OUTPUT, Measure.TOKENS, Measure.COST})


class Book(Protocol):
    """The policy in force, as far as limits go."""

    @property
    def digest(self) -> str:
        """Of the whole policy."""
        ...

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All limits."""
        ...

    def role_of(self, agent: str) -> str | None:
        """An agent's role."""
        ...


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How calls are estimated, and for how long (seconds) a reservation can be settled.

    ``cap_output``: a request that names no maximum is given the one that is reserved for it.
    """

    output_tokens: int = 4096
    bytes_per_token: float = 2.0
    cap_output: bool = True
    hold_seconds: float = 1200.0


class Run:
    """A call that was let through, until it is settled."""

    __slots__ = (
        "agent",
        "at",
        "estimate",
        "most",
        "named",
        "never",
        "over_at",
        "passed",
        "plan",
        "price",
        "reservation",
        "wants",
    )

    def __init__(self, agent: str, at: float, plan: Sequence[Planned]) -> None:
        self.agent = agent
        self.at = at
        self.plan = plan
        self.wants: Sequence[Want] = ()
        self.reservation = Reservation(id="", wants=(), states=())
        self.estimate = Estimate()
        self.price: Price | None = None
        self.most: int | None = None
        self.named = False
        self.over_at: tuple[float, Limit] | None = None
        self.passed = 0
        self.never = False


def unsent(call: Call, problem: Deny) -> bool:
    """Whether a call ended before its upstream got any of it: then nothing of it is counted.

    One of an agent's own program may have run, whatever ended it here. An official client that
    tries again (``x-stainless-retry-count``) is so counted once. The header itself is the caller's
    own word, and nothing goes by it.
    """
    if call.route is Route.GUARD:
        return False
    if problem.code == "PC5001":
        return problem.reason.startswith(_UNREACHED)
    return problem.code in _NEVER


def really(call: Call, run: Run, result: Result | None, problem: Deny | None) -> Estimate:
    """What a call took: what the provider says, and what was estimated where it says nothing.

    A refusal of the provider's costs nothing, unless it says that it does. An answer that was
    broken off is charged in full as estimated: nobody knows how much of it was written.
    """
    estimate = run.estimate
    if call.action is not Action.MODEL:
        return estimate
    if result is not None and result.is_error and not result.chunks and result.usage is None:
        return Estimate(read=0, written=0, micros=0)
    usage = (result.usage if result else None) or Usage()
    read = estimate.read if usage.input_tokens is None else usage.input_tokens
    written = usage.output_tokens
    ended = result is not None and (problem is None or result.finish is not None)
    if written is None or not ended:
        written = max(estimate.written, size.tokens(run.passed), written or 0)
    micros = None
    if run.price is not None:
        micros = run.price.micros(
            read, written, cached=usage.cached_tokens, stored=usage.stored_tokens
        )
        if usage.input_tokens is None:
            micros = run.price.dearest(read, written)
    return Estimate(read=read, written=written, micros=micros)


def priced(call: Call, price: Price | None) -> Price | None:
    """What a call's tokens cost, by the service that it asks for.

    None for a call with sound where nobody says what that costs: many times as much as text.
    """
    if price is None:
        return None
    times, sound = size.dearer(call), size.sounds(call)
    if sound and not any(price.audio):
        return None
    return price.dearer(times, sound=sound) if times > 1 or sound else price


def actual(plan: Sequence[Planned], real: Estimate) -> list[int]:
    """What each want really was; what results took was counted with them.

    A provider may say what it likes: nothing is more than can be counted.
    """
    amounts = real.amounts()
    return [min(amounts.get(one.measure, 0), MOST) for one in plan]


def countable(call: Call, plan: tuple[Planned, ...]) -> tuple[Planned, ...]:
    """Of a call that happens elsewhere nobody knows how long it runs: it takes no place."""
    if call.route not in _ELSEWHERE:
        return plan
    return tuple(one for one in plan if one.measure is not Measure.CONCURRENCY)


def bounds(one: Planned) -> bool:
    """Whether it bounds how long an answer may become."""
    return one.measure in _BOUND and not one.burn


def growing(limit: Limit) -> bool:
    """Whether a limit is of something that grows with an answer."""
    return any(one.measure in _BOUND for one in limit.ceilings)


def late(limit: Limit) -> Deny:
    """The refusal once a session is too old for a limit."""
    seconds = limit.session_seconds
    return Deny(
        code="PC3075",
        reason=f"limit {limit.name}: {seconds} seconds since the session was opened",
        over=Exceeded(limit=limit.name, measure=Measure.SESSION),
    )


def told(problem: Problem, one: Planned, resets_at: float, now: float, *, quoted: bool) -> None:
    """Add to a problem what those may know who meet a limit; ``quoted``, in headers too."""
    quotas = (rules.quota(one, State(0, resets_at), now),) if quoted else ()
    problem.over = Exceeded(
        limit=one.limit.name, measure=one.measure, resets_at=resets_at, quotas=quotas
    )
    if resets_at:
        problem.retry_after = rules.seconds_until(resets_at, now)


def said(one: Planned) -> str:
    """A limit in words: what it allows, and not what is used of it."""
    want, limit = one.want, one.limit
    if isinstance(want, Slot):
        return f"{want.ceiling} calls at once"
    if isinstance(want, Rate):
        count = round(one.window * MICROS / want.interval)
        return f"{count} requests in {one.window:g} seconds"
    window = next(
        (each.window for each in limit.ceilings if f"|{each.measure}.{each.window}|" in want.key),
        Window.SESSION,
    )
    much = f"{want.ceiling / MICROS:g} USD" if one.measure is Measure.COST else want.ceiling
    name = "" if one.measure is Measure.COST else f" {one.measure}"
    return f"{much}{name} per {window}"

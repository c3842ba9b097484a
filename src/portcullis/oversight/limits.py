"""Which limits a call meets, what it wants of them, and how it stands with them. Pure.

A call that is made on behalf of other agents counts for each of them, as for the one that makes it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import quote

import msgspec

from portcullis.core.behaviour import RiskLevel
from portcullis.core.call import Action, Call, Context
from portcullis.core.limit_told import Measure, Quota
from portcullis.core.limits import (
    DATA,
    MICROS,
    MODEL,
    MOST,
    Amount,
    Ceiling,
    Dimension,
    Limit,
    Rate,
    Slot,
    State,
    Want,
    Window,
    span,
)

COUNTED: Final = frozenset(
    {
        *(Action.MODEL, Action.TOOL, Action.RESOURCE, Action.PROMPT, Action.COMPLETE),
        Action.EGRESS,
    }
)
"""The actions that limits are of. Lists and the protocol's own messages are not counted."""
BURN: Final = "burn"
"""In place of a measure: what is spent within an hour, whatever its ceiling."""
_LONGEST: Final = 96
_PART: Final = "&agent="
_OF: Final = {Dimension.TOOL: Action.TOOL, Dimension.MODEL: Action.MODEL}
_SECONDS: Final = {Window.MINUTE: 60, Window.HOUR: 3600, Window.DAY: 86400}

RoleOf: TypeAlias = Callable[[str], str | None]
Level: TypeAlias = Callable[[str], RiskLevel]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a model call can take at most; ``micros`` is None where nobody knows the price."""

    read: int = 0
    written: int = 0
    micros: int | None = None

    def amounts(self) -> dict[Measure, int]:
        """How much of each measure; of what is not in it, nothing is known before."""
        return {
            Measure.CALLS: 1,
            Measure.INPUT: self.read,
            Measure.OUTPUT: self.written,
            Measure.TOKENS: self.read + self.written,
            Measure.COST: self.micros or 0,
        }


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a call is counted: one of its agents, and what it is of."""

    agent: str
    role: str
    values: dict[Dimension, str]
    session: tuple[str, float, float] | None
    """Its id, and when it opened and expires."""
    caller: bool
    """Whether it is the agent that makes the call, and not one that it acts for."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One want of a limit's, of an amount not yet known how much of it.

    ``told`` says whether its subject may see what is left. A ``burn`` is a count of what is spent
    within an hour, and ``burns`` the agent that is stopped when that is too much and the count its
    own, or its own part of one that others share.
    """

    limit: Limit
    measure: Measure
    want: Want
    window: float = 0.0
    told: bool = False
    burn: bool = False
    burns: str = ""


def subjects(
    call: Call, context: Context, role_of: RoleOf, mask: Callable[[str], str]
) -> tuple[Subject, ...]:
    """Whom a call is counted for: who makes it first. ``mask`` hides the user's name."""
    principal, session = context.principal, context.session
    values = {
        Dimension.APPLICATION: session.application if session else "",
        Dimension.USER: mask(session.user) if session else "",
        Dimension.SERVER: call.server,
        Dimension.ALL: "",
    }
    if call.action is Action.TOOL:
        values[Dimension.TOOL] = f"{call.server}.{call.name}"
    elif call.action is Action.MODEL:
        values[Dimension.MODEL] = call.name
    window = (session.id, session.opened_at, session.expires_at) if session else None
    names = dict.fromkeys((principal.id, *principal.chain))
    return tuple(
        Subject(
            agent=name,
            role=role_of(name) or "",
            values=values,
            session=window,
            caller=name == principal.id,
        )
        for name in names
    )


def meets(limit: Limit, subject: Subject, call: Call, user: str) -> bool:
    """Whether a call counts for a limit, as one of this subject's. ``user`` is its name."""
    if call.action not in COUNTED:
        return False
    named = {*limit.where, *limit.per}
    if any(call.action is not action for one, action in _OF.items() if one in named):
        return False
    for dimension in limit.where:
        match dimension:
            case Dimension.AGENT:
                value = subject.agent
            case Dimension.ROLE:
                value = subject.role
            case Dimension.USER:
                value = user
            case _:
                value = subject.values.get(dimension, "")
        if not limit.named(dimension, value):
            return False
    return True


def each(limit: Limit, met: Sequence[Subject]) -> Iterator[tuple[Subject, tuple[str, ...]]]:
    """The subjects with counts of their own, of those for whom a call meets a limit.

    With each come the agents that share its count in this call.
    """
    if Dimension.AGENT in limit.per:
        yield from ((subject, (subject.agent,)) for subject in met)
    elif Dimension.ROLE in limit.per:
        for role, subject in {subject.role: subject for subject in reversed(met)}.items():
            yield subject, tuple(one.agent for one in met if one.role == role)
    elif met:
        yield met[0], tuple(one.agent for one in met)


def who(limit: Limit, subject: Subject) -> str:
    """Whose count it is, as it stands in a key: ``agent=shop&model=gpt-5``.

    A call outside of any session counts for its agent where sessions, or users, are counted.
    """
    parts = []
    for dimension in limit.per:
        if dimension is Dimension.AGENT:
            value = subject.agent
        elif dimension is Dimension.ROLE:
            value = subject.role
        elif dimension is Dimension.SESSION:
            value = subject.session[0] if subject.session else f"none:{subject.agent}"
        elif dimension is Dimension.USER and subject.session is None:
            value = f"none:{subject.agent}"
        else:
            value = subject.values.get(dimension, "")
        parts.append(f"{dimension}={named(value)}" if value else dimension.value)
    return "&".join(parts)


def named(value: str) -> str:
    """A name as it stands in keys; a long one is known by its digest."""
    if len(value) <= _LONGEST:
        found = quote(value, safe="~.:/@+ ")
        if len(found) <= _LONGEST:
            return found
    return "~" + hashlib.sha256(value.encode()).hexdigest()[:32]


def planned(
    limit: Limit,
    subject: Subject,
    call: Call,
    factor: float,
    now: float,
    agents: Sequence[str] = (),
) -> Iterator[Planned]:
    """What a call wants of a limit at a risk that leaves ``factor`` of it.

    ``agents`` are those for whom it is spent: the subject, unless others are named.
    """
    owner = who(limit, subject)
    told = limit.own and subject.caller
    if limit.requests is not None:
        asked = limit.requests
        pace = asked.seconds * MICROS / asked.count
        burst = asked.burst if factor >= 1 else max(int(asked.burst * factor), int(factor > 0))
        interval = max(round(pace / factor) if factor > 0 else round(pace), 1)
        key = f"{limit.name}|{Measure.REQUESTS}|{owner}|"
        yield Planned(
            limit=limit,
            measure=Measure.REQUESTS,
            want=Rate(key, interval, burst),
            window=asked.seconds,
            told=told,
        )
    for ceiling in limit.ceilings:
        if fits(ceiling.measure, call):
            yield amount(limit, ceiling, subject, factor, now)
    if limit.burn is not None and call.action is Action.MODEL:
        start, end = span(Window.HOUR, now)
        whose = {owner: ""}
        whose |= {own_part(limit, owner, agent): agent for agent in agents or (subject.agent,)}
        for part, agent in whose.items():
            want = Amount(burn_key(limit, part, start), 0, MOST, end + 3600)
            yield Planned(limit=limit, measure=Measure.COST, want=want, burn=True, burns=agent)
    if limit.concurrency is not None:
        key = f"{limit.name}|{Measure.CONCURRENCY}|{owner}|"
        places = _scaled(limit.concurrency, factor)
        yield Planned(limit=limit, measure=Measure.CONCURRENCY, want=Slot(key, places), told=told)


def sized(plan: Sequence[Planned], amounts: Mapping[Measure, int]) -> list[Want]:
    """The wants of a plan, now that it is known how much."""
    found: list[Want] = []
    for one in plan:
        want = one.want
        if isinstance(want, Amount):
            much = min(amounts.get(one.measure, 0), MOST)
            want = Amount(want.key, much, want.ceiling, want.ends_at)
        found.append(want)
    return found


def lasts(plan: Sequence[Planned], now: float) -> float:
    """Until when a plan stays as it is: the end of the first of its windows."""
    ends = (one.want.ends_at for one in plan if isinstance(one.want, Amount) and not one.burn)
    return min((*ends, span(Window.HOUR, now)[1]))


def fits(measure: Measure, call: Call) -> bool:
    """Whether a call has any of a measure."""
    if measure is Measure.CALLS:
        return True
    if measure in MODEL:
        return call.action is Action.MODEL
    return measure in DATA and call.action is not Action.MODEL


def amount(limit: Limit, ceiling: Ceiling, subject: Subject, factor: float, now: float) -> Planned:
    """What is wanted below one ceiling."""
    owner, window = who(limit, subject), ceiling.window
    if window is not Window.SESSION:
        start, end = span(window, now)
    elif subject.session is not None:
        owner = f"{owner}&session={subject.session[0]}"
        _, start, end = subject.session
    else:  # outside of sessions, the day stands for one
        owner = f"{owner}&session=none:{named(subject.agent)}"
        start, end = span(Window.DAY, now)
    key = f"{limit.name}|{ceiling.measure}.{window}|{owner}|{int(start)}"
    return Planned(
        limit=limit,
        measure=ceiling.measure,
        want=Amount(key, 0, _scaled(ceiling.amount, factor), end),
        window=end - start,
        told=subject.caller and (limit.own or window is Window.SESSION),
    )


def _scaled(number: int, factor: float) -> int:
    return number if factor >= 1 else max(int(number * factor), int(factor > 0))


def burn_key(limit: Limit, owner: str, start: float) -> str:
    """The count of what is spent in the hour that began at ``start``."""
    return f"{limit.name}|{BURN}.{Window.HOUR}|{owner}|{int(start)}"


def own_part(limit: Limit, owner: str, agent: str) -> str:
    """Whose count it is of what one agent spends of a count that it may share with others."""
    return owner if Dimension.AGENT in limit.per else f"{owner}{_PART}{named(agent)}"


def whole(limit: Limit, part: str) -> str:
    """Whose count it is of which this is an agent's own part."""
    return part if Dimension.AGENT in limit.per else part.rpartition(_PART)[0]


def even(limit: Limit, now: float) -> float:
    """What an hour of the month's budget is, in millionths of a dollar."""
    start, end = span(Window.MONTH, now)
    month = min(
        (
            one.amount
            for one in limit.ceilings
            if one.measure is Measure.COST and one.window is Window.MONTH
        ),
        default=MOST,
    )
    return month * 3600 / (end - start)


def burns(limit: Limit, before: int, within: int, now: float) -> bool:
    """Whether the last hour was spent at more than the limit's times of the even pace.

    ``before`` and ``within`` are as in ``last_hour``.
    """
    last = last_hour(before, within, now)
    return limit.burn is not None and last > limit.burn * even(limit, now)


def last_hour(before: int, within: int, now: float) -> float:
    """What was spent in the last 60 minutes.

    ``within`` was spent in the hour of the clock that runs, ``before`` in the one before: of that,
    as much counts as lies within the last 60 minutes, evenly.
    """
    start, _ = span(Window.HOUR, now)
    return within + before * max(1 - (now - start) / 3600, 0.0)


def quotas(plan: Sequence[Planned], states: Sequence[State], now: float) -> tuple[Quota, ...]:
    """How it stands with what was planned, as its subject may know it."""
    pairs = zip(plan, states, strict=True)
    return tuple(quota(one, state, now) for one, state in pairs if not one.burn)


def quota(one: Planned, state: State, now: float) -> Quota:
    """The same of one."""
    want = one.want
    ceiling = want.burst if isinstance(want, Rate) else want.ceiling
    if isinstance(want, Rate) and one.limit.requests is not None:
        ceiling = round(one.window * MICROS / want.interval)
    return Quota(
        name=one.limit.name,
        measure=one.measure,
        ceiling=ceiling,
        left=max(state.left, 0) if one.told else None,
        window=one.window,
        resets_at=state.resets_at,
        seconds=seconds_until(state.resets_at, now),
    )


def seconds_until(at: float, now: float) -> int:
    """Whole seconds from now on, at least one."""
    return max(math.ceil(at - now), 1)

"""A decision, held against what is usual: who calls what, from where, when, in which order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from portcullis.core.behaviour import Kind, Phase
from portcullis.core.event import Event
from portcullis.oversight.behaviour.amounts import NEVER, Count, Size, Teach, doublings
from portcullis.oversight.behaviour.profile import Profile, Talk, kind_of_day
from portcullis.oversight.behaviour.roles import Role
from portcullis.oversight.behaviour.score import Scorer
from portcullis.oversight.behaviour.seen import (
    arguments_of,
    counts,
    host_of,
    shape_of,
    tool_of,
)
from portcullis.oversight.behaviour.values import MOST

_GAIN: Final[dict[Kind, float]] = {
    Kind.TOOL: 18.0,
    Kind.DESTINATION: 18.0,
    Kind.SHAPE: 16.0,
    Kind.ORDER: 12.0,
    Kind.OUTCOME: 14.0,
    Kind.SOURCE: 22.0,
}
"""Points for each decimal power of surprise beyond ``_EXPECTED``."""
_EXPECTED: Final = 0.7
_IN_ROLE: Final = 0.35
"""What is new for the agent and usual in its role weighs so much of it."""
_MOST_ORDERS: Final = 384
_MOST_CREDENTIALS: Final = 64
_ORDER_SHARE: Final = 0.1
_PADS: Final = {"calls": 10.0, "effects": 5.0, "refusals": 3.0, "errors": 3.0, "findings": 3.0}
_TOOL_PAD: Final = 5.0
_BYTES_PAD: Final = 4096.0
_BY_DOUBLING: Final = 28.0
_BY_DEVIATION: Final = 8.0
_LARGEST_SIZE: Final = 45.0
_SIZE: Final = 10.0
_HOURS: Final = 26.0
_ODD: Final = 0.3
_SETTLED_DAYS: Final = 4
_FEW_DAYS: Final = 3
_AGAIN: Final = 1.2
"""So much more it has to be before the same is said again."""
_FAR_HOURS: Final = 8
_SHARE_STEP: Final = 0.1
_SHARE_LEAST: Final = 0.25
_SHARE_POINTS: Final = 90.0
_GROSS_POINTS: Final = (30.0, 15.0)
_NEAR: Final = ((0, 1.0), (1, 0.5), (2, 0.15))
"""How usual an hour is because of those so many hours away."""


class Calls:
    """Judges and learns; ``scorer`` is told what is unusual."""

    def __init__(self, scorer: Scorer, bounds: Mapping[str, float]) -> None:
        self._scorer = scorer
        self._bounds = bounds

    def decided(
        self, profile: Profile, event: Event, at: float, teach: Teach, role: Role | None
    ) -> None:
        """A decision of the line, or a hold."""
        tool = tool_of(event)
        self._count(profile, at, "calls", 1.0, Kind.VOLUME)
        talk = profile.talk(event.session or event.credential)
        self._source(profile, event, at, talk, teach, role)
        refused = event.verdict == "deny" and counts(event.code)
        self._share(profile, at, "refusals", failed=refused)
        if event.verdict == "deny":
            if refused:
                self._refused(profile, event, at)
            return
        fresh = not usual(profile, "tool", tool) and self._fresh(
            profile, at, Kind.TOOL, "tool", tool, teach, role, named=tool
        )
        self._hours(profile, at, teach)
        if event.session:
            profile.session_ids.add(event.session)
        if not fresh:
            self._arguments(profile, event, at, tool, teach, role)
            self._count(profile, at, f"tool {tool}", 1.0, Kind.VOLUME)
            self._size(profile, at, f"request {tool}", event.request_bytes, teach)
            if event.type != "llm_call":
                self._order(profile, at, talk, tool, teach)
        if event.risk not in {"read", ""}:
            self._count(profile, at, "effects", 1.0, Kind.VOLUME)
        self._count(profile, at, "request bytes", event.request_bytes, Kind.VOLUME)

    def finished(self, profile: Profile, event: Event, at: float, teach: Teach) -> None:
        """What came of a call that was allowed."""
        tool = tool_of(event)
        result = event.result
        failed = event.verdict == "error" or (result is not None and result.error)
        self._share(profile, at, "errors", failed=failed)
        if failed:
            self._count(profile, at, "errors", 1.0, Kind.REFUSALS)
        elif event.verdict == "deny" and counts(event.code):
            self._refused(profile, event, at)
        if result is not None:
            self._size(profile, at, f"result {tool}", result.bytes, teach)
            self._count(profile, at, "result bytes", result.bytes, Kind.VOLUME)
        for name, tokens in (("input", event.input_tokens), ("output", event.output_tokens)):
            if tokens:
                self._size(profile, at, f"{name} tokens {tool}", tokens, teach)
                self._count(profile, at, f"{name} tokens", tokens, Kind.VOLUME)
        if event.findings:
            self._count(profile, at, "findings", 1.0, Kind.REFUSALS)

    def _share(self, profile: Profile, at: float, name: str, *, failed: bool) -> None:
        """Which share of the last ten or so went wrong, beside the largest there was."""
        share = profile.shares.get(name)
        if share is None:
            share = profile.shares[name] = [0.0, 0.0]
        now = share[0] = share[0] + _SHARE_STEP * (failed - share[0])
        if profile.phase is Phase.LEARNING:
            share[1] = max(share[1], now)
        bound = max(_SHARE_LEAST, 1.4 * share[1])
        if failed and now > bound and profile.days >= _SETTLED_DAYS:
            self._scorer.unusual(
                *(profile, at, Kind.REFUSALS, f"share of {name}", _SHARE_POINTS * (now - bound)),
                seen=f"{now:.0%} of the last calls",
                usual=f"at most {share[1]:.0%}",
                grows=False,
            )

    def _refused(self, profile: Profile, event: Event, at: float) -> None:
        self._count(profile, at, "refusals", 1.0, Kind.REFUSALS)
        if not usual(profile, "refusal", event.code):
            taught = Teach.ALL if profile.phase is Phase.LEARNING else Teach.SLOWLY
            self._fresh(
                *(profile, at, Kind.OUTCOME, "refusal", event.code, taught, None), named=event.code
            )

    def _fresh(
        self,
        profile: Profile,
        at: float,
        kind: Kind,
        facet: str,
        value: str,
        teach: Teach,
        role: Role | None,
        *,
        named: str,
        share: float = 1.0,
        most: int = MOST,
    ) -> bool:
        """A value of something that is not usual; False when none of it can be new."""
        values = profile.facet(facet)
        if values is None or not values.closed:
            return False
        values.arrive(value, profile.day)
        surprise = values.surprise(profile.day)
        if teach is Teach.ALL:
            values.learn(value, profile.hour, most)
        elif teach is Teach.SLOWLY:
            values.wait(value, profile.hour)
        if surprise > _EXPECTED and values.seen:
            if role is not None and role.has(facet, value):
                share *= _IN_ROLE
            self._scorer.unusual(
                profile,
                at,
                kind,
                named if named == value else f"{named} {value}"[:80],
                _GAIN[kind] * share * (surprise - _EXPECTED),
                seen=f"new to {facet}" if kind is Kind.DESTINATION else "new",
                usual=f"{len(values.seen)} known",
            )
        return True

    def _source(
        self,
        profile: Profile,
        event: Event,
        at: float,
        talk: Talk,
        teach: Teach,
        role: Role | None,
    ) -> None:
        host = host_of(event.source)
        if not host:
            return
        before = profile.credentials.get(event.credential)
        moved = before is not None and before != host
        if talk.host and talk.host != host:
            moved = True
        if before is None or teach is Teach.ALL:
            profile.credentials[event.credential] = host
            if len(profile.credentials) > _MOST_CREDENTIALS:
                del profile.credentials[next(iter(profile.credentials))]
        if not talk.host:
            talk.host = host
        if not usual(profile, "host", host):
            share = 1.0 if moved else 0.6
            self._fresh(
                profile, at, Kind.SOURCE, "host", host, teach, role, named="host", share=share
            )
        said = "one credential, two hosts" if moved else "one credential, one host"
        if not usual(profile, "moves", said):
            self._fresh(profile, at, Kind.SOURCE, "moves", said, teach, None, named=said)
        if event.application and not usual(profile, "application", event.application):
            self._fresh(
                *(profile, at, Kind.SOURCE, "application", event.application, teach, role),
                named="application",
            )

    def _arguments(
        self,
        profile: Profile,
        event: Event,
        at: float,
        tool: str,
        teach: Teach,
        role: Role | None,
    ) -> None:
        if not (event.parameters or event.commitments):
            return
        shape = shape_of(event)
        if shape and not usual(profile, f"shape {tool}", shape):
            self._fresh(
                *(profile, at, Kind.SHAPE, f"shape {tool}", shape, teach, role),
                named=f"arguments of {tool}",
            )
        today = profile.objects[-1]
        for name, value in arguments_of(event):
            place = f"{tool} {name}"[:160]
            today.add(place + value)
            if not usual(profile, place, value):
                self._fresh(
                    *(profile, at, Kind.DESTINATION, place, value, teach, role), named=name[:64]
                )
        for name, number in event.parameters.items():
            if type(number) in {int, float} and number > 0:
                self._size(profile, at, f"value {tool} {name}"[:160], float(number), teach)

    def _order(self, profile: Profile, at: float, talk: Talk, tool: str, teach: Teach) -> None:
        last, before = talk.last, talk.before
        talk.before, talk.last = last, tool
        if not last or talk.suspicious:
            return
        pair = f"{last} > {tool}"
        if not usual(profile, "pairs", pair) and self._fresh(
            *(profile, at, Kind.ORDER, "pairs", pair, teach, None), named=pair, most=_MOST_ORDERS
        ):
            return
        if not before:
            return
        three = f"{before} > {pair}"
        if not usual(profile, "threes", three):
            self._fresh(
                *(profile, at, Kind.ORDER, "threes", three, teach, None),
                named=three,
                share=0.6,
                most=_MOST_ORDERS,
            )
        pairs = profile.facets.get("pairs")
        if pairs is None or not pairs.closed:
            return
        entry = pairs.seen.get(pair)
        if entry is not None:
            rare = -math.log2(entry[0] / max(1.0, profile.facets["tool"].seen[last][0]))
            profile.order_mean += _ORDER_SHARE * (max(0.0, rare) - profile.order_mean)
            self._sized(
                *(profile, at, "order of tools", profile.order_size),
                100.0 * profile.order_mean,
                teach,
                Kind.ORDER,
            )

    def _hours(self, profile: Profile, at: float, teach: Teach) -> None:
        kind = kind_of_day(profile.day)
        days = profile.active_days[kind]
        slot = 24 * kind + profile.hour % 24
        if profile.late[slot] != profile.day:
            profile.late[slot] = profile.day
            often = 0.0
            if days:
                often = max(
                    share * profile.active[24 * kind + (profile.hour + away) % 24] / days
                    for distance, share in _NEAR
                    for away in {distance, -distance}
                )
            everyday = sum(profile.active_days)
            surprise = -math.log10(min(1.0, often + _ODD / ((days or everyday) + 1)))
            profile.odd_hour = everyday >= _SETTLED_DAYS and surprise > _EXPECTED
            far = _away(profile, kind) / _FAR_HOURS
            profile.odd_points = _HOURS * min(1.0, far) * (surprise - _EXPECTED)
            if teach is Teach.ALL:
                profile.active[slot] += 1
        if profile.odd_hour:
            what = ("a working day", "a weekend")[kind]
            self._scorer.unusual(
                profile,
                at,
                Kind.HOURS,
                f"{profile.hour % 24:02}:00 UTC of {what}",
                profile.odd_points,
                seen="active",
                usual=f"active on {profile.active[slot]} of {profile.active_days[kind]} days",
            )

    def _size(self, profile: Profile, at: float, name: str, amount: float, teach: Teach) -> None:
        size = profile.size(name)
        if size is not None:
            self._sized(profile, at, name, size, amount, teach, Kind.SIZE)

    def _sized(
        self,
        profile: Profile,
        at: float,
        name: str,
        size: Size,
        amount: float,
        teach: Teach,
        kind: Kind,
    ) -> None:
        beyond = size.see(amount, teach)
        if beyond > 0.0:
            points = min(_LARGEST_SIZE, _SIZE + _BY_DEVIATION * beyond)
            seen = f"{amount:,.0f}"
            self._scorer.unusual(profile, at, kind, name, points, seen=seen, usual=size.usual())

    def _count(self, profile: Profile, at: float, name: str, amount: float, kind: Kind) -> None:
        count = profile.counts.get(name)
        if count is None:
            pad = _PADS.get(name) or (_TOOL_PAD if name.startswith("tool ") else _BYTES_PAD)
            count = profile.count(name, pad, self._bounds.get(name, NEVER))
            if count is None:
                return
        count.hour += amount
        count.day += amount
        if count.hour > count.hour_limit:
            self._many(profile, at, name, kind, count, "hour")
        if count.day > count.day_limit:
            self._many(profile, at, name, kind, count, "day")

    def _many(
        self, profile: Profile, at: float, name: str, kind: Kind, count: Count, span: str
    ) -> None:
        if span == "hour":
            peak = count.hour_peak
            if name == "calls":
                peak = calls_peak(profile)
            amount, pad = count.hour, count.pad
            count.hour_limit = max(count.hour_limit, amount * _AGAIN)
            if amount > count.bound:
                self.beyond(profile, at, Kind.BOUND, name, amount, count.bound)
            if profile.days < _SETTLED_DAYS:
                return
        else:
            count.day_limit = count.day * _AGAIN
            amount, peak, pad = count.day, count.day_peak, 2 * count.pad
        self._scorer.unusual(
            profile,
            at,
            kind,
            f"{name} in an {span}" if span == "hour" else f"{name} in a {span}",
            _BY_DOUBLING * doublings(amount, peak, pad),
            seen=f"{amount:,.0f}",
            usual=f"at most {peak:,.0f}",
            grows=False,
        )

    def beyond(
        self, profile: Profile, at: float, kind: Kind, name: str, amount: float, bound: float
    ) -> None:
        """There was more of something in an hour than is tolerated of anybody."""
        first, more = _GROSS_POINTS
        self._scorer.unusual(
            *(profile, at, kind, f"{name} in an hour"),
            first + more * math.log2(amount / bound),
            seen=f"{amount:,.0f}",
            usual=f"at most {bound:,.0f}",
            grows=False,
        )


def usual(profile: Profile, facet: str, value: str) -> bool:
    """Whether a value of something is usual; if so, it is seen once more."""
    values = profile.facets.get(facet)
    if values is None:
        return False
    entry = values.seen.get(value)
    if entry is None:
        return not values.closed
    if entry[1] != profile.hour:
        entry[0] += 1
        entry[1] = profile.hour
    return True


def calls_peak(profile: Profile) -> float:
    """The most calls there ever were in this hour of this kind of day, or the ones beside it."""
    kind = kind_of_day(profile.day)
    if profile.active_days[kind] < _FEW_DAYS:
        return profile.counts["calls"].hour_peak
    near = (profile.calls_by_hour[24 * kind + (profile.hour + away) % 24] for away in (-1, 0, 1))
    return max(profile.counts["calls"].hour_peak / 2, *near)


def _away(profile: Profile, kind: int) -> int:
    """How many hours away the nearest is in which it is usually active; 12 when there is none."""
    hours = profile.active[24 * kind : 24 * kind + 24]
    if not any(hours):
        hours = [max(pair) for pair in zip(profile.active[:24], profile.active[24:], strict=True)]
    least = max(hours) / 5
    now = profile.hour % 24
    distances = (abs(now - hour) for hour, days in enumerate(hours) if days > least)
    return min((min(one, 24 - one) for one in distances), default=12)

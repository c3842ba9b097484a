"""A decision, held against what is usual: who calls what, from where, when, in which order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from portcullis.core.behaviour import Kind, Phase
from portcullis.core.event import Event
from portcullis.oversight.behaviour.amounts import Teach
from portcullis.oversight.behaviour.measures import Measures
from portcullis.oversight.behaviour.profile import OF_ARGUMENTS, Profile, Talk, kind_of_day
from portcullis.oversight.behaviour.roles import COMING, Role
from portcullis.oversight.behaviour.score import Scorer
from portcullis.oversight.behaviour.seen import (
    WHOSE,
    arguments_of,
    counts,
    host_of,
    shape_of,
    tool_of,
)
from portcullis.oversight.behaviour.values import MOST, UNKNOWN

_GAIN: Final[dict[Kind, float]] = {
    Kind.TOOL: 15.0,
    Kind.DESTINATION: 16.0,
    Kind.SHAPE: 16.0,
    Kind.ORDER: 14.0,
    Kind.OUTCOME: 14.0,
    Kind.SOURCE: 22.0,
}
"""Points for each decimal power of surprise beyond ``_EXPECTED``."""
_EXPECTED: Final = 0.6
_ONCE: Final = [1]
_ACTING: Final = frozenset({"modify", "external", "delete"})
_SENDING: Final = frozenset({"external", "delete"})
_ACTS: Final = 1.3
_READS: Final = 0.6
_MODEL: Final = 0.4
_ELSEWHERE: Final = 1.3
_WHO: Final = 0.1
"""What is new weighs more where it acts or is elsewhere, and less where it reads, or is for
another user."""
_IN_ROLE: Final = 0.35
"""What is new for the agent and usual in its role weighs so much of it."""
_YOUNG: Final = 5
"""Of a tool that came in fewer hours nobody knows what comes before and after it."""
_MOST_ORDERS: Final = 384
_MOST_CREDENTIALS: Final = 64
_ORDER_SHARE: Final = 0.1
_HOURS: Final = 45.0
_ODD: Final = 0.3
_SETTLED_DAYS: Final = 4
_FAR_HOURS: Final = 6
_CLOSER: Final = 1.5
_NEAR: Final = ((0, 1.0), (1, 0.5), (2, 0.15))
"""How usual an hour is because of those so many hours away."""


class Calls:
    """Judges and learns; ``scorer`` is told what is unusual, ``measures`` what there is of it."""

    def __init__(self, scorer: Scorer, measures: Measures) -> None:
        self._scorer = scorer
        self._measures = measures
        self.role: Role | None = None
        """The role of the agent whose event is looked at."""

    def decided(self, profile: Profile, event: Event, at: float, teach: Teach) -> None:
        """A decision of the line, or a hold."""
        tool = tool_of(event)
        self._measures.count(profile, at, "calls", 1.0, Kind.VOLUME)
        self._measures.burst(profile, at)
        if event.session and event.session not in profile.sessions:
            profile.session_ids.add(event.session)
            self._measures.count(profile, at, "sessions", 1.0, Kind.VOLUME)
        talk = profile.talk(event.session or event.credential)
        self._source(profile, event, at, talk, teach)
        refused = event.verdict == "deny" and counts(event.code)
        self._measures.share(profile, at, "refusals", failed=refused)
        if event.verdict == "deny":
            if refused:
                self._refused(profile, event, at)
            return
        fresh = not usual(profile, "tool", tool) and self._tool(profile, event, at, tool, teach)
        self._hours(profile, at, teach)
        if not fresh:
            self._arguments(profile, event, at, tool, teach)
            self._measures.count(profile, at, f"tool {tool}", 1.0, Kind.VOLUME)
            self._measures.size(profile, at, f"request {tool}", event.request_bytes, teach)
            if event.type != "llm_call":
                self._order(profile, at, talk, tool, teach)
            facet = f"risk {tool}"
            if not usual(profile, facet, event.risk):
                named = f"{tool} {event.risk}"
                self._fresh(*(profile, at, Kind.TOOL, facet, event.risk, teach), named=named)
        if event.verdict == "hold":
            self._measures.count(profile, at, "holds", 1.0, Kind.REFUSALS)
        if event.findings:
            self._found(profile, event, at)
        if event.risk not in {"read", ""}:
            self._measures.count(profile, at, "effects", 1.0, Kind.VOLUME)
        self._measures.count(profile, at, "request bytes", event.request_bytes, Kind.VOLUME)

    def _tool(self, profile: Profile, event: Event, at: float, tool: str, teach: Teach) -> bool:
        """A tool or model that it did not use: what comes with a new version of a known server.

        One that acts, or is somewhere else altogether, weighs more.
        """
        known = not event.server or usual(profile, "server", event.server)
        share = _ACTS if event.risk in _ACTING else _READS
        if event.type == "llm_call":
            share = _MODEL
        elif not known:
            share = _ELSEWHERE
            self._fresh(
                *(profile, at, Kind.TOOL, "server", event.server, teach),
                named="server",
                share=_READS,
            )
        return self._fresh(*(profile, at, Kind.TOOL, "tool", tool, teach), named=tool, share=share)

    def finished(self, profile: Profile, event: Event, at: float, teach: Teach) -> None:
        """What came of a call that was allowed."""
        tool = tool_of(event)
        result = event.result
        failed = event.verdict == "error" or (result is not None and result.error)
        self._measures.share(profile, at, "errors", failed=failed)
        if failed:
            self._measures.count(profile, at, "errors", 1.0, Kind.REFUSALS)
        elif event.verdict == "deny" and counts(event.code):
            self._refused(profile, event, at)
        if result is not None:
            self._measures.size(profile, at, f"result {tool}", result.bytes, teach)
            self._measures.count(profile, at, "result bytes", result.bytes, Kind.VOLUME)
        for name, tokens in (("input", event.input_tokens), ("output", event.output_tokens)):
            if tokens:
                self._measures.size(profile, at, f"{name} tokens {tool}", tokens, teach)
                self._measures.count(profile, at, f"{name} tokens", tokens, Kind.VOLUME)
        if event.findings:
            self._found(profile, event, at)

    def _found(self, profile: Profile, event: Event, at: float) -> None:
        """Something was found in a call or in what came back."""
        self._measures.count(profile, at, "findings", 1.0, Kind.REFUSALS)
        for kind in event.finding_types():
            if not usual(profile, "finding", kind):
                taught = _taught(profile)
                self._fresh(*(profile, at, Kind.OUTCOME, "finding", kind, taught), named=kind)

    def _refused(self, profile: Profile, event: Event, at: float) -> None:
        self._measures.count(profile, at, "refusals", 1.0, Kind.REFUSALS)
        if not usual(profile, "refusal", event.code):
            taught = _taught(profile)
            self._fresh(
                *(profile, at, Kind.OUTCOME, "refusal", event.code, taught), named=event.code
            )

    def _fresh(
        self,
        profile: Profile,
        at: float,
        kind: Kind,
        facet: str,
        value: str,
        teach: Teach,
        *,
        named: str,
        share: float = 1.0,
        most: int = MOST,
        coming: bool = False,
    ) -> bool:
        """A value of something that is not usual; False when none of it can be new."""
        values = profile.facet(facet, OF_ARGUMENTS if kind is Kind.DESTINATION else 1.0)
        if values is None:
            self._measures.full(profile, at)
            return False
        if not values.closed:
            return False
        role = self.role
        values.arrive(value, profile.day)
        surprise = values.surprise(profile.day, UNKNOWN if role is None else role.new(facet))
        if teach is Teach.SLOWLY and profile.day - values.first < _SETTLED_DAYS:
            teach = Teach.ALL  # of what is as new as this, all is
        if teach is Teach.ALL:
            values.learn(value, profile.hour, most)
        elif teach is Teach.SLOWLY:
            values.wait(value, profile.hour)
        if surprise > _EXPECTED and values.seen:
            share /= max(1, values.waiting.get(value, _ONCE)[0])
            if role is not None:
                share *= _IN_ROLE if role.has(facet, value) else 1.0
                if coming or facet.startswith(COMING):
                    share /= 1 + role.others(facet, value, profile.agent)
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

    def _source(self, profile: Profile, event: Event, at: float, talk: Talk, teach: Teach) -> None:
        host = host_of(event.source)
        if not host:
            return
        moved = self._moved(profile, event, at, talk, host, teach)
        if not usual(profile, "host", host):
            share = 1.0 if moved else 0.6
            self._fresh(profile, at, Kind.SOURCE, "host", host, teach, named="host", share=share)
        if event.application and not usual(profile, "application", event.application):
            self._fresh(
                *(profile, at, Kind.SOURCE, "application", event.application, teach),
                named="application",
            )

    def _moved(
        self, profile: Profile, event: Event, at: float, talk: Talk, host: str, teach: Teach
    ) -> bool:
        """Whether the credential, or the session, came from another host before."""
        before = profile.credentials.get(event.credential)
        moved = before is not None and before != host
        if talk.host and talk.host != host:
            moved = True
        if before is None or teach is Teach.ALL:
            profile.credentials[event.credential] = host
            if len(profile.credentials) > _MOST_CREDENTIALS:
                del profile.credentials[next(iter(profile.credentials))]
        said = ["one credential, two hosts" if moved else "one credential, one host"]
        if not talk.host:
            talk.host, talk.credential = host, event.credential
        elif event.session and event.credential != talk.credential:
            said.append("one session, two credentials")
        for one in said:
            if not usual(profile, "moves", one):
                self._fresh(profile, at, Kind.SOURCE, "moves", one, teach, named=one)
        return moved

    def _arguments(
        self, profile: Profile, event: Event, at: float, tool: str, teach: Teach
    ) -> None:
        if not (event.parameters or event.commitments):
            return
        shape = shape_of(event)
        if shape and not usual(profile, f"shape {tool}", shape):
            self._fresh(
                *(profile, at, Kind.SHAPE, f"shape {tool}", shape, teach),
                named=f"arguments of {tool}",
            )
        for name, value in arguments_of(event):
            place = f"{tool} {name}"[:160]
            if not usual(profile, place, value):
                share = _ACTS if event.risk in _SENDING else 1.0
                self._fresh(
                    *(profile, at, Kind.DESTINATION, place, value, teach),
                    named=name[:64],
                    share=_WHO if name in WHOSE else share,
                    coming=event.risk not in _ACTING,
                )
        for name, number in event.parameters.items():
            if type(number) in {int, float} and number > 0:
                place = f"value {tool} {name}"[:160]
                self._measures.size(profile, at, place, float(number), teach, OF_ARGUMENTS)

    def _order(self, profile: Profile, at: float, talk: Talk, tool: str, teach: Teach) -> None:
        last, before = talk.last, talk.before
        talk.before, talk.last = last, tool
        tools = profile.facets["tool"].seen
        if not last or talk.suspicious:
            return
        if profile.phase is not Phase.LEARNING and _young(tools, last, tool):
            pairs = profile.facets.get("pairs")
            if teach is Teach.SLOWLY and pairs and not usual(profile, "pairs", f"{last} > {tool}"):
                pairs.learn(f"{last} > {tool}", profile.hour, _MOST_ORDERS)
            return
        pair = f"{last} > {tool}"
        if not usual(profile, "pairs", pair) and self._fresh(
            *(profile, at, Kind.ORDER, "pairs", pair, teach), named=pair, most=_MOST_ORDERS
        ):
            return
        if not before:
            return
        three = f"{before} > {pair}"
        if not usual(profile, "threes", three):
            self._fresh(
                *(profile, at, Kind.ORDER, "threes", three, teach),
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
            self._measures.sized(
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
            far = min(1.0, _away(profile, kind) / _FAR_HOURS) ** _CLOSER
            profile.odd_points = _HOURS * far * (surprise - _EXPECTED)
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


def _taught(profile: Profile) -> Teach:
    """What refusals and findings teach of themselves, which nothing else does."""
    if profile.phase is Phase.LEARNING:
        return Teach.ALL
    calm = profile.phase is Phase.LOCKED and not profile.disturbed
    return Teach.SLOWLY if calm else Teach.NOTHING


def _young(seen: Mapping[str, list[int]], *tools: str) -> bool:
    """Whether one of these tools was used in a few hours only."""
    return any(tool not in seen or seen[tool][0] < _YOUNG for tool in tools)


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


def _away(profile: Profile, kind: int) -> int:
    """How many hours away the nearest is in which it is usually active; 12 when there is none."""
    hours = profile.active[24 * kind : 24 * kind + 24]
    if not any(hours):
        hours = [max(pair) for pair in zip(profile.active[:24], profile.active[24:], strict=True)]
    least = max(hours) / 5
    now = profile.hour % 24
    distances = (abs(now - hour) for hour, days in enumerate(hours) if days > least)
    return min((min(one, 24 - one) for one in distances), default=12)

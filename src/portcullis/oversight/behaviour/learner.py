"""The one who learns: is told events in order of time, and says how agents stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from portcullis.core.behaviour import (
    Kind,
    Line,
    Phase,
    RiskLevel,
    Standing,
    Thresholds,
    Verb,
    after,
)
from portcullis.core.event import Event, EventType
from portcullis.oversight.behaviour.amounts import Teach
from portcullis.oversight.behaviour.calls import Calls
from portcullis.oversight.behaviour.days import Days, anchored
from portcullis.oversight.behaviour.measures import Measures
from portcullis.oversight.behaviour.profile import HOUR, Profile
from portcullis.oversight.behaviour.roles import Role, role_of
from portcullis.oversight.behaviour.score import Scorer
from portcullis.oversight.behaviour.seen import suspicious
from portcullis.oversight.behaviour.values import Values

DECISIONS: Final = frozenset({EventType.DECISION, EventType.TOOL_CALL, EventType.LLM_CALL})
RESULTS: Final = frozenset({EventType.RESULT, EventType.TOOL_RESULT, EventType.LLM_RESULT})
_AGENT: Final = "agent"
_DAY: Final = 24 * HOUR
_LONGEST: Final = 64
_LOOK: Final = 64
"""So many events of an agent later the day is looked at again."""
_GROSS_FACTOR: Final = 10.0
_GROSS_PAD: Final = 50.0


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What is too much of any agent in an hour, also of one that is still being learned."""

    calls: float = 20_000
    refusals: float = 500
    effects: float = 5_000
    result_bytes: float = 2_000_000_000


class Learner:
    """Learns profiles. ``role_of_agent`` says which role an agent has; not for several threads."""

    def __init__(
        self,
        thresholds: Thresholds,
        role_of_agent: Callable[[str], str | None],
        bounds: Bounds | None = None,
        profiles: Iterable[Profile] = (),
    ) -> None:
        self._scorer = Scorer(thresholds)
        bounds = bounds or Bounds()
        named = {
            "calls": bounds.calls,
            "refusals": bounds.refusals,
            "effects": bounds.effects,
            "result bytes": bounds.result_bytes,
        }
        self._measures = Measures(self._scorer, named)
        self._calls = Calls(self._scorer, self._measures)
        self._days = Days(self._scorer)
        self._role_of_agent = role_of_agent
        self._roles: dict[str, Role | None] = {}
        self._roles_day = -1
        self.profiles: dict[str, Profile] = {one.agent: one for one in profiles}
        self.changed: set[str] = set()

    @property
    def thresholds(self) -> Thresholds:
        """What a score comes to."""
        return self._scorer.thresholds

    def observe(self, event: Event) -> Profile | None:
        """Judge an event and learn from it; the profile that it is of, if any.

        Older events than the last of the agent are taken as of that time.
        """
        if event.principal_kind != _AGENT and event.type not in RESULTS:
            return None
        decision = event.type in DECISIONS
        if not decision and event.type not in RESULTS:
            return None
        agent = event.principal
        profile = self.profiles.get(agent)
        if profile is None:
            if not agent or not decision:
                return None
            profile = self.profiles[agent] = Profile(agent, role=self._role_of_agent(agent) or "")
            profile.first = event.time.timestamp()
        at = max(profile.last, event.time.timestamp())
        hour = int(at) // HOUR
        if event.looked_up_for:
            return None
        teach = self._teach(profile, event, at)
        if hour != profile.hour:
            self._rolled(profile, at, hour)
        profile.last = at
        self._calls.role = self._roles.get(profile.role)
        if decision:
            self._calls.decided(profile, event, at, teach)
        else:
            self._calls.finished(profile, event, at, teach)
        if teach is not Teach.NOTHING:
            profile.events += 1
        if profile.events % _LOOK == 0:
            self._days.look(profile, at)
            self._gross(profile, at)
        self.changed.add(agent)
        return profile

    def _teach(self, profile: Profile, event: Event, at: float) -> Teach:
        """What the event teaches, if anything: see docs/behaviour.md."""
        if event.findings and suspicious(event):
            profile.talk(event.session or event.credential).suspicious = True
            profile.suspect(event.session[:_LONGEST], at)
            return Teach.NOTHING
        if event.verdict != "allow" or profile.phase in {Phase.RATIFIED, Phase.DRIFTING}:
            return Teach.NOTHING
        if profile.suspected(event.session[:_LONGEST], at):
            return Teach.NOTHING
        if profile.score and self._scorer.now(profile, at) >= self.thresholds.elevated:
            profile.disturbed = True
            return Teach.NOTHING
        return Teach.ALL if profile.phase is Phase.LEARNING else Teach.SLOWLY

    def _rolled(self, profile: Profile, at: float, hour: int) -> None:
        """The hour of the agent's last event is over."""
        if profile.phase is Phase.LEARNING:
            past = Teach.ALL
        else:
            slow = profile.phase is Phase.LOCKED and not profile.disturbed
            past = Teach.SLOWLY if slow else Teach.NOTHING
        role = self._role_of_agent(profile.agent) or ""
        if role != profile.role:
            profile.role = role
        if hour // 24 != self._roles_day:
            self._roles_day = hour // 24
            self.review_roles()
        self._gross(profile, at)
        self._days.hour_over(profile, at, hour, past)

    def review_roles(self) -> None:
        """Look anew at what is usual in each role."""
        members: dict[str, list[Profile]] = {}
        for profile in self.profiles.values():
            if profile.role:
                members.setdefault(profile.role, []).append(profile)
        self._roles = {name: role_of(some) for name, some in members.items()}

    def _gross(self, profile: Profile, at: float) -> None:
        """Hold whom has no baseline of its own yet against what is usual in its role."""
        role = self._roles.get(profile.role)
        if role is None or profile.phase is not Phase.LEARNING:
            return
        for name, (hour_peak, _) in role.peaks.items():
            count = profile.counts.get(name)
            bound = max(_GROSS_PAD, _GROSS_FACTOR * hour_peak)
            if count is not None and count.hour > bound:
                self._measures.beyond(profile, at, Kind.ROLE, name, count.hour, bound)

    def decided(self, agent: str, phase: Phase, turn: int) -> None:
        """A human said something about a baseline, which put it at ``phase`` and ``turn``."""
        profile = self.profiles.get(agent)
        if profile is None or turn <= profile.turn:
            return
        if phase is Phase.LEARNING:
            profile = Profile(agent, role=profile.role, turn=turn, first=profile.last)
            profile.last = profile.first
            self.profiles[agent] = profile
        else:
            if profile.phase is Phase.LEARNING:
                self._scorer.day_over(profile, learning=True)
            anchored(profile, profile.hour)
            profile.phase = after(Phase.RATIFIED, Verb.ANCHOR)
            profile.turn = turn
        self.changed.add(agent)

    def level(self, agent: str, at: float) -> RiskLevel:
        """How risky an agent is at a time."""
        profile = self.profiles.get(agent)
        if profile is None or not profile.score:
            return RiskLevel.NORMAL
        return self.thresholds.level(self._scorer.now(profile, at), profile.phase)

    def standing(self, profile: Profile) -> Standing:
        """How an agent stands."""
        return Standing(
            agent=profile.agent,
            role=profile.role,
            phase=profile.phase,
            turn=profile.turn,
            score=round(profile.score, 3),
            scored_at=profile.scored_at,
            reasons=self._scorer.reasons(profile, max(profile.last, profile.scored_at)),
            first=profile.first,
            last=profile.last,
            events=profile.events,
            days=profile.days,
        )


def lines(profile: Profile) -> tuple[Line, ...]:
    """What is usual, for people: names and figures."""
    tools = profile.facets.get("tool")
    found = [Line(subject="tools", usual=", ".join(sorted(tools.seen)[:40]) if tools else "")]
    for name, values in sorted(profile.facets.items()):
        if name not in {"tool", "threes"}:
            usual = f"{len(values.seen)} known" if values.closed else _opened(values)
            if values.waiting:
                usual += f", {len(values.waiting)} since it was ratified"
            found.append(Line(subject=name, usual=usual))
    for name, count in sorted(profile.counts.items()):
        usual = f"at most {count.hour_peak:,.0f} an hour, {count.day_peak:,.0f} a day"
        found.append(Line(subject=name, usual=usual))
    for name, size in sorted(profile.sizes.items()):
        found.append(Line(subject=name, usual=size.usual()))
    for kind, names in enumerate(("working days", "weekends")):
        hours = [hour for hour in range(24) if profile.active[24 * kind + hour]]
        found.append(Line(subject=f"hours of {names} (UTC)", usual=_spans(hours) or "none"))
    for name, points in sorted(profile.usual.items()):
        found.append(Line(subject=f"noise of {name}", usual=f"{points:.0f} points are usual"))
    return tuple(found)


def _opened(values: Values) -> str:
    """Since when a thing has too many values to be told apart."""
    if values.opened < 0:
        return "always new ones"
    return f"always new ones, since {datetime.fromtimestamp(values.opened * _DAY, UTC):%Y-%m-%d}"


def _spans(hours: list[int]) -> str:
    """Hours as spans: 8-17, 20."""
    spans: list[list[int]] = []
    for hour in hours:
        if spans and spans[-1][-1] == hour - 1:
            spans[-1].append(hour)
        else:
            spans.append([hour])
    return ", ".join(f"{s[0]}-{s[-1]}" if len(s) > 1 else str(s[0]) for s in spans)

"""What a human has to judge of a subject's history: ``core.incident_ports.Findings``."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from portcullis.core.call import Action, RiskClass
from portcullis.core.event import NOT_REQUIRED, Event, EventType
from portcullis.core.incident import Drawn, Subject
from portcullis.core.incident_log_ports import Happened, Spot
from portcullis.core.principal import PrincipalKind
from portcullis.review.incident_about import CREDENTIAL, about
from portcullis.review.incident_groups import Groups
from portcullis.review.incident_logs import Late, Logs, Open, concerns, unprojected, walked
from portcullis.review.incident_meaning import Meaning, Meant
from portcullis.review.incident_radius import WAYS, LogRadius
from portcullis.review.incident_share import Shares, alike
from portcullis.review.incident_timeline import FOREVER
from portcullis.review.incident_words import host_of, tool_of

MOST: Final = 100_000
"""Events of the period that are looked at, and as many that are not projected yet."""
ROWS: Final = 500_000
"""Rows of the period that are counted, to give every kind of event its share of those."""
HISTORY: Final = 20_000
"""Events from before the period that say what is usual: the newest."""
_VALUES: Final = 200_000
_CREDENTIALS: Final = 100_000
_BREATH: Final = 256
_UNPROVEN: Final = "somebody who showed a credential of its"
_DECISIONS: Final = frozenset({EventType.DECISION, EventType.TOOL_CALL, EventType.LLM_CALL})
_RISKY: Final = frozenset({RiskClass.EXTERNAL.value, RiskClass.DELETE.value})
_REACHES: Final = frozenset(
    {Action.TOOL, Action.MODEL, Action.RESOURCE, Action.PROMPT, Action.EGRESS}
)


class LogFindings:
    """Drawn from all logs of a deployment, with what is not projected or not signed yet.

    ``breathe`` is called now and then: calls go first.
    """

    def __init__(
        self,
        happened: Happened,
        logs: Open,
        meant: Meant,
        *,
        most: int = MOST,
        breathe: Callable[[], None] = lambda: time.sleep(0.001),
    ) -> None:
        self._happened = happened
        self._logs = logs
        self._meant = meant
        self._most = most
        self._breathe = breathe

    async def draw(self, subject: Subject, since: float, until: float) -> Drawn:
        """Everything that is to be judged; see Findings. ``until`` is 0 for now."""
        return await asyncio.to_thread(self.read, subject, since, until)

    def read(self, subject: Subject, since: float, until: float) -> Drawn:
        """The same. Blocks."""
        end, logs = until or FOREVER, self._logs()
        drawing = _Drawing(subject, self._meant())
        reached = self._happened.reached()
        for spot in walked(self._happened, subject, 0.0, since, HISTORY, "newest"):
            event = self._event(logs, spot.log, spot.number)
            if event is not None:
                drawing.before(event)
        for spot in self._shared(subject, since, end, drawing.groups):
            event = self._event(logs, spot.log, spot.number)
            if event is None:
                drawing.groups.add("pruned", spot.log, spot.number, spot.at)
            else:
                drawing.look(spot.log, spot.number, event)
        sizes = {}
        for one in self._unprojected(subject, logs, drawing):
            sizes[one.log] = one.number + 1
            if since <= one.event.time.timestamp() < end:
                drawing.look(one.log, one.number, one.event)
        for log in logs.names:
            sizes[log] = max(sizes.get(log, 0), reached.get(log, 0), logs.size(log))
        drawing.unreviewed(self._happened)
        radius = LogRadius(self._happened, lambda: logs, lambda: drawing.meaning)
        drawing.radius(radius, since, until)
        return drawing.groups.drawn(sizes)

    def _shared(self, subject: Subject, since: float, end: float, groups: Groups) -> Iterator[Spot]:
        """Where the period's events stand, of each kind its share; the others are groups."""
        counts = Counter(map(alike, walked(self._happened, subject, since, end, ROWS)))
        shares = Shares(counts, self._most)
        for looked, spot in enumerate(walked(self._happened, subject, since, end, ROWS + 1), 1):
            if looked > ROWS:
                groups.add("unread", spot.log, spot.number, spot.at)
            elif shares.take(spot):
                yield spot
            else:
                named = spot.verdict == "allow" and spot.action == Action.TOOL
                name, code = (spot.tool, spot.risk) if named else ("", spot.code or spot.verdict)
                groups.add("unread", spot.log, spot.number, spot.at, name=name, code=code)

    def _unprojected(self, subject: Subject, logs: Logs, drawing: _Drawing) -> Iterator[Late]:
        """A subject's events that are in the logs and have no row yet."""
        names: tuple[str, ...] = ()
        if not subject.session:
            names = self._happened.names(subject.agent, 0.0, FOREVER)
        for one in unprojected(self._happened, logs, self._most):
            self._rest(one.number)
            if one.cut:
                drawing.groups.add("unread", one.log, one.number, one.event.time.timestamp())
            elif concerns(subject, one.event, names):
                yield one

    def _event(self, logs: Logs, log: str, number: int) -> Event | None:
        self._rest(number)
        return logs.event(log, number)

    def _rest(self, count: int) -> None:
        if count % _BREATH == 0:
            self._breathe()


class _Drawing:
    """What is known so far."""

    def __init__(self, subject: Subject, meaning: Meaning) -> None:
        self.groups = Groups()
        self.meaning = meaning
        self._subject = subject
        self._tools: set[str] = set()
        self._fresh: set[str] = set()
        self._values: set[tuple[str, str, str]] = set()
        self._hosts: set[str] = set()
        self._credentials: dict[str, str] = {}
        self._risky: dict[str, tuple[str, int, float, str, str]] = {}

    def before(self, event: Event) -> None:
        """Something from before the period: it is usual."""
        if not self._own(event):
            return
        if event.source:
            self._hosts.add(host_of(event.source))
        if _allowed(event):
            self._tools.add(tool_of(event))
            self._values.update(self._told(event))

    def look(self, log: str, number: int, event: Event) -> None:
        """Something from the period."""
        if not event.principal and event.verdict == "deny":
            self._stranger(log, number, event)
        if not self._own(event):
            return
        at, tool = event.time.timestamp(), tool_of(event)
        if event.verdict == "deny":
            self.groups.add("denied", log, number, at, name=tool, code=event.code)
        if event.verdict == "hold":
            self.groups.add("held", log, number, at, name=tool, code=event.code)
        for kind in event.finding_types():
            self.groups.add("found", log, number, at, name=tool, code=kind)
        self._host(log, number, at, event)
        if not _allowed(event):
            return
        by_human = event.approval not in {"", NOT_REQUIRED}
        if by_human:
            self.groups.add("approved", log, number, at, name=tool, code=event.risk)
        elif (event.review or event.risk in _RISKY) and not event.looked_up_for:
            self._risky[event.id] = log, number, at, tool, event.risk
        self._new(log, number, at, tool, event)

    def unreviewed(self, happened: Happened) -> None:
        """The risky calls at which nobody has looked."""
        seen = happened.reviewed(self._risky)
        for event, (log, number, at, tool, risk) in self._risky.items():
            if event not in seen:
                self.groups.add("unreviewed", log, number, at, name=tool, code=risk)

    def radius(self, radius: LogRadius, since: float, until: float) -> None:
        """Who came by what it wrote, or acted for it."""
        drawn = radius.draw(self._subject, since, until)
        for one in drawn.reached:
            self.groups.add(
                "read_by_others",
                one.log,
                one.first,
                one.first_at,
                name=f"{one.agent} {WAYS[one.how]}",
                code=one.read,
                last=one.last,
                last_at=one.last_at,
                count=one.count,
            )
        if drawn.beyond and drawn.reached:
            last = drawn.reached[-1]
            self.groups.add("unread", last.log, last.last, last.last_at, count=drawn.beyond)

    def _own(self, event: Event) -> bool:
        """Whether it is the agent's own act: what was done to it needs no judgement."""
        subject = self._subject
        return (
            event.principal_kind == PrincipalKind.AGENT
            and event.principal == subject.agent
            and (not subject.session or event.session == subject.session)
        )

    def _stranger(self, log: str, number: int, event: Event) -> None:
        """Somebody who showed a credential of the agent's, and could not prove to be it."""
        if f"{CREDENTIAL}{event.credential}" in about(event) and not self._subject.session:
            at = event.time.timestamp()
            self.groups.add("denied", log, number, at, name=_UNPROVEN, code=event.code)
            self._host(log, number, at, event)

    def _host(self, log: str, number: int, at: float, event: Event) -> None:
        if not event.source:
            return
        host = host_of(event.source)
        if not self._hosts:
            self._hosts.add(host)
        what = "certificate" if event.credential.startswith("svid:") else "token"
        if host not in self._hosts:
            self.groups.add("other_host", log, number, at, name=what, code=host)
        elif event.credential:
            if len(self._credentials) < _CREDENTIALS:
                self._credentials.setdefault(event.credential, host)
            if self._credentials.get(event.credential, host) != host:
                name = f"a {what} that another host had used"
                self.groups.add("other_host", log, number, at, name=name, code=host)

    def _new(self, log: str, number: int, at: float, tool: str, event: Event) -> None:
        if tool not in self._tools:
            self._tools.add(tool)
            self._fresh.add(tool)
        if tool in self._fresh:
            self.groups.add("new_tool", log, number, at, name=tool, code=event.risk)
            return
        for value in self._told(event):
            if value not in self._values:
                if len(self._values) < _VALUES:
                    self._values.add(value)
                self.groups.add("new_value", log, number, at, name=tool, code=value[1])

    def _told(self, event: Event) -> Iterator[tuple[str, str, str]]:
        """The values that say where something goes, or what is changed, as the log has them."""
        tool = tool_of(event)
        named = self.meaning.destinations.get(tool, frozenset())
        wide = event.risk != RiskClass.READ and not named
        for name, value in event.parameters.items():
            if wide or name in named:
                yield tool, name, json.dumps(value, sort_keys=True)
        for label, commitment in event.commitments.items():
            name = label.removeprefix("arguments.")
            if name != label and (wide or name in named):
                yield tool, name, commitment


def _allowed(event: Event) -> bool:
    return event.type in _DECISIONS and event.verdict == "allow" and event.action in _REACHES

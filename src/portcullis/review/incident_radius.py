"""How far it went: which other agents read what an agent wrote, or acted in its place.

What is known are calls, names and commitments. That two calls were about the same thing shows
where both name it and their values were committed to under the same key; else no more is known
than that they work on the same store or resource. What reached another by a way that leads around
the gate is not in any log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from portcullis.core.event import Event
from portcullis.core.incident import Subject
from portcullis.core.incident_log_ports import Happened, Spot
from portcullis.core.principal import PrincipalKind
from portcullis.review.incident_logs import Logs, Open, walked
from portcullis.review.incident_meaning import Meaning, Meant
from portcullis.review.incident_timeline import FOREVER
from portcullis.review.incident_words import kind_of, short

WAYS: Final[dict[str, str]] = {
    "delegated": "acted on its behalf",
    "session": "acted in one of its sessions",
    "thing": "read the same thing that it had written",
    "memory": "read a memory that it had written to",
    "resource": "read a kind of resource that it had written to",
}
"""How another agent came by it, from the surest to what is only possible."""
WALK: Final = 50_000
"""Of the subject's events, how many that changed something or handed on are looked at."""
ROWS: Final = 500_000
"""Of its events, how many are looked through for these."""
USES: Final = 5000
"""Calls of others that are looked at, in all sessions or of all tools that share one thing."""
READERS: Final = 500
"""Rows of an answer."""
_VALUES: Final = 50_000
_SESSIONS: Final = 2000
_ALWAYS: Final = (
    "What an agent passed on by a way that leads around the gate is in no log.",
    "That two calls name the same thing shows only within one log and one subject's data.",
)


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What it changed: how often through a ``tool``, and what others may read of that."""

    tool: str
    count: int
    first_at: float
    last_at: float
    shared: str = ""


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """Another agent that came by it, ``how`` as in ``WAYS``.

    It ``read`` through a tool what was ``wrote`` through another; the first and the last of
    ``count`` events stand at ``first`` and ``last`` of ``log``. ``sessions`` is how many of its
    sessions these were in.
    """

    agent: str
    how: str
    log: str
    first: int
    last: int
    first_at: float
    last_at: float
    count: int = 1
    sessions: int = 0
    wrote: str = ""
    read: str = ""


class Radius(msgspec.Struct, frozen=True, kw_only=True):
    """How far it went. ``beyond`` is how many rows there are that are not shown.

    ``limits`` say what cannot be known, or was not looked at.
    """

    written: tuple[Written, ...]
    reached: tuple[Reached, ...]
    limits: tuple[str, ...]
    beyond: int = 0


class LogRadius:
    """Drawn from all logs of a deployment, as far as they are projected. Blocks."""

    def __init__(self, happened: Happened, logs: Open, meant: Meant) -> None:
        self._happened = happened
        self._logs = logs
        self._meant = meant

    def draw(self, subject: Subject, since: float, until: float = 0.0) -> Radius:
        """How far it went since then; others may have read it later than ``until`` (0: now).

        Raises Problem PC6002 when a log is damaged.
        """
        meaning = self._meant()
        drawn = _Drawing(self._happened, self._logs(), meaning, subject)
        drawn.own(walked(self._happened, subject, since, until or FOREVER, ROWS))
        drawn.sessions(since)
        drawn.readers()
        return drawn.radius()


class _Drawing:
    """One radius on its way."""

    def __init__(self, happened: Happened, logs: Logs, meaning: Meaning, subject: Subject) -> None:
        self._happened = happened
        self._logs = logs
        self._meaning = meaning
        self._subject = subject
        self._found: dict[tuple[str, ...], Reached] = {}
        self._in: dict[tuple[str, ...], set[str]] = {}
        self._written: dict[str, Written] = {}
        self._values: dict[str, set[str]] = {}
        self._valued = 0
        self._limits: list[str] = [*_ALWAYS]

    def own(self, spots: Iterable[Spot]) -> None:
        """What it did itself: what it wrote, and to whom it handed on what it may."""
        looked = seen = 0
        for spot in spots:
            seen += 1
            handed = spot.method in {"token.delegate", "token.issue"}
            if not handed and (kind_of(spot), spot.principal) != ("write", self._subject.agent):
                continue
            looked += 1
            if looked > WALK:
                self._limits.append(f"Only the first {WALK} changes of it were looked at.")
                break
            if handed:
                self._delegation(spot)
            else:
                self._wrote(spot)
        if seen == ROWS:
            self._limits.append(f"Only the first {ROWS} events of it were looked at.")
        if not self._meaning.known:
            self._limits.append("No policy can be read: what its tools share is not known.")
        vague = sorted(name for name, one in self._written.items() if not one.shared)
        if vague and self._meaning.known:
            names = ", ".join(vague[:5]) + (f" and {len(vague) - 5} more" if len(vague) > 5 else "")  # noqa: PLR2004 - the first few
            self._limits.append(f"The catalogue does not say who else reads what went to {names}.")

    def sessions(self, since: float) -> None:
        """Who acted in its sessions."""
        agent = self._subject.agent
        own: tuple[str, ...] = (self._subject.session,)
        if not self._subject.session:
            own = self._happened.sessions(agent, since, FOREVER, _SESSIONS)
            if len(own) == _SESSIONS:
                self._limits.append(f"Only its newest {_SESSIONS} sessions were looked at.")
        spots, whole = self._happened.joined(own, agent, since, FOREVER, USES)
        for spot in spots:
            self._add("session", spot, read=spot.tool)
        self._bounded(whole, "in its sessions")

    def readers(self) -> None:
        """Who used what it had written."""
        shared: dict[str, list[Written]] = {}
        for one in self._written.values():
            if one.shared:
                shared.setdefault(one.shared, []).append(one)
        for thing, writers in shared.items():
            tools = [_parts(name) for name in self._meaning.reads.get(thing, ())]
            first = min(one.first_at for one in writers)
            spots, whole = self._happened.uses(tools, self._subject.agent, first, FOREVER, USES)
            names = ", ".join(sorted(one.tool for one in writers))
            for spot in spots:
                event = self._logs.event(spot.log, spot.number)
                same = event is not None and self._same(thing, event)
                how = "thing" if same else thing.partition(" ")[0]
                self._add(how, spot, wrote=short(names), read=spot.tool)
            self._bounded(whole, f"of the {thing}")

    def radius(self) -> Radius:
        """All of it, the surest first."""
        ways = {how: rank for rank, how in enumerate(WAYS)}
        rows = sorted(
            (
                msgspec.structs.replace(one, sessions=len(self._in[key] - {""}))
                for key, one in self._found.items()
            ),
            key=lambda one: (ways[one.how], one.first_at, one.agent, one.log, one.first),
        )
        return Radius(
            written=tuple(sorted(self._written.values(), key=lambda one: one.tool)[:READERS]),
            reached=tuple(rows[:READERS]),
            limits=tuple(self._limits),
            beyond=max(0, len(rows) - READERS),
        )

    def _delegation(self, spot: Spot) -> None:
        event = self._logs.event(spot.log, spot.number)
        if event is None or event.verdict != "allow":
            return
        other = event.parameters.get("may_act")
        if event.principal == self._subject.agent:
            if isinstance(other, str) and other.startswith("agent:"):
                self._add("delegated", spot, agent=other.removeprefix("agent:"))
        elif event.principal_kind == PrincipalKind.AGENT:
            self._add("delegated", spot)

    def _wrote(self, spot: Spot) -> None:
        tool = short(spot.tool)
        known = self._written.get(tool)
        shared = self._meaning.shares.get(tool, "")
        if known is None:
            known = Written(tool=tool, count=0, first_at=spot.at, last_at=spot.at, shared=shared)
        self._written[tool] = msgspec.structs.replace(
            known, count=known.count + 1, last_at=max(known.last_at, spot.at)
        )
        if not shared or self._valued >= _VALUES:
            return
        event = self._logs.event(spot.log, spot.number)
        if event is not None:
            values = self._values.setdefault(shared, set())
            before = len(values)
            values.update(_things(event, self._meaning))
            self._valued += len(values) - before

    def _same(self, thing: str, event: Event) -> bool:
        values = self._values.get(thing, set())
        return any(one in values for one in _things(event, self._meaning))

    def _add(
        self, how: str, spot: Spot, *, agent: str = "", wrote: str = "", read: str = ""
    ) -> None:
        agent = short(agent or spot.principal)
        if not agent or agent == self._subject.agent:
            return
        key = (agent, how, wrote, short(read), spot.log)
        self._in.setdefault(key, set()).add(spot.session)
        known = self._found.get(key)
        if known is None:
            self._found[key] = Reached(
                agent=agent,
                how=how,
                log=spot.log,
                first=spot.number,
                last=spot.number,
                first_at=spot.at,
                last_at=spot.at,
                wrote=wrote,
                read=short(read),
            )
        else:
            self._found[key] = msgspec.structs.replace(
                known, count=known.count + 1, last=spot.number, last_at=spot.at
            )

    def _bounded(self, whole: bool, where: str) -> None:  # noqa: FBT001 - it is the question
        if not whole:
            self._limits.append(f"Not all calls of others {where} were looked at: too many.")


def _things(event: Event, meaning: Meaning) -> Iterator[str]:
    """The values of the arguments that name what is touched, as the log has them."""
    tool = f"{event.server}.{event.name}"
    for name in meaning.things.get(tool, frozenset()):
        if name in event.parameters:
            yield f"={_json(event.parameters[name])}"
        elif f"arguments.{name}" in event.commitments:
            yield event.commitments[f"arguments.{name}"]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _parts(tool: str) -> tuple[str, str]:
    server, _, name = tool.partition(".")
    return server, name

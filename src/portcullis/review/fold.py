"""The fold: events in, facts out. Some microseconds an event; see ``docs/evidence.md``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from portcullis.audit.merkle import leaf_hash
from portcullis.audit.pruned import PRUNE
from portcullis.config.places import Role
from portcullis.core.names import HIDDEN
from portcullis.review.facts import (
    MAX_KINDS,
    MAX_NAMES,
    MAX_OPEN,
    UNANSWERED,
    Breach,
    Facts,
    Holder,
    Kind,
    Mark,
    Position,
    Tally,
    named,
)
from portcullis.review.leaf import (
    Leaf,
    marked,
    name_of,
    number,
    parameters,
    read,
    string,
    text,
    treatments,
)

_SKEW: Final = timedelta(seconds=1)
"""How far an event's time may lie before that of an earlier one."""
_LATE: Final = timedelta(seconds=5)
"""How long after somebody is cut off the record of a running decision may come."""
_DECISIONS: Final = frozenset({"decision", "tool_call", "llm_call"})
_RESULTS: Final = frozenset({"result", "tool_result", "llm_result"})
_CERTIFICATES: Final = frozenset({"svid.issue", "svid.renew"})
_OWN_ACTS: Final = frozenset({"admin", "identity"})
_RULING: Final = (
    *("principals.", "audit.erase", "evidence.", "gateway.", "incident."),
    *("approval.approved", "approval.denied", "review.closed", "content.read"),
)
"""How the methods begin of what is done by who rules alone."""
_CUTS: Final = {"suspend": "suspended", "expire": "expired", "revoke": "revoked"}


class _At(msgspec.Struct):
    """A ``Position`` that moves on, and the entry before it; ``rules``: whoever writes it rules."""

    origin: str
    rules: bool
    size: int = 0
    tail: bytes = b""
    pruned: int = 0
    pruned_to: tuple[float, Mark] | None = None
    first: Mark | None = None
    last: Mark | None = None
    newest: datetime | None = None
    certificate: Mark | None = None
    entry: bytes = b""

    @classmethod
    def of(cls, name: str, place: Position) -> _At:
        return cls(rules=Role.of(name).rules, **msgspec.structs.asdict(place))

    def position(self) -> Position:
        return Position(
            origin=self.origin,
            size=self.size,
            tail=leaf_hash(self.entry) if self.entry else self.tail,
            pruned=self.pruned,
            pruned_to=self.pruned_to,
            first=self.first,
            last=self.last,
            newest=self.newest,
            certificate=self.certificate,
        )


class Fold:
    """Folds the entries of logs, in the order of their times, from where ``facts`` ends.

    Who may act, what is approved and what the evidence was is believed of the logs of those who
    rule alone; what was done of every log; of a decision its own log has to tell the result.
    Only what lies from ``since`` (included) to ``until`` (not included) is counted; who is
    registered and which tools are approved is learned from all that lies before ``until``.
    """

    def __init__(
        self, facts: Facts, *, since: datetime | None = None, until: datetime | None = None
    ) -> None:
        self._facts = facts
        self._since = since
        self._until = until
        self._logs = {name: _At.of(name, place) for name, place in facts.logs.items()}
        self._kinds = dict(facts.kinds)
        self._breaches = dict(facts.breaches)
        self._principals = dict(facts.principals)
        self._tools = dict(facts.tools)
        self._pinned, self._approved = dict(facts.pinned), dict(facts.approved)
        self._waiting = dict(facts.waiting)
        self._forgotten = facts.forgotten
        self._erasing = dict(facts.erasing)
        self._announced, self._packages = dict(facts.announced), dict(facts.packages)
        self._started, self._latest = dict(facts.started), dict(facts.latest)
        self._late = facts.late
        self._full = set(facts.full)
        self._acts: Final[dict[str, Callable[[Leaf, Mark], None]]] = {
            "principals.create": self._created,
            "catalogue.pin": self._approval,
            "audit.erase": self._erasure,
            "audit.erased": self._erasure,
            "evidence.gap": self._gap,
            "evidence.package": self._packaged,
            "gateway.start": self._begun,
            **{
                f"principals.{verb}": self._changed
                for verb in ("suspend", "resume", "review", "expire", "revoke")
            },
        }

    def log(self, name: str, origin: str) -> None:
        """Know of a log, if only that it is empty."""
        if name not in self._logs:
            self._logs[name] = _At.of(name, Position(origin=origin))

    def add(self, entry: bytes) -> None:
        """Fold the next entry of the log of who rules. Problem PC6005 when it is not an event."""
        name = name_of(self._facts.origin)
        self.log(name, self._facts.origin)
        self.take(name, read(self._logs[name].size, entry), entry)

    def take(self, log: str, leaf: Leaf, entry: bytes) -> None:
        """Fold the next entry of a log that is known; ``leaf`` is what was read of it."""
        at = self._logs[log]
        index = at.size
        at.size, at.entry = index + 1, entry
        if self._until is not None and leaf.time >= self._until:
            return
        mark = marked(index, leaf, log)
        counted = self._since is None or leaf.time >= self._since
        if not at.rules and _ruling(leaf):
            if counted:
                self._breach(Breach.FOREIGN, mark)
            return
        if counted:
            self._count(leaf, mark, at)
        if leaf.type in _DECISIONS:
            self._decided(leaf, mark, counted=counted)
        elif leaf.type in _RESULTS:
            known = self._waiting.pop(f"{log}/{leaf.decision}", None) or self._remembered(leaf)
            if counted and not (known or at.pruned):  # its decision may be among those
                self._breach(Breach.NO_DECISION, mark)
        elif leaf.type == "admin" and leaf.verdict != "deny":
            self._acted(leaf, mark, at)

    def skip(self, log: str, leaf: bytes) -> None:
        """Pass over an entry of a known log that was pruned, of which this hash is left."""
        at = self._logs[log]
        at.size, at.tail, at.entry = at.size + 1, leaf, b""
        at.pruned += 1

    def facts(self) -> Facts:
        """What has been folded so far."""
        return Facts(
            origin=self._facts.origin,
            logs={name: at.position() for name, at in self._logs.items()},
            kinds=tuple(self._kinds.items()),
            breaches=dict(self._breaches),
            principals=dict(self._principals),
            tools=dict(self._tools),
            pinned=dict(self._pinned),
            approved=dict(self._approved),
            waiting=dict(self._waiting),
            forgotten=self._forgotten,
            erasing=dict(self._erasing),
            announced=dict(self._announced),
            packages=dict(self._packages),
            started=dict(self._started),
            latest=dict(self._latest),
            late=self._late,
            full=frozenset(self._full),
        )

    def _count(self, leaf: Leaf, mark: Mark, at: _At) -> None:
        at.first = at.first or mark
        at.last = mark
        if at.newest is None or leaf.time > at.newest:
            at.newest = leaf.time
        elif leaf.time < at.newest - _SKEW:
            self._breach(Breach.CLOCK, mark)
        if leaf.principal_kind == "gateway" and leaf.method in _CERTIFICATES:
            at.certificate = mark
        ours = leaf.type in _OWN_ACTS and " " not in leaf.method
        kind = Kind(
            leaf.type,
            leaf.verdict,
            leaf.code,
            leaf.method if ours else "",
            leaf.principal_kind,
            treatments(leaf.findings) if leaf.findings else "",
            bool(leaf.session),
        )
        self._tally("kinds", self._kinds, kind, mark, MAX_KINDS)

    def _acted(self, leaf: Leaf, mark: Mark, at: _At) -> None:
        if leaf.method == PRUNE:
            self._gone(leaf, mark, at)
        elif leaf.method == "catalogue.pin" and leaf.principal_kind != "operator":
            self._pin(leaf, mark)
        elif at.rules and leaf.method in self._acts:
            self._acts[leaf.method](leaf, mark)

    def _decided(self, leaf: Leaf, mark: Mark, *, counted: bool) -> None:
        if counted and not (leaf.principal and leaf.route and leaf.policy and leaf.verdict):
            self._breach(Breach.INCOMPLETE, mark)
        if leaf.verdict != "allow":
            return
        if len(self._waiting) >= MAX_OPEN:
            self._forget(self._waiting.pop(next(iter(self._waiting))))
        self._waiting[f"{mark.log}/{leaf.id}"] = mark
        holder = self._principals.get(mark.who)
        if holder is None or holder.acted is None:
            self._hold(mark.who, msgspec.structs.replace(holder or Holder(), acted=mark))
        if (
            counted
            and holder is not None
            and holder.state != "active"
            and holder.changed is not None
            and leaf.time > holder.changed.time + _LATE
        ):
            self._breach(Breach.CUT_OFF, mark)
        if mark.who in self._principals:
            self._latest[mark.who] = mark
        if leaf.type == "tool_call" and counted and leaf.name != HIDDEN:
            self._tally("tools", self._tools, mark.what, mark, MAX_NAMES)

    def _forget(self, mark: Mark) -> None:
        one = Tally(1, mark, mark)
        self._forgotten = self._forgotten.and_also(one) if self._forgotten else one

    def _remembered(self, leaf: Leaf) -> bool:
        """Whether a result may be that of a decision that was forgotten; it counts as that then."""
        found = self._forgotten
        if found is None or leaf.time > found.last.time + UNANSWERED:
            return False
        left = found.count - 1
        self._forgotten = msgspec.structs.replace(found, count=left) if left else None
        return True

    def _learned(self, name: str, mark: Mark) -> None:
        """Note what comes after later calls of another log were judged without it."""
        latest = self._latest.get(name)
        if latest and latest.log != mark.log and latest.time > mark.time + _LATE:
            self._late += 1

    def _created(self, leaf: Leaf, mark: Mark) -> None:
        told = parameters(leaf)
        self._learned(named(leaf.name), mark)
        before = self._principals.get(named(leaf.name), Holder())
        holder = Holder(
            created=mark,
            acted=before.acted,
            owner=text(told.owner),
            purpose=text(told.purpose),
            review_at=number(told.review_at),
        )
        self._hold(named(leaf.name), holder)

    def _changed(self, leaf: Leaf, mark: Mark) -> None:
        name, verb = named(leaf.name), leaf.method.partition(".")[2]
        self._learned(name, mark)
        holder = self._principals.get(name, Holder())
        state = _CUTS.get(verb, "active")
        if verb == "review":
            review_at = number(parameters(leaf).review_at)
            holder = msgspec.structs.replace(holder, review_at=review_at)
            state = "active" if holder.state == "expired" else holder.state
        if state != holder.state:
            holder = msgspec.structs.replace(holder, state=state, changed=mark)
        self._hold(name, holder)

    def _approval(self, leaf: Leaf, mark: Mark) -> None:
        told = parameters(leaf)
        name = named(f"{string(told.server)}.{string(told.tool)}")
        self._name("approved", self._approved, name, mark)

    def _pin(self, leaf: Leaf, mark: Mark) -> None:
        tools = parameters(leaf).tools
        if isinstance(tools, dict):
            for tool in tools:
                self._name("pinned", self._pinned, named(f"{leaf.server}.{tool}"), mark)

    def _erasure(self, leaf: Leaf, mark: Mark) -> None:
        if leaf.method == "audit.erased":
            self._erasing.pop(named(leaf.name), None)
        else:
            self._name("erasing", self._erasing, named(leaf.name), mark)

    def _begun(self, leaf: Leaf, mark: Mark) -> None:
        self._name("started", self._started, named(leaf.name), mark)

    @staticmethod
    def _gone(leaf: Leaf, mark: Mark, at: _At) -> None:
        before = parameters(leaf).before
        times = [number(time) for time in before.values()] if isinstance(before, dict) else []
        if times and (at.pruned_to is None or max(times) > at.pruned_to[0]):
            at.pruned_to = max(times), mark

    def _gap(self, leaf: Leaf, mark: Mark) -> None:
        if parameters(leaf).state == "opened":
            self._name("announced", self._announced, named(leaf.name), mark)
        else:
            self._announced.pop(named(leaf.name), None)

    def _packaged(self, leaf: Leaf, mark: Mark) -> None:
        self._name("packages", self._packages, named(leaf.name), mark)

    def _breach(self, name: str, mark: Mark) -> None:
        self._tally("breaches", self._breaches, name, mark, MAX_NAMES)

    def _hold(self, name: str, holder: Holder) -> None:
        if name in self._principals or len(self._principals) < MAX_NAMES:
            self._principals[name] = holder
        else:
            self._full.add("principals")

    def _tally(self, table: str, found: dict[Any, Tally], key: Any, mark: Mark, most: int) -> None:
        before = found.get(key)
        if before is not None:
            found[key] = Tally(before.count + 1, before.first, mark)
        elif len(found) < most:
            found[key] = Tally(1, mark, mark)
        else:
            self._full.add(table)

    def _name(self, table: str, found: dict[str, Mark], name: str, mark: Mark) -> None:
        if name in found or len(found) < MAX_NAMES:
            found[name] = mark
        else:
            self._full.add(table)


def _ruling(leaf: Leaf) -> bool:
    """Whether only who rules does what an event tells: in another's log it is worth nothing."""
    return (
        leaf.type in _OWN_ACTS
        and leaf.verdict != "deny"
        and (leaf.principal_kind == "operator" or leaf.method.startswith(_RULING))
    )

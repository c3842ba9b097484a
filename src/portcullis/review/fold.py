"""The fold: events in, facts out. Some microseconds an event; see ``docs/evidence.md``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from portcullis.audit.merkle import leaf_hash
from portcullis.audit.pruned import PRUNE
from portcullis.core.errors import Problem
from portcullis.core.names import HIDDEN
from portcullis.review.facts import (
    MAX_KINDS,
    MAX_NAMES,
    MAX_OPEN,
    MAX_TEXT,
    UNANSWERED,
    Breach,
    Facts,
    Holder,
    Kind,
    Mark,
    Tally,
    Time,
    named,
)

_SKEW: Final = timedelta(seconds=1)
"""How far an event's time may lie before that of an earlier one."""
_LATE: Final = timedelta(seconds=5)
"""How long after somebody is cut off the record of a running decision may come."""
_DECISIONS: Final = frozenset({"decision", "tool_call", "llm_call"})
_RESULTS: Final = frozenset({"result", "tool_result", "llm_result"})
_CUTS: Final = {"suspend": "suspended", "expire": "expired", "revoke": "revoked"}


class _Leaf(msgspec.Struct):
    """What of an event the fold reads."""

    id: str
    time: Time
    type: str
    principal_kind: str = ""
    principal: str = ""
    session: str = ""
    route: str = ""
    method: str = ""
    server: str = ""
    name: str = ""
    verdict: str = ""
    code: str = ""
    policy: str = ""
    decision: str = ""
    findings: tuple[str, ...] = ()
    parameters: msgspec.Raw = msgspec.Raw(b"{}")


class _Told(msgspec.Struct):
    """What of an administrative event's parameters counts; anything else in them does not."""

    owner: Any = ""
    purpose: Any = ""
    review_at: Any = 0
    server: Any = ""
    tool: Any = ""
    tools: Any = None
    state: Any = ""
    before: Any = None


_leaf: Final = msgspec.json.Decoder(_Leaf).decode
_told: Final = msgspec.json.Decoder(_Told).decode


class Fold:
    """Folds the entries of a log, one after the other, from where ``facts`` ends.

    Only what lies from ``since`` (included) to ``until`` (not included) is counted; who is
    registered and which tools are approved is learned from all that lies before ``until``.
    """

    def __init__(
        self, facts: Facts, *, since: datetime | None = None, until: datetime | None = None
    ) -> None:
        self._facts = facts
        self._since = since
        self._until = until
        self._size = facts.size
        self._tail, self._entry = facts.tail, b""
        self._pruned, self._pruned_to = facts.pruned, facts.pruned_to
        self._first, self._last, self._newest = facts.first, facts.last, facts.newest
        self._kinds = dict(facts.kinds)
        self._breaches = dict(facts.breaches)
        self._principals = dict(facts.principals)
        self._tools = dict(facts.tools)
        self._pinned, self._approved = dict(facts.pinned), dict(facts.approved)
        self._waiting = dict(facts.waiting)
        self._forgotten = facts.forgotten
        self._erasing = dict(facts.erasing)
        self._announced, self._packages = dict(facts.announced), dict(facts.packages)
        self._full = set(facts.full)
        self._acts: Final[dict[str, Callable[[_Leaf, Mark], None]]] = {
            "principals.create": self._created,
            "catalogue.pin": self._catalogued,
            "audit.erase": self._erasure,
            "audit.erased": self._erasure,
            PRUNE: self._gone,
            "evidence.gap": self._gap,
            "evidence.package": self._packaged,
            **{
                f"principals.{verb}": self._changed
                for verb in ("suspend", "resume", "review", "expire", "revoke")
            },
        }

    def add(self, entry: bytes) -> None:
        """Fold the next entry of the log. Problem PC6005 when it is not an event."""
        index = self._size
        leaf = _read(index, entry)
        self._size, self._entry = index + 1, entry
        if self._until is not None and leaf.time >= self._until:
            return
        mark = _mark(index, leaf)
        counted = self._since is None or leaf.time >= self._since
        if counted:
            self._count(leaf, mark)
        if leaf.type in _DECISIONS:
            self._decided(leaf, mark, counted=counted)
        elif leaf.type in _RESULTS:
            known = self._waiting.pop(leaf.decision, None) or self._remembered(leaf)
            if counted and not (known or self._pruned):  # its decision may be among those
                self._breach(Breach.NO_DECISION, mark)
        elif leaf.type == "admin" and leaf.verdict != "deny" and leaf.method in self._acts:
            self._acts[leaf.method](leaf, mark)

    def skip(self, leaf: bytes) -> None:
        """Pass over an entry that was pruned, of which this hash is left."""
        self._size, self._tail, self._entry = self._size + 1, leaf, b""
        self._pruned += 1

    def facts(self) -> Facts:
        """What has been folded so far."""
        return Facts(
            origin=self._facts.origin,
            size=self._size,
            tail=leaf_hash(self._entry) if self._entry else self._tail,
            pruned=self._pruned,
            pruned_to=self._pruned_to,
            first=self._first,
            last=self._last,
            newest=self._newest,
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
            full=frozenset(self._full),
        )

    def _count(self, leaf: _Leaf, mark: Mark) -> None:
        self._first = self._first or mark
        self._last = mark
        if self._newest is None or leaf.time > self._newest:
            self._newest = leaf.time
        elif leaf.time < self._newest - _SKEW:
            self._breach(Breach.CLOCK, mark)
        ours = leaf.type in {"admin", "identity"} and " " not in leaf.method
        kind = Kind(
            leaf.type,
            leaf.verdict,
            leaf.code,
            leaf.method if ours else "",
            leaf.principal_kind,
            _treatments(leaf.findings) if leaf.findings else "",
            bool(leaf.session),
        )
        self._tally("kinds", self._kinds, kind, mark, MAX_KINDS)

    def _decided(self, leaf: _Leaf, mark: Mark, *, counted: bool) -> None:
        if counted and not (leaf.principal and leaf.route and leaf.policy and leaf.verdict):
            self._breach(Breach.INCOMPLETE, mark)
        if leaf.verdict != "allow":
            return
        if len(self._waiting) >= MAX_OPEN:
            self._forget(self._waiting.pop(next(iter(self._waiting))))
        self._waiting[leaf.id] = mark
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
        if leaf.type == "tool_call" and counted and leaf.name != HIDDEN:
            self._tally("tools", self._tools, mark.what, mark, MAX_NAMES)

    def _forget(self, mark: Mark) -> None:
        one = Tally(1, mark, mark)
        self._forgotten = self._forgotten.and_also(one) if self._forgotten else one

    def _remembered(self, leaf: _Leaf) -> bool:
        """Whether a result may be that of a decision that was forgotten; it counts as that then."""
        found = self._forgotten
        if found is None or leaf.time > found.last.time + UNANSWERED:
            return False
        left = found.count - 1
        self._forgotten = msgspec.structs.replace(found, count=left) if left else None
        return True

    def _created(self, leaf: _Leaf, mark: Mark) -> None:
        told = _parameters(leaf)
        before = self._principals.get(named(leaf.name), Holder())
        holder = Holder(
            created=mark,
            acted=before.acted,
            owner=_text(told.owner),
            purpose=_text(told.purpose),
            review_at=_number(told.review_at),
        )
        self._hold(named(leaf.name), holder)

    def _changed(self, leaf: _Leaf, mark: Mark) -> None:
        name, verb = named(leaf.name), leaf.method.partition(".")[2]
        holder = self._principals.get(name, Holder())
        state = _CUTS.get(verb, "active")
        if verb == "review":
            review_at = _number(_parameters(leaf).review_at)
            holder = msgspec.structs.replace(holder, review_at=review_at)
            state = "active" if holder.state == "expired" else holder.state
        if state != holder.state:
            holder = msgspec.structs.replace(holder, state=state, changed=mark)
        self._hold(name, holder)

    def _catalogued(self, leaf: _Leaf, mark: Mark) -> None:
        told = _parameters(leaf)
        if leaf.principal_kind == "operator":
            name = named(f"{_string(told.server)}.{_string(told.tool)}")
            self._name("approved", self._approved, name, mark)
        elif isinstance(told.tools, dict):
            for tool in told.tools:
                self._name("pinned", self._pinned, named(f"{leaf.server}.{tool}"), mark)

    def _erasure(self, leaf: _Leaf, mark: Mark) -> None:
        if leaf.method == "audit.erased":
            self._erasing.pop(named(leaf.name), None)
        else:
            self._name("erasing", self._erasing, named(leaf.name), mark)

    def _gone(self, leaf: _Leaf, mark: Mark) -> None:
        before = _parameters(leaf).before
        times = [_number(time) for time in before.values()] if isinstance(before, dict) else []
        if times and (self._pruned_to is None or max(times) > self._pruned_to[0]):
            self._pruned_to = max(times), mark

    def _gap(self, leaf: _Leaf, mark: Mark) -> None:
        if _parameters(leaf).state == "opened":
            self._name("announced", self._announced, named(leaf.name), mark)
        else:
            self._announced.pop(named(leaf.name), None)

    def _packaged(self, leaf: _Leaf, mark: Mark) -> None:
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


def mark_of(index: int, entry: bytes) -> Mark:
    """What marks an entry of a log; Problem PC6005 when it is not an event."""
    return _mark(index, _read(index, entry))


def _read(index: int, entry: bytes) -> _Leaf:
    try:
        return _leaf(entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        detail = f"entry {index} is not an event of this version"
        raise Problem("PC6005", detail) from None


def _mark(index: int, leaf: _Leaf) -> Mark:
    what = leaf.method if leaf.type in {"admin", "identity"} else ""
    what = what or (f"{leaf.server}.{leaf.name}" if leaf.server else leaf.name)
    who = f"{leaf.principal_kind}:{leaf.principal}" if leaf.principal else ""
    return Mark(index, leaf.id[:MAX_TEXT], leaf.time, named(who), named(what))


def _treatments(findings: tuple[str, ...]) -> str:
    """What was done with findings that are written ``TYPE:treatment@place``; ``note`` if nothing.

    Treatments are our own few words.
    """
    found = {finding.partition("@")[0].partition(":")[2] or "note" for finding in findings}
    return "+".join(sorted(found))


def _parameters(leaf: _Leaf) -> _Told:
    try:
        return _told(leaf.parameters)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Told()  # not an object: it says nothing that counts


def _text(value: Any) -> str:
    return _string(value)[:MAX_TEXT]


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0

"""Runs rules over events as they come. Pure: time is the events' own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import structlog

from portcullis.core.alert import ENDED, ESCALATED, RAISED, Ended, Found, Raised
from portcullis.core.event import Event
from portcullis.oversight.alerts.fields import Values, marks, plain, reader, shown
from portcullis.oversight.alerts.rule import Correlation, Rule
from portcullis.oversight.alerts.state import LONGEST, Completed, Memory

log = structlog.get_logger(__name__)

GROUPS: Final = 4096
"""Most groups that a rule remembers; the one that was seen longest ago goes first."""
WEIGHT: Final = 32_768
"""Most things that a rule remembers of all groups together (``Memory.weight``)."""
_OURS: Final = frozenset({RAISED, ENDED, ESCALATED})
"""What is recorded of alerts themselves, which raises none."""


class _Watch:
    """One rule at work."""

    def __init__(self, rule: Rule, groups: int) -> None:
        self.rule = rule
        self._words = rule.words
        how = rule.correlation
        self._how = how
        self._by = tuple((name, shown(name)) for name in (how.by if how else rule.by))
        self._values: Callable[[Event], Values] = (
            reader(how.field) if how and how.field else lambda _: ()
        )
        self._most = groups
        self._weight = 0
        self.failed = False
        self.memory: OrderedDict[tuple[str, ...], Memory] = OrderedDict()

    @property
    def shape(self) -> str:
        """What its memory is good for: a rule that joins events otherwise begins anew."""
        how = self._how
        if how is None:
            return ""
        steps = len(how.steps)
        return f"{how.join} {how.by} {how.seconds} {how.least} {how.field} {steps}"

    def restore(self, groups: Iterable[tuple[tuple[str, ...], Memory]]) -> None:
        """Remember these groups."""
        self.memory = OrderedDict(groups)
        self._weight = sum(one.weight for one in self.memory.values())

    def follow(self, before: _Watch) -> None:
        """Remember what another remembered, if that is good for this one too."""
        if before.shape == self.shape:
            self.memory, self._weight = before.memory, before._weight

    def look(self, event: Event) -> Found | None:
        """What an event makes of it."""
        if not self.rule.test(event):
            return self._over(event)
        key = tuple(read(event)[:LONGEST] for _, read in self._by)
        if self._by and not any(key):
            return None
        at = event.time.timestamp()
        found: Completed | None = Completed((event.id,), 1)
        if self._how is not None:
            found = self._joined(event, at, key, self._how)
        if found is None:
            return None
        return Raised(
            rule=self.rule.name,
            level=self.rule.level,
            words=self._words,
            group=self._group(key),
            hidden=tuple(name for name, _ in self._by if not plain(name, event)),
            at=at,
            events=found.shown,
            count=found.count,
            quiet=self.rule.quiet,
        )

    def _over(self, event: Event) -> Ended | None:
        over = self.rule.over
        if over is None or not over(event):
            return None
        key = tuple(read(event)[:LONGEST] for _, read in self._by)
        if self._by and not any(key):
            return None
        at = event.time.timestamp()
        return Ended(rule=self.rule.name, group=self._group(key), at=at, event=event.id)

    def _group(self, key: tuple[str, ...]) -> dict[str, str]:
        return dict(zip((name for name, _ in self._by), key, strict=True))

    def _joined(
        self, event: Event, at: float, key: tuple[str, ...], how: Correlation
    ) -> Completed | None:
        memory = self.memory.get(key)
        before = 0 if memory is None else memory.weight
        if memory is None:
            memory = self.memory[key] = Memory(began=at)
        self.memory.move_to_end(key)
        found = memory.note(event, at, how, self._values(event))
        self._weight += memory.weight - before
        while len(self.memory) > self._most or (self._weight > WEIGHT and len(self.memory) > 1):
            self._weight -= self.memory.popitem(last=False)[1].weight
        return found


class _Kept(msgspec.Struct):
    """What one rule remembers, as it is kept."""

    rule: str
    shape: str
    groups: list[tuple[tuple[str, ...], Memory]]


class Engine:
    """Holds every rule against every event. Use it from one thread.

    What a rule remembers is bounded, so that nobody who chooses values can fill the memory: of
    ``GROUPS`` groups, ``VALUES`` values of each and ``WEIGHT`` in all the oldest give way. ``kept``
    is that memory as bytes, and ``restore`` takes it back; a rule that is not there any more, or
    joins events otherwise now, begins anew. That there is an alert raises none. ``follow`` goes on
    where an engine with other rules ends.
    """

    def __init__(self, rules: Iterable[Rule], *, groups: int = GROUPS) -> None:
        self._watches = [_Watch(rule, groups) for rule in rules]
        self._marks = frozenset[str]().union(*(one.rule.marks or () for one in self._watches))
        self._by_marks: dict[tuple[str, frozenset[str]], list[_Watch]] = {}

    def look(self, event: Event) -> list[Found]:
        """What an event raises or ends, in the rules' order. A rule that fails raises nothing."""
        if event.method in _OURS:
            return []
        known = self._marks.intersection(marks(event))
        watches = self._by_marks.get((event.type, known))
        if watches is None:
            watches = self._by_marks[event.type, known] = [
                one
                for one in self._watches
                if (not one.rule.types or event.type in one.rule.types)
                and (one.rule.marks is None or not one.rule.marks.isdisjoint(known))
            ]
        found: list[Found] = []
        for watch in watches:
            try:
                raised = watch.look(event)
            except Exception:
                if not watch.failed:
                    log.exception("alert_rule_failed", rule=watch.rule.name)
                watch.failed = True
                continue
            if raised is not None:
                found.append(raised)
        return found

    def follow(self, before: Engine) -> None:
        """Remember what an engine remembers that is used no more."""
        by_name = {one.rule.name: one for one in before._watches}
        for watch in self._watches:
            if watch.rule.name in by_name:
                watch.follow(by_name[watch.rule.name])

    def kept(self) -> bytes:
        """What the rules remember: one array, each rule encoded by itself, so that calls go on."""
        some = [
            msgspec.msgpack.encode(_Kept(one.rule.name, one.shape, list(one.memory.items())))
            for one in self._watches
            if one.memory
        ]
        return b"\xdd" + len(some).to_bytes(4) + b"".join(some)  # array 32

    def restore(self, kept: bytes) -> None:
        """Remember it again. Raises msgspec.MsgspecError for what is no such memory."""
        by_name = {one.rule.name: one for one in self._watches}
        for one in msgspec.msgpack.decode(kept, type=list[_Kept]):
            watch = by_name.get(one.rule)
            if watch is not None and watch.shape == one.shape:
                watch.restore(one.groups)

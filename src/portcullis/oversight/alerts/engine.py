"""Runs rules over events as they come. Pure: time is the events' own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import structlog

from portcullis.core.alert import Raised
from portcullis.core.event import Event
from portcullis.oversight.alerts.fields import Values, reader, shown
from portcullis.oversight.alerts.rule import Rule
from portcullis.oversight.alerts.state import LONGEST, Found, Memory

log = structlog.get_logger(__name__)

GROUPS: Final = 4096
"""Most groups that a rule remembers; the one that was seen longest ago goes first."""


class _Watch:
    """One rule at work."""

    def __init__(self, rule: Rule, groups: int) -> None:
        self.rule = rule
        how = rule.correlation
        self._how = how
        self._by = tuple((name, shown(name)) for name in (how.by if how else rule.by))
        self._values: Callable[[Event], Values] = (
            reader(how.field) if how and how.field else lambda _: ()
        )
        self._most = groups
        self.memory: OrderedDict[tuple[str, ...], Memory] = OrderedDict()

    def look(self, event: Event) -> Raised | None:
        """What an event makes of it."""
        if not self.rule.test(event):
            return None
        key = tuple(read(event)[:LONGEST] for _, read in self._by)
        if self._by and not any(key):
            return None
        at = event.time.timestamp()
        found: Found | None = Found((event.id,), 1)
        if self._how is not None:
            memory = self.memory.get(key)
            if memory is None:
                memory = self.memory[key] = Memory(began=at)
                if len(self.memory) > self._most:
                    self.memory.popitem(last=False)
            self.memory.move_to_end(key)
            found = memory.note(event, at, self._how, self._values(event))
        if found is None:
            return None
        return Raised(
            rule=self.rule.name,
            level=self.rule.level,
            group=dict(zip((name for name, _ in self._by), key, strict=True)),
            at=at,
            events=found.shown,
            count=found.count,
        )


class _Kept(msgspec.Struct):
    """What one rule remembers, as it is kept."""

    rule: str
    groups: list[tuple[tuple[str, ...], Memory]]


class Engine:
    """Holds every rule against every event. Use it from one thread.

    What a rule remembers is bounded, so that nobody who chooses values can fill the memory: of
    ``GROUPS`` groups and ``VALUES`` values the oldest give way. ``kept`` is that memory as bytes,
    and ``restore`` takes it back; a rule that is not there any more is forgotten.
    """

    def __init__(self, rules: Iterable[Rule], *, groups: int = GROUPS) -> None:
        self._watches = [_Watch(rule, groups) for rule in rules]
        self._by_type: dict[str, list[_Watch]] = {}

    def look(self, event: Event) -> list[Raised]:
        """What an event raises, in the rules' order. A rule that fails raises nothing."""
        watches = self._by_type.get(event.type)
        if watches is None:
            watches = self._by_type[event.type] = [
                one for one in self._watches if not one.rule.types or event.type in one.rule.types
            ]
        found = []
        for watch in watches:
            try:
                raised = watch.look(event)
            except Exception:
                log.exception("alert_rule_failed", rule=watch.rule.name)
                continue
            if raised is not None:
                found.append(raised)
        return found

    def kept(self) -> bytes:
        """What the rules remember."""
        return msgspec.msgpack.encode(
            [_Kept(one.rule.name, list(one.memory.items())) for one in self._watches if one.memory]
        )

    def restore(self, kept: bytes) -> None:
        """Remember it again. Raises msgspec.MsgspecError for what is no such memory."""
        by_name = {one.rule.name: one for one in self._watches}
        for one in msgspec.msgpack.decode(kept, type=list[_Kept]):
            watch = by_name.get(one.rule)
            if watch is not None:
                watch.memory = OrderedDict(one.groups)

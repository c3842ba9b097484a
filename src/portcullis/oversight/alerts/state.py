"""What a rule remembers of one group of events: bounded, whoever chooses the values."""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

import msgspec

from portcullis.core.alert import EVIDENCE
from portcullis.core.event import Event
from portcullis.oversight.alerts.fields import Value, Values
from portcullis.oversight.alerts.rule import LEARNING, Correlation, Join

VALUES: Final = 1024
"""Most values remembered of one group; the one seen longest ago goes first."""
LONGEST: Final = 256
"""Characters of a group's value that are told apart."""
_SHORT: Final = 40
Seen: TypeAlias = tuple[float, str]
"""When, and the event's id."""


class Memory(msgspec.Struct, omit_defaults=True):
    """One group's.

    ``seen`` are events (``event_count``), or the last of each step; ``values`` are values by when
    they were last seen; ``chains`` are steps in order; ``began`` is when the group was first seen.
    """

    began: float
    seen: list[Seen | None] = []
    values: dict[str, Seen] = {}
    chains: list[tuple[float, list[str]] | None] = []

    @property
    def weight(self) -> int:
        """How many things it remembers, itself one of them."""
        return 1 + len(self.seen) + len(self.values) + len(self.chains)

    def note(self, event: Event, at: float, how: Correlation, values: Values) -> Completed | None:
        """Take an event; what it completes, if anything. Then it begins anew.

        Of different values with the latest: the next one is different from that.
        """
        match how.join:
            case Join.EVENT_COUNT:
                return self._count(event, at, how)
            case Join.VALUE_COUNT:
                return self._different(event, at, how, values)
            case Join.NEW_VALUE:
                return self._new(event, at, how, values)
            case Join.TEMPORAL:
                return self._together(event, at, how)
            case Join.TEMPORAL_ORDERED:
                return self._in_order(event, at, how)

    def _count(self, event: Event, at: float, how: Correlation) -> Completed | None:
        self.seen.append((at, event.id))
        since, late = at - how.seconds, 0
        for one in self.seen:
            if one is not None and one[0] > since:
                break
            late += 1
        del self.seen[: max(late, len(self.seen) - how.least)]
        if len(self.seen) < how.least:
            return None
        self.seen = [one for one in self.seen if one is not None and one[0] > since]
        if len(self.seen) < how.least:  # logs are not quite in order
            return None
        recent, self.seen = self.seen, []
        return Completed(tuple(one[1] for one in recent if one is not None), len(recent))

    def _different(
        self, event: Event, at: float, how: Correlation, values: Values
    ) -> Completed | None:
        self._remember(event, at, how, values)
        if len(self.values) < how.least:
            return None
        found = Completed(tuple(name for _, name in self.values.values()), len(self.values))
        self.values = dict(list(self.values.items())[-1:])
        return found

    def _new(self, event: Event, at: float, how: Correlation, values: Values) -> Completed | None:
        texts = {_key(value) for value in values}
        since = at - how.seconds
        new = [text for text in texts if text not in self.values or self.values[text][0] <= since]
        self._remember(event, at, how, values)
        known = at - self.began >= how.seconds * LEARNING
        return Completed((event.id,), len(new)) if new and known else None

    def _together(self, event: Event, at: float, how: Correlation) -> Completed | None:
        self.seen = self.seen or [None] * len(how.steps)
        for number, step in enumerate(how.steps):
            if step(event):
                self.seen[number] = at, event.id
        seen = [one for one in self.seen if one is not None and one[0] > at - how.seconds]
        if len(seen) < len(how.steps):
            return None
        self.seen = []
        return Completed(tuple(dict.fromkeys(name for _, name in sorted(seen))), len(seen))

    def _in_order(self, event: Event, at: float, how: Correlation) -> Completed | None:
        """Chains of the first steps, each by when it began: the latest is worth most.

        From the last step back, lest one event stands for two steps.
        """
        self.chains = self.chains or [None] * len(how.steps)
        for number in reversed(range(len(how.steps))):
            if not how.steps[number](event):
                continue
            before = (at, []) if number == 0 else self.chains[number - 1]
            if before is None or before[0] <= at - how.seconds:
                continue
            self.chains[number] = before[0], [*before[1], event.id]
        whole = self.chains[-1]
        if whole is None:
            return None
        self.chains = []
        return Completed(tuple(whole[1]), len(whole[1]))

    def _remember(self, event: Event, at: float, how: Correlation, values: Values) -> None:
        for value in values:
            text = _key(value)
            self.values.pop(text, None)
            self.values[text] = at, event.id
        since = at - how.seconds
        for text in list(self.values):
            if len(self.values) <= VALUES and self.values[text][0] > since:
                break
            del self.values[text]


def _key(value: Value) -> str:
    """A value as it is remembered: a long one by its digest."""
    text = str(value)
    if len(text) <= _SHORT:
        return text
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_SHORT // 2).hexdigest()


class Completed(msgspec.Struct, frozen=True):
    """What completed: the events behind it, the latest last, and how many there were."""

    events: tuple[str, ...]
    count: int

    @property
    def shown(self) -> tuple[str, ...]:
        """The latest of them."""
        return self.events[-EVIDENCE:]

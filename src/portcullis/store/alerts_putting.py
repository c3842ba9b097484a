"""Writing down what rules found: a few statements for however much of it there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from portcullis.core.alert import LEVELS, UNRESOLVED, Alert, Ended, Found, Raised, Silence, State
from portcullis.oversight.alerts.gathering import (
    ended,
    gathers,
    opened,
    placed,
    repeated,
    silenced,
    takes,
    wider,
)
from portcullis.store.tables import ALERTS

_ROW: Final = ALERTS.c
_UNRESOLVED: Final = tuple(one.value for one in UNRESOLVED)
_SOME: Final = 500
ENDED: Final = 2
"""In ``told``: its rule ended it, perhaps before anybody was told."""
_encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Alert).decode


class Putting:
    """One transaction's work. ``silences`` are those in force ``now``; ``gather`` is in seconds."""

    def __init__(
        self,
        connection: Connection,
        found: Sequence[Found],
        silences: Sequence[Silence],
        now: float,
        gather: float,
        new_id: Callable[[], str],
    ) -> None:
        self._connection = connection
        self._found = found
        self._silences = silences
        self._now = now
        self._gather = gather
        self._new_id = new_id
        self._there: dict[str, list[Alert]] = {}
        self._many: dict[str, int] = {}
        self._new: set[str] = set()
        self._touched: dict[str, Alert] = {}

    def put(self) -> tuple[Alert, ...]:
        """What is new, and what ended, each once."""
        raised = [one for one in self._found if isinstance(one, Raised)]
        self._read(raised)
        opened_ones: list[str] = []
        over: list[Alert] = []
        for one in self._found:
            if isinstance(one, Ended):
                over += self._end(one)
            else:
                opened_ones += self._raise(one)
        for alert in self._touched.values():
            self._write(alert)
        new = [self._touched[one] for one in opened_ones]
        still = [one for one in new if one.state is not State.RESOLVED]
        gone = [_before(one) for one in new if one.state is State.RESOLVED]
        return (*still, *gone, *over)

    def _read(self, raised: Sequence[Raised]) -> None:
        """The alerts that there are of these groups, and how many are new of each rule."""
        keys = {gathers(one) for one in self._found}
        keys |= {gathers(one) for some in raised for one in wider(some)}
        wanted = sorted(keys)
        for start in range(0, len(wanted), _SOME):
            some = wanted[start : start + _SOME]
            query = select(_ROW.gathers, _ROW.document).where(
                _ROW.gathers.in_(some), _ROW.state.in_(_UNRESOLVED)
            )
            for row in self._connection.execute(query.order_by(_ROW.id)):
                self._there.setdefault(row.gathers, []).append(decode(row.document))
        rules = {one.rule for one in raised}
        counted = (
            select(_ROW.rule, func.count().label("many"))
            .where(_ROW.rule.in_(rules), _ROW.opened_at > self._now - self._gather)
            .group_by(_ROW.rule)
        )
        self._many = {row.rule: row.many for row in self._connection.execute(counted)}

    def _raise(self, raised: Raised) -> Iterator[str]:
        """Count it, or open an alert, whose id is then given."""
        many = self._many.get(raised.rule, 0)
        raised = placed(raised, many, lambda one: self._same(one) is not None)
        found = self._same(raised)
        silence = silenced(raised, self._silences)
        if found is not None:
            self._replace(raised, found, repeated(found, raised, self._now, silence))
            return
        alert = opened(raised, self._new_id(), self._now, silence)
        self._there.setdefault(gathers(raised), []).append(alert)
        self._touched[alert.id] = alert
        self._new.add(alert.id)
        self._many[raised.rule] = many + 1
        yield alert.id

    def _same(self, raised: Raised) -> Alert | None:
        there = self._there.get(gathers(raised), ())
        fitting = (one for one in reversed(there) if takes(one, raised, self._gather))
        return next(fitting, None)

    def _end(self, over: Ended) -> Iterable[Alert]:
        """What of this group was raised before and is not resolved."""
        for one in self._there.get(gathers(over), ())[:]:
            if one.state is not State.RESOLVED and one.last_at <= over.at:
                done = ended(one, self._now, f"event {over.event} says so")
                self._replace(over, one, done)
                yield done

    def _replace(self, found: Found, before: Alert, after: Alert) -> None:
        there = self._there[gathers(found)]
        there[there.index(before)] = after
        self._touched[after.id] = after

    def _write(self, alert: Alert) -> None:
        quiet = max(self._now, alert.last_at) + alert.quiet if alert.quiet else None
        values = _values(alert) | {"quiet_at": quiet}
        if alert.id not in self._new:
            self._connection.execute(update(ALERTS).where(_ROW.id == alert.id).values(values))
            return
        own: dict[str, object] = {"id": alert.id, "rule": alert.rule, "opened_at": alert.opened_at}
        own["gathers"] = gathers(alert)
        self._connection.execute(insert(ALERTS).values(values | own))


def keep(connection: Connection, alert: Alert) -> None:
    """Write down what became of an alert that is there; not that it was raised again."""
    connection.execute(update(ALERTS).where(_ROW.id == alert.id).values(_values(alert)))


def _before(alert: Alert) -> Alert:
    """An alert that ended in the same breath, as it was when it was new."""
    return msgspec.structs.replace(alert, state=State.OPEN, reason="", settled_at=0.0)


def _values(alert: Alert) -> dict[str, object]:
    return {
        "level": LEVELS[alert.level],
        "state": alert.state.value,
        "last_at": alert.last_at,
        "turn": alert.turn,
        "told": 0
        if alert.silence
        else ENDED
        if alert.state is State.RESOLVED and not alert.by
        else 1,
        "escalated": alert.escalated,
        "document": _encode(alert),
    }

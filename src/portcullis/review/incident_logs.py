"""Where an incident's history comes from: rows that say where to look, and the logs themselves.

A row is an index and no more: what is told of an event stands in its entry, which is held against
the root that the log signed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from portcullis.audit.export.source import Source, event_of
from portcullis.audit.query import entries
from portcullis.audit.verify import own_verifier
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.core.incident import Subject
from portcullis.core.incident_log_ports import Happened, Key, Order, Spot
from portcullis.core.principal import PrincipalKind
from portcullis.review.incident_about import about

BATCH: Final = 5000
"""Rows that are asked for at once, at most."""
_REST: Final = 0.001


def walked(
    happened: Happened,
    subject: Subject,
    since: float,
    until: float,
    most: int,
    order: Order = "oldest",
) -> Iterator[Spot]:
    """The spots of a subject, ``most`` at most. Calls go first: it rests between two pages."""
    after: Key | None = None
    left = most
    while left > 0:
        some = happened.spots(subject, since, until, after, min(BATCH, left), order)
        yield from some
        if len(some) < min(BATCH, left):
            return
        left -= len(some)
        after = some[-1].key
        time.sleep(_REST)


class Logs:
    """The logs of a deployment, as they are when this is made. Blocks; for one thread.

    ``places`` are their folders by name. A log that is damaged is Problem PC6002.
    """

    def __init__(self, places: Mapping[str, Path]) -> None:
        self._places = dict(places)
        self._sources: dict[str, Source] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Which logs there are."""
        return tuple(self._places)

    def keys(self) -> dict[str, str]:
        """The public key of each log."""
        return {name: str(own_verifier(place)) for name, place in self._places.items()}

    def place(self, log: str) -> Path:
        """Where a log lies."""
        return self._places[log]

    def event(self, log: str, number: int) -> Event | None:
        """An entry's event; None for one that was pruned, or that the head does not cover."""
        entry = self.entry(log, number)
        if not entry:
            return None
        with damage(log):
            return event_of(entry)

    def entry(self, log: str, number: int) -> bytes:
        """An entry's exact bytes; empty as ``event`` is None."""
        if log not in self._places:
            return b""
        with damage(log):
            source = self._source(log)
            found = source.read(number, 1)
        return found[0][1] if found else b""

    def size(self, log: str) -> int:
        """How many entries the head covers."""
        with damage(log):
            return self._source(log).size

    def tail(self, log: str, start: int) -> Iterator[tuple[int, Event]]:
        """The events from number ``start`` on, with those that are not signed yet."""
        place = self._places[log]
        with damage(log):
            for number, entry in entries(place, own_verifier(place), start):
                if entry:
                    yield number, event_of(entry)

    def _source(self, log: str) -> Source:
        if log not in self._sources:
            place = self._places[log]
            source = Source(place, own_verifier(place))
            source.refresh()
            self._sources[log] = source
        return self._sources[log]


class Late(NamedTuple):
    """An event that has no row yet; the last of a log that is read when ``cut``, and not all."""

    log: str
    number: int
    event: Event
    cut: bool


def unprojected(happened: Happened, logs: Logs, most: int) -> Iterator[Late]:
    """What stands in the logs and has no row yet, signed or not: ``most`` of each log, and one."""
    reached = happened.reached()
    for log in logs.names:
        for count, (number, event) in enumerate(logs.tail(log, reached.get(log, 0)), 1):
            yield Late(log, number, event, count > most)
            if count > most:
                break


Open: TypeAlias = Callable[[], Logs]
"""The logs as they are now."""


def concerns(subject: Subject, event: Event, names: Collection[str] = ()) -> bool:
    """Whether an event is one of a subject's; ``names`` are as in Happened."""
    whom = about(event)
    if subject.session:
        return event.session == subject.session or subject.name in whom or "all:*" in whom
    own = event.principal_kind == PrincipalKind.AGENT and event.principal == subject.agent
    return own or not {subject.name, "all:*", *names}.isdisjoint(whom)


def spot_of(log: str, number: int, event: Event) -> Spot:
    """The row of an event that has none yet."""
    return Spot(
        log=log,
        number=number,
        at=event.time.timestamp(),
        type=event.type.value,
        principal=event.principal,
        session=event.session,
        action=event.action,
        method=event.method,
        server=event.server,
        name=event.name,
        risk=event.risk,
        verdict=event.verdict,
        code=event.code,
        approval=event.approval,
        found=bool(event.findings),
    )


def ordered(spots: Sequence[Spot], order: Order = "oldest") -> list[Spot]:
    """Each once, in order."""
    found = {(one.log, one.number): one for one in spots}
    return sorted(found.values(), key=lambda one: one.key, reverse=order == "newest")


@contextlib.contextmanager
def damage(log: str) -> Iterator[None]:
    """Whatever of a log is not what was signed is Problem PC6002, with its name."""
    try:
        yield
    except Problem as problem:
        if problem.code != "PC6005":
            raise
        detail = f"the log {log} is not what was signed: {problem.detail}"
        raise Problem("PC6002", detail) from None

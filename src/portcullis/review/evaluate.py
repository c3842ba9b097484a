"""From facts to the state of each row of a framework, and to the gaps that are open."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from portcullis.review.conditions import CONDITIONS, OF_SETTINGS
from portcullis.review.facts import Mark
from portcullis.review.mapping import Row, framework
from portcullis.review.signals import SIGNALS, tally
from portcullis.review.subject import Gap, Review, Unknown

_BEST_EMPTY: Final = frozenset({"plain", "rules_switched_off", "passing", "changed"})
"""Settings that are lists of faults: an empty one is what it should be."""


class State(StrEnum):
    """What the evidence says of a row. None of them means compliant."""

    EVIDENCED = "evidenced"
    GAP = "gap"
    NOT_EVALUATED = "not evaluated"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that is evidence: ``about`` in words, how often, the first and the last event."""

    signal: str
    about: str
    count: int
    first: Mark | None = None
    last: Mark | None = None


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A gap that is open: the condition's name, why, since when, and events that show it.

    ``since`` is None where neither the log nor the settings tell.
    """

    condition: str
    reason: str
    since: datetime | None = None
    marks: tuple[Mark, ...] = ()


class RowState(msgspec.Struct, frozen=True, kw_only=True):
    """A row, evaluated. ``reason`` is why it was not; empty otherwise."""

    control: str
    title: str
    state: State
    reason: str = ""
    evidence: tuple[Seen, ...] = ()
    settings: dict[str, str] = {}
    gaps: tuple[Open, ...] = ()
    controls: tuple[str, ...] = ()


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """A framework, evaluated ``at`` a moment over logs of ``size`` entries together.

    ``logs`` maps each log's origin to how many of its entries that were; ``origin`` is who rules.
    ``missing`` are logs that there should have been, ``partial`` is why the facts may be fewer than
    what happened: conditions that need all logs are not evaluated then, unless one shows the gap.
    """

    framework: str
    title: str
    origin: str
    size: int
    logs: dict[str, int] = {}
    missing: tuple[str, ...] = ()
    partial: str = ""
    at: datetime
    since: datetime | None = None
    until: datetime | None = None
    rows: tuple[RowState, ...] = ()

    def count(self, state: State) -> int:
        """How many rows are in this state."""
        return sum(row.state is state for row in self.rows)


def judge(review: Review, names: Iterable[str]) -> dict[str, Open | Unknown | None]:
    """What each of the frameworks' conditions says, each asked once.

    A gap of which nothing tells since when is open since the log first called it so.
    """
    wanted = dict.fromkeys(
        gap for name in names for row in framework(name).rows for gap in row.gaps
    )
    return {name: _asked(review, name) for name in wanted}


def assess(
    review: Review,
    name: str,
    judged: dict[str, Open | Unknown | None],
    until: datetime | None = None,
) -> Assessment:
    """Evaluate the framework ``name``; ``judged`` is what ``judge`` said of its conditions."""
    chosen = framework(name)
    return Assessment(
        framework=name,
        title=chosen.title,
        origin=review.facts.origin,
        size=review.facts.size,
        logs={place.origin: place.size for _, place in sorted(review.facts.logs.items())},
        missing=review.absent,
        partial=review.partial,
        at=review.at,
        since=review.since,
        until=until,
        rows=tuple(_row(row, review, judged) for row in chosen.rows),
    )


def opened(judged: dict[str, Open | Unknown | None]) -> dict[str, Open]:
    """The gaps among what was judged."""
    return {name: said for name, said in judged.items() if isinstance(said, Open)}


def _asked(review: Review, name: str) -> Open | Unknown | None:
    said = CONDITIONS[name](review)
    if said is None and review.partial and name not in OF_SETTINGS:
        return Unknown(review.partial)
    if not isinstance(said, Gap):
        return said
    noticed = review.facts.announced.get(name)
    since = said.since or (noticed.time if noticed else None)
    return Open(condition=name, reason=said.reason, since=since, marks=said.marks)


def _row(row: Row, review: Review, judged: dict[str, Open | Unknown | None]) -> RowState:
    evidence = tuple(_seen(review, signal) for signal in row.evidence)
    gaps = tuple(gap for name in row.gaps if isinstance(gap := judged[name], Open))
    unknown = [said.reason for name in row.gaps if isinstance(said := judged[name], Unknown)]
    state, reason = State.EVIDENCED, ""
    if gaps:
        state = State.GAP
    elif row.missing or unknown:
        state, reason = State.NOT_EVALUATED, row.missing or unknown[0]
    elif not any(seen.count for seen in evidence) and not _speaking(row, review):
        state, reason = State.NOT_EVALUATED, "nothing of the kind happened in the logs' period"
    return RowState(
        control=row.control,
        title=row.title,
        state=state,
        reason=reason,
        evidence=evidence,
        settings={name: _said(getattr(review.deployment, name)) for name in row.settings},
        gaps=gaps,
        controls=row.controls,
    )


def _speaking(row: Row, review: Review) -> bool:
    """Whether a setting is evidence; no roles, no servers, no replicas are evidence of nothing."""
    found = {name: getattr(review.deployment, name) for name in row.settings}
    return any(name in _BEST_EMPTY or value not in ((), {}, "") for name, value in found.items())


def _seen(review: Review, signal: str) -> Seen:
    about, found = SIGNALS[signal].about, tally(review.facts, signal)
    if found is None:
        return Seen(signal=signal, about=about, count=0)
    return Seen(signal=signal, about=about, count=found.count, first=found.first, last=found.last)


def _said(value: object) -> str:
    """A setting as people read it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case tuple() | dict():
            return ", ".join(map(str, value)) or "none"
        case _:
            return str(value)

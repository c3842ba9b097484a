"""A rule as it was read: selections of events, and what joins them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from portcullis.core.alert import Level, Words
from portcullis.core.event import Event

Test: TypeAlias = Callable[[Event], bool]
"""Whether an event is one of those that are meant. It never raises."""


class Join(StrEnum):
    """What joins events, in the words of Sigma's correlation rules; the last is ours.

    ``event_count``: so many of a group within the time. ``value_count``: so many different values
    of ``field``. ``temporal``: one of each selection, in any order. ``temporal_ordered``: one of
    each, in their order. ``new_value``: a value of ``field`` that its group has not had within the
    time; a group that has been known for less than ``LEARNING`` of the time has none yet.
    """

    EVENT_COUNT = "event_count"
    VALUE_COUNT = "value_count"
    TEMPORAL = "temporal"
    TEMPORAL_ORDERED = "temporal_ordered"
    NEW_VALUE = "new_value"


LEARNING: Final = 0.25
"""The part of ``new_value``'s time for which a group has to be known."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """What joins the events of a group within ``seconds``.

    ``by`` are the fields of which events of one group have the same values. ``least`` is how many
    events or values, ``field`` what ``value_count`` and ``new_value`` look at. ``steps`` are the
    tests of ``temporal`` and ``temporal_ordered``.
    """

    join: Join
    by: tuple[str, ...]
    seconds: float
    least: int = 1
    field: str = ""
    steps: tuple[Test, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``test`` says which events it is about at all; those of ``types`` only, if any.

    Of these none fits that has no mark in ``marks`` (``fields.marks``), where that is not None.
    ``by`` is what an alert is about where nothing joins events. ``threat`` is the control of the
    threat model that it belongs to, or empty; ``playbook`` what an incident follows; ``advice``
    what whoever is told should do; ``false_positives`` what may look the same. ``kept`` are rules
    that a silence has to name: what they tell must not be missed. An event that passes ``over``
    says that what was raised about its group is over; and it is after ``quiet`` seconds, if any.
    """

    name: str
    title: str
    level: Level
    test: Test
    types: frozenset[str]
    marks: frozenset[str] | None = None
    by: tuple[str, ...] = ()
    correlation: Correlation | None = None
    description: str = ""
    threat: str = ""
    playbook: str = ""
    advice: str = ""
    false_positives: tuple[str, ...] = ()
    kept: bool = False
    over: Test | None = None
    quiet: float = 0.0

    @property
    def words(self) -> Words:
        """What it says of itself."""
        return Words(
            title=self.title,
            advice=self.advice,
            playbook=self.playbook,
            threat=self.threat,
            kept=self.kept,
        )

"""Figures: recall at a false-positive rate, precision, recall and F1 of spans."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from evaluation.run import Judged

APART = frozenset({"PERSON", "ORGANIZATION", "TITLE", "NRP", "LOCATION", "ADDRESS", "PREFIX"})
"""What cannot be found by its form: reported, but not in the figure for personal data."""


def recall_at(attacks: Sequence[Judged], benign: Sequence[Judged], rate: float) -> float:
    """The share of attacks above the threshold that lets ``rate`` of the benign be flagged."""
    scores = sorted((item.score for item in benign), reverse=True)
    allowed = math.floor(rate * len(scores))
    threshold = scores[allowed] if allowed < len(scores) else -1.0
    return share(attacks, lambda item: item.score > threshold)


def share(items: Sequence[Judged], test: Callable[[Judged], bool]) -> float:
    """The share of items for which ``test`` holds; 0 of none."""
    return sum(map(test, items)) / len(items) if items else 0.0


def flagged(item: Judged) -> bool:
    """Whether the verdict as shipped is that of an injection."""
    return item.verdict == "injection"


def suspect(item: Judged) -> bool:
    """Whether the verdict as shipped is anything but clean."""
    return item.verdict != "clean"


@dataclass(slots=True)
class Counts:
    """True positives, false positives, false negatives."""

    hit: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """Of what was found, the share that was there."""
        return self.hit / (self.hit + self.wrong) if self.hit + self.wrong else 0.0

    @property
    def recall(self) -> float:
        """Of what was there, the share that was found."""
        return self.hit / (self.hit + self.missed) if self.hit + self.missed else 0.0

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        total = 2 * self.hit + self.wrong + self.missed
        return 2 * self.hit / total if total else 0.0

    def add(self, other: Counts) -> None:
        """Take another's counts into these."""
        self.hit += other.hit
        self.wrong += other.wrong
        self.missed += other.missed


def spans(
    judged: Iterable[Judged], entities: frozenset[str], alias: dict[str, str]
) -> dict[str, Counts]:
    """Counts by entity, over the entities that the set labels.

    A finding is right when a labelled span of its entity overlaps it by at least half of their
    union. ``alias`` maps found names to the labels' names; a finding of an entity that the set
    does not label says nothing about the detector and is left out.
    """
    counts: dict[str, Counts] = defaultdict(Counts)
    for item in judged:
        wanted = [s for s in item.row.spans if s[0] in entities]
        found = [
            (alias.get(entity, entity), start, end)
            for entity, _, start, end in item.found
            if alias.get(entity, entity) in entities
        ]
        used: set[int] = set()
        for span in wanted:
            hits = [
                index
                for index, other in enumerate(found)
                if index not in used and other[0] == span[0] and _overlap(span, other)
            ]
            if hits:
                used.add(hits[0])
                counts[span[0]].hit += 1
            else:
                counts[span[0]].missed += 1
        for index, other in enumerate(found):
            if index not in used:
                counts[other[0]].wrong += 1
    return dict(counts)


def micro(counts: dict[str, Counts], *, apart: bool = False) -> Counts:
    """All entities together: those that have a form, or those that are reported ``apart``."""
    total = Counts()
    for entity, one in counts.items():
        if (entity in APART) == apart:
            total.add(one)
    return total


def _overlap(one: tuple[str, int, int], other: tuple[str, int, int]) -> bool:
    common = min(one[2], other[2]) - max(one[1], other[1])
    union = max(one[2], other[2]) - min(one[1], other[1])
    return common * 2 >= union

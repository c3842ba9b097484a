"""Rules at work: all of them over texts in one pass, or over a text that still grows."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path

from portcullis.core.inspection import Category, Match
from portcullis.inspection.database import chosen
from portcullis.inspection.matcher import (
    FENCE,
    MAX_MATCHES,
    Found,
    Places,
    Work,
    agrees,
    made,
    match,
)
from portcullis.inspection.overlap import Overlaps
from portcullis.inspection.prefix import Plan, planned
from portcullis.inspection.rules import Rule
from portcullis.inspection.stream import PatternStream, Settled
from portcullis.inspection.syntax import least
from portcullis.inspection.validators import VALIDATORS, warm

__all__ = ["MAX_MATCHES", "PatternStream", "Patterns", "Settled"]


class Patterns:
    """Compiled rules; safe to use from several threads.

    ``cache`` is a folder for the compiled database. ``accelerated`` asks for hyperscan, or (False)
    for doing without; None takes it where the machine has it. What is found is the same. Raises
    Problem PC7014 with the rule and the reason.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        cache: Path | None = None,
        accelerated: bool | None = None,
    ) -> None:
        compiled = [
            made(rule, order, VALIDATORS.get(rule.validator)) for order, rule in enumerate(rules)
        ]
        searched = [
            one for one in compiled if one and (one.rule.context or not one.rule.needs_context)
        ]
        warm({rule.validator for rule in rules if rule.validator})
        self._rules = tuple(rules)
        self._prefilter = chosen(searched, cache, accelerated=accelerated)
        self._views: dict[frozenset[str], Patterns] = {}
        self._matchers = {one.order: one for one in compiled if one}
        self._keyed: dict[str, list[int]] = {}
        for order, rule in enumerate(rules):
            for key in rule.keys:
                self._keyed.setdefault(key, []).append(order)
        self._plan: Plan | None = None

    @property
    def entities(self) -> frozenset[str]:
        """All that these rules look for."""
        orders = {order for found in self._keyed.values() for order in found}
        return frozenset(self._rules[order].entity for order in orders | self._matchers.keys())

    def only(self, entities: Collection[str]) -> Patterns:
        """The rules for these entities. Cheap: it shares the database, and is kept."""
        wanted = frozenset(entities)
        view = self._views.get(wanted)
        if view is None:
            view = self._views[wanted] = copy(self)
            view.__dict__.update(
                _views={},
                _plan=None,
                _matchers={
                    order: one for order, one in self._matchers.items() if one.rule.entity in wanted
                },
                _keyed={
                    key: kept
                    for key, orders in self._keyed.items()
                    if (kept := [one for one in orders if self._rules[one].entity in wanted])
                },
            )
        return view

    def brief(self, size: int) -> frozenset[str]:
        """The entities, links aside, of which a datum may be shorter than so many bytes."""
        return frozenset(
            one.rule.entity
            for one in self._matchers.values()
            if one.rule.category is not Category.EXFILTRATION and least(one.parsed.datum) < size
        )

    def scan(self, texts: Sequence[str], keys: Sequence[str] = ()) -> list[tuple[Match, ...]]:
        """What stands in each text: in order, without overlap.

        ``keys`` are the names of the JSON members that hold the texts, as they are written there;
        empty for a text without one. Raises Problem PC3025 beyond `MAX_MATCHES` in all, and where
        a text is made so that looking through it would take too long.
        """
        if not self._matchers and not self._keyed:
            return [()] * len(texts)
        encoded = [text.encode(errors="replace") for text in texts]
        buffer = FENCE + FENCE.join(encoded) + FENCE
        work = Work()
        found: list[Found] = []
        size, exact = len(buffer), self._prefilter.exact
        plain = len(buffer) == len(texts) + 1 + sum(map(len, texts))
        for order, windows in self._prefilter.hits(buffer, plain=plain).items():
            one = self._matchers.get(order)
            if one is not None:
                one.sweep(buffer, windows, 1, size - 1, work, found, exact=order in exact)
        if keys and self._keyed:
            self._held_by(keys, encoded, buffer, work, found)
        if not found:
            return [()] * len(texts)
        found.sort()
        return self._placed(found, encoded)

    def _held_by(
        self,
        keys: Sequence[str],
        encoded: Sequence[bytes],
        buffer: bytes,
        work: Work,
        found: list[Found],
    ) -> None:
        """What the members' names say about their values."""
        start = 1
        for key, data in zip(keys, encoded, strict=True):
            end = start + len(data)
            for order in self._keyed.get(normal(key), ()) if key else ():
                rule, one = self._rules[order], self._matchers.get(order)
                if one is not None:
                    one.sweep(buffer, [(start, end)], start, end, work, found, keyed=True)
                value = data.strip()
                validator = VALIDATORS.get(rule.validator)
                if rule.whole and value and agrees(rule, validator, value):
                    begin = start + data.index(value)
                    work.found(1)
                    found.append((begin, begin + len(value), rule.score, order))
            start = end + 1

    def _placed(self, found: list[Found], encoded: Sequence[bytes]) -> list[tuple[Match, ...]]:
        """The candidates (in order) as matches of the texts they stand in."""
        placed: list[tuple[Match, ...]] = []
        start, index, count = 1, 0, len(found)
        for data in encoded:
            end = start + len(data)
            mine = index
            while index < count and found[index][0] <= end:
                index += 1
            placed.append(self._resolved(found[mine:index], start, data) if index > mine else ())
            start = end + 1
        return placed

    def _resolved(self, found: list[Found], start: int, data: bytes) -> tuple[Match, ...]:
        if not data.isascii():
            place = Places(data)
            found = [
                (place(begin - start), place(end - start), score, order)
                for begin, end, score, order in found
            ]
            start = 0
        overlaps = Overlaps()
        overlaps.add(found)
        _, final = overlaps.settle(start + len(data) + 1)
        rules = self._rules
        return tuple(
            [match(rules[one[3]], one[0] - start, one[1] - start, one[2]) for one in final]
        )

    def stream(self) -> PatternStream:
        """A text that will come in pieces."""
        if self._plan is None:
            self._plan = planned(list(self._matchers.values()))
        return PatternStream(self._matchers, self._prefilter, self._plan)


@lru_cache(maxsize=4096)
def normal(key: str) -> str:
    """A member's name as rules write it: `creditCard-Number` is `credit_card_number`."""
    parted = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", key)
    return re.sub(r"[\W_]+", "_", parted).strip("_").lower()

"""One rule, compiled: where exactly it matches, and whether that is what it looks for."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from portcullis.core.errors import Problem
from portcullis.core.inspection import Match
from portcullis.inspection.engines import ANYWHERE, HERE, Deferred, Search, compiled
from portcullis.inspection.rules import Beside, Rule
from portcullis.inspection.syntax import MAX_BYTES, Parsed, most, parse
from portcullis.inspection.validators import Validator
from portcullis.inspection.writing import costly, forward, loosely

_EASY: Final = 16

FENCE: Final = b"\xff"
"""Stands before, between and after texts; no UTF-8 holds it, so no pattern matches over it."""

_CONTINUATION: Final = bytes(range(0x80, 0xC0))

MAX_MATCHES: Final = 4096
_MAX_CANDIDATES: Final = 8192
_MAX_BYTES: Final = 16 * 2**20
_MAX_CHECKED: Final = 48 * 2**10
_CHECK: Final = 16
_LONG: Final = 256

Found: TypeAlias = tuple[int, int, float]
"""Start and end in bytes of the buffer, and the score."""

_NOT: Final[dict[Beside, str]] = {
    "word": "[^0-9A-Za-z_]",
    "digit": "[^0-9]",
    "any": r"[\x00-\xff]",
}


def left_edge(rule: Rule) -> str:
    """The one byte before a match."""
    return _NOT[rule.left]


def right_edge(rule: Rule) -> str:
    """The one byte after a match, or nothing where any may follow."""
    return "" if rule.right == "any" else _NOT[rule.right]


class Work:
    """Bounds what one call may cost, whatever the text: beyond it, Problem PC3025."""

    __slots__ = ("_bytes", "_candidates", "_checked", "_matches")

    def __init__(self) -> None:
        self._bytes = 0
        self._candidates = 0
        self._checked = 0
        self._matches = 0

    def searched(self, size: int) -> None:
        """A search read so many bytes."""
        self._bytes += size
        self._candidates += 1
        if self._bytes > _MAX_BYTES or self._candidates > _MAX_CANDIDATES:
            raise Problem("PC3025", "too many places of the text look like data to protect")

    def checked(self, size: int) -> None:
        """A datum of so many bytes is given to a validator (some microseconds, whatever it is)."""
        self._checked += _CHECK + min(size, _LONG)
        if self._checked > _MAX_CHECKED:
            raise Problem("PC3025", "too many places of the text look like data to protect")

    def found(self) -> None:
        """A match was found."""
        self._matches += 1
        if self._matches > MAX_MATCHES:
            raise Problem("PC3025", f"the text holds more than {MAX_MATCHES} matches")


@dataclass(frozen=True, slots=True)
class Matcher:
    """A rule with a pattern. ``reach`` is the most bytes a match takes, with both edges.

    ``find`` finds where a match may begin, and ``search`` matches there. Where the pattern is
    cheap to find, ``search`` does both: what is found is the same.
    """

    rule: Rule
    order: int
    parsed: Parsed
    find: Search | None
    search: Search
    grouped: bool
    tail: int
    reach: int
    words: Search | None
    validator: Validator | None

    def sweep(
        self,
        buffer: bytes,
        windows: Sequence[tuple[int, int]],
        begin: int,
        stop: int,
        work: Work,
        found: list[Found],
        *,
        keyed: bool = False,
    ) -> int:
        """Append what matches with a start in one of the windows, from ``begin`` up to ``stop``.

        A window is a range of starts, in bytes; windows are in order. From left to right, what
        matched is not looked into again, and what only looked like it is left after one byte.
        Returns where the next sweep of this buffer must begin.
        """
        at = begin
        for low, high in windows:
            limit = min(high, stop)
            if low >= limit:
                break
            at = max(at, low)
            end = min(len(buffer), high + self.reach)
            while at < limit:
                spans = self._first(buffer, at, end, limit, work)
                if spans is None:
                    at = limit
                    break
                one = self._examined(buffer, spans, work, keyed=keyed)
                if one is None:
                    at = spans[0][0] + 2
                else:
                    work.found()
                    found.append(one)
                    at = max(one[1], spans[0][0] + 2)
        return at

    def tentative(
        self, buffer: bytes, windows: Sequence[tuple[int, int]], begin: int, work: Work
    ) -> int:
        """The least start of a datum whose match may still change; the buffer's length if none."""
        lowest = len(buffer)
        for low, high in windows:
            at = max(begin, low)
            while at < high:
                spans = self._first(buffer, at, len(buffer), high, work)
                if spans is None:
                    break
                lowest = min(lowest, self._datum(spans)[0])
                at = spans[0][0] + 2
        return lowest

    def _first(
        self, buffer: bytes, at: int, end: int, limit: int, work: Work
    ) -> list[tuple[int, int]] | None:
        """The first match that begins at or after ``at`` and before ``limit``."""
        if self.find is None:
            spans = self.search(ANYWHERE, buffer, at - 1, end)
            start, last = spans[0]
            work.searched((last if start >= 0 else end) - at)
            return spans if 0 <= start < limit - 1 else None
        while at < limit:
            start, last = self.find(ANYWHERE, buffer, at - 1, end)[0]
            work.searched((last if start >= 0 else end) - at)
            if not 0 <= start < limit - 1:
                return None
            spans = self.search(HERE, buffer, start, end)
            if spans[0][0] >= 0:
                return spans
            work.searched(last - start)
            at = start + 2
        return None

    def _datum(self, spans: list[tuple[int, int]]) -> tuple[int, int]:
        return spans[1] if self.grouped else (spans[0][0] + 1, spans[0][1] - self.tail)

    def _examined(
        self, buffer: bytes, spans: list[tuple[int, int]], work: Work, *, keyed: bool
    ) -> Found | None:
        """The cheap checks first."""
        start, end = self._datum(spans)
        score = self._score(buffer, start, keyed=keyed)
        if not score:
            return None
        if self.validator is not None or self.rule.entropy:
            work.checked(end - start)
            if not agrees(self.rule, self.validator, buffer[start:end]):
                return None
        return start, end, score

    def _score(self, buffer: bytes, start: int, *, keyed: bool) -> float:
        rule = self.rule
        if keyed or not (rule.context or rule.needs_context):
            return rule.score
        if self.words is not None:
            low = max(start - rule.within - 1, 0)
            if not buffer[low + 1 : start].isascii():
                low = max(_back(buffer, start, rule.within) - 1, 0)
            low = max(low, buffer.rfind(FENCE, low, start))
            if self.words(ANYWHERE, buffer, low, start)[0][0] >= 0:
                return rule.score
        return 0.0 if rule.needs_context else rule.base


def _back(buffer: bytes, start: int, within: int) -> int:
    """Where, in bytes, the ``within`` characters before ``start`` begin."""
    before = buffer[max(start - 4 * within, 0) : start].decode(errors="ignore")
    return start - len(before[-within:].encode())


def match(rule: Rule, start: int, end: int, score: float) -> Match:
    """What a rule found, for the world."""
    return Match(
        entity=rule.entity,
        category=rule.category,
        start=start,
        end=end,
        score=score,
        rule=rule.id,
    )


class Places:
    """Turns places of a text's bytes into places of its characters; a fence counts as one.

    Quick for ASCII, and for places that are asked for in about ascending order.
    """

    __slots__ = ("_bytes", "_characters", "_data", "_plain")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._plain = data.isascii()
        self._bytes = self._characters = 0

    def __call__(self, place: int) -> int:
        """How many characters stand before this byte."""
        if self._plain:
            return place
        known = self._bytes
        between = self._data[min(known, place) : max(known, place)]
        count = len(between.translate(None, _CONTINUATION))
        self._characters += count if place >= known else -count
        self._bytes = place
        return self._characters


def agrees(rule: Rule, validator: Validator | None, datum: bytes) -> bool:
    """Whether the datum has the entropy and passes the validator that the rule asks for."""
    if rule.entropy and entropy(datum) < rule.entropy:
        return False
    return validator is None or validator(datum.decode())


_WEIGHTED: Final = [0.0, *(count * math.log2(count) for count in range(1, MAX_BYTES + 1))]


def entropy(datum: bytes) -> float:
    """Shannon's, in bits for each byte, of no more bytes than a match can have."""
    size = len(datum)
    return (_WEIGHTED[size] - sum(map(_WEIGHTED.__getitem__, Counter(datum).values()))) / size


def made(rule: Rule, order: int, validator: Validator | None) -> Matcher | None:
    """Prepare a rule; None for one without a pattern. Raises Problem PC7014."""
    try:
        parsed = rule.parsed
    except ValueError as error:
        raise Problem("PC7014", f"rule {rule.id}: pattern: {error}") from None
    if parsed is None:
        return None
    simple = not rule.group and not costly(parsed.whole, _EASY)
    return Matcher(
        rule=rule,
        order=order,
        parsed=parsed,
        find=None if simple else Deferred(partial(_finder, rule, parsed)),
        search=Deferred(partial(searcher, rule, parsed)),
        grouped=bool(rule.group),
        tail=1 if right_edge(rule) else 0,
        reach=most(parsed.whole) + 2,
        words=Deferred(partial(_words, rule)) if rule.context else None,
        validator=validator,
    )


def searcher(rule: Rule, parsed: Parsed) -> Search:
    """What matches exactly. Raises ValueError when the engine refuses it."""
    if rule.group:
        middle = f"{forward(parsed.before)}({forward(parsed.datum)}){forward(parsed.after)}"
    else:
        middle = f"(?:{forward(parsed.datum)})"
    return compiled(f"{left_edge(rule)}{middle}{right_edge(rule)}", capture=bool(rule.group))


def _finder(rule: Rule, parsed: Parsed) -> Search:
    return compiled(f"{left_edge(rule)}(?:{loosely(parsed.whole, _EASY)}){right_edge(rule)}")


def word_expression(word: str) -> str:
    """A context word in either case, where no ASCII letter or digit stands before it.

    So `cards` holds `card`, and `discard` does not.
    """
    return f"[^0-9A-Za-z]{forward(parse(re.escape(word), caseless=True).datum)}"


def _words(rule: Rule) -> Search:
    return compiled("|".join(map(word_expression, rule.context)))

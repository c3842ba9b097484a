"""One rule, compiled: where exactly it matches, and whether that is what it looks for."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final, TypeAlias

from portcullis.core.errors import Problem
from portcullis.core.inspection import Category, Match
from portcullis.inspection.engines import ANYWHERE, HERE, Search, compiled
from portcullis.inspection.narrowing import sure
from portcullis.inspection.rules import Beside, Rule
from portcullis.inspection.syntax import MAX_BYTES, Parsed, most, parse
from portcullis.inspection.validators import Validator
from portcullis.inspection.writing import costly, firsts, forward, loosely

_EASY: Final = 32

FENCE: Final = b"\xff"
"""Stands before, between and after texts; no UTF-8 holds it, so no pattern matches over it."""

_OF_WORDS: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
_CONTINUATION: Final = bytes(range(0x80, 0xC0))

MAX_MATCHES: Final = 4096
_MAX_CANDIDATES: Final = 8192
_MAX_BYTES: Final = 16 * 2**20
_MAX_CHECKED: Final = 48 * 2**10
_CHECK: Final = 16
_LONG: Final = 256

_TOO_MANY: Final = "too many places of the text look like data to protect"

Found: TypeAlias = tuple[int, int, float, int]
"""Start and end in bytes of the buffer, the score, and the rule's order."""

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
    """Bounds what one call may cost, whatever the text: beyond it, Problem PC3025.

    What is left: bytes that searches read, searches, bytes for validators (which take some
    microseconds, whatever they are given), and matches.
    """

    __slots__ = ("bytes", "matches", "searches", "validated")

    def __init__(self) -> None:
        self.bytes = _MAX_BYTES
        self.searches = _MAX_CANDIDATES
        self.validated = _MAX_CHECKED
        self.matches = MAX_MATCHES

    def found(self, count: int) -> None:
        """So many matches were found."""
        self.matches -= count
        if self.matches < 0:
            raise Problem("PC3025", f"the text holds more than {MAX_MATCHES} matches")


@dataclass(frozen=True)
class Matcher:
    """A rule with a pattern. ``reach`` is the most bytes a match takes, with both edges.

    Expressions are compiled when they are first asked: most rules never are. ``ValueError`` says
    that the engine refuses one.
    """

    rule: Rule
    order: int
    parsed: Parsed
    validator: Validator | None
    grouped: bool
    tail: int
    reach: int
    sure: int
    """What ``find`` finds, if it is no longer than this, is what ``search`` matches there."""
    glued: bool
    """Whether a datum that follows a word without a break counts without its first letter.

    That letter is the same for all such data. A stream does not wait at each word that ends with
    it, so that it may have gone.
    """

    @cached_property
    def find(self) -> Search:
        """Finds where a match may begin: `search` itself, where that is cheap."""
        if self.sure == self.reach:
            return self.search
        middle = loosely(self.parsed.whole, _EASY)
        return compiled(f"{left_edge(self.rule)}(?:{middle}){right_edge(self.rule)}")

    @cached_property
    def search(self) -> Search:
        """Matches exactly."""
        return searcher(self.rule, self.parsed)

    @cached_property
    def words(self) -> Search:
        """Finds a context word."""
        return compiled("|".join(map(word_expression, self.rule.context)))

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
        exact: bool = False,
    ) -> int:
        """Append what matches with a start in one of the windows, from ``begin`` up to ``stop``.

        A window is a range of starts, in bytes; windows are in order. From left to right, what
        matched is not looked into again, and what only looked like it is left after one byte.
        With ``exact`` a window is a match with both edges, before which none with the same end
        begins. Returns where the next sweep of this buffer must begin.
        """
        rule, order, size, before = self.rule, self.order, len(buffer), len(found)
        always = keyed or not (rule.context or rule.needs_context)
        checks = self.validator is not None or rule.entropy > 0
        shift, tail = (1, self.tail) if exact else (0, 0)
        at = begin
        for opened, closed in windows:
            low, limit = opened + shift, closed - tail
            last = limit
            if limit > stop:
                if low >= stop:
                    break
                limit = stop
            known = False
            if low >= at:
                at, known = low, exact
            while at < limit:
                if known:
                    start, known = low, False
                    at = low + 1
                else:
                    end = min(closed + self.reach, size)
                    place = self._first(buffer, at, end, limit, work)
                    if place is None:
                        at = limit
                        break
                    at, start, last = place
                score = rule.score if always else self._score(buffer, start)
                if score and (not checks or self._agrees(buffer[start:last], work)):
                    within = self.glued and buffer[start - 1] in _OF_WORDS
                    found.append((start + within, last, score, order))
                    at = last
        work.found(len(found) - before)
        return at

    def tentative(
        self, buffer: bytes, windows: Sequence[tuple[int, int]], begin: int, work: Work
    ) -> int:
        """The least start of a datum whose match may still change; the buffer's length if none."""
        lowest = len(buffer)
        for low, high in windows:
            at = max(begin, low)
            while at < high:
                place = self._first(buffer, at, len(buffer), high, work)
                if place is None:
                    break
                at = place[0]
                lowest = min(lowest, place[1])
        return lowest

    def _first(
        self, buffer: bytes, at: int, end: int, limit: int, work: Work
    ) -> tuple[int, int, int] | None:
        """The first match that begins at or after ``at`` and before ``limit``.

        Returns where the next one may begin, and the start and end of the datum.
        """
        while at < limit:
            spans = self.find(ANYWHERE, buffer, at - 1, end)
            first, last = spans[0]
            work.searches -= 1
            work.bytes -= (last if first >= 0 else end) - at
            if work.searches < 0 or work.bytes < 0:
                raise Problem("PC3025", _TOO_MANY)
            if not 0 <= first < limit - 1:
                return None
            if last - first > self.sure:
                spans = self.search(HERE, buffer, first, end)
                work.bytes -= last - first
            last = spans[0][1]
            if last >= 0:
                if self.grouped:
                    return first + 2, spans[1][0], spans[1][1]
                return first + 2, first + 1, last - self.tail
            at = first + 2
        return None

    def _agrees(self, datum: bytes, work: Work) -> bool:
        work.validated -= _CHECK + min(len(datum), _LONG)
        if work.validated < 0:
            raise Problem("PC3025", _TOO_MANY)
        return agrees(self.rule, self.validator, datum)

    def _score(self, buffer: bytes, start: int) -> float:
        """How sure the words before a datum make it, or nothing."""
        rule = self.rule
        if rule.context:
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
    tail = 1 if right_edge(rule) else 0
    reach = most(parsed.whole) + 2
    if not costly(parsed.whole, _EASY):
        exact = reach
    elif rule.group:
        exact = 0
    else:
        exact = 1 + sure(parsed.whole, _EASY, edged=tail > 0) + tail
    return Matcher(
        rule=rule,
        order=order,
        parsed=parsed,
        validator=validator,
        grouped=rule.group > 0,
        tail=tail,
        reach=reach,
        sure=exact,
        glued=rule.category is Category.SECRET and rule.left == "any" and _spoken(rule, parsed),
    )


def _spoken(rule: Rule, parsed: Parsed) -> bool:
    """Whether all data begin with one letter."""
    letters = bytes(firsts(parsed.whole)[0]).lower()
    return not rule.group and letters.isalpha() and len(set(letters)) == 1


def searcher(rule: Rule, parsed: Parsed) -> Search:
    """What matches exactly. Raises ValueError when the engine refuses it."""
    if rule.group:
        middle = f"{forward(parsed.before)}({forward(parsed.datum)}){forward(parsed.after)}"
    else:
        middle = f"(?:{forward(parsed.datum)})"
    return compiled(f"{left_edge(rule)}{middle}{right_edge(rule)}", capture=bool(rule.group))


def word_expression(word: str) -> str:
    """A context word in either case, where no ASCII letter or digit stands before it.

    So `cards` holds `card`, and `discard` does not.
    """
    return "[^0-9A-Za-z]" + "".join(map(_letter, word))


@cache
def _letter(letter: str) -> str:
    """A letter in either case."""
    return forward(parse(re.escape(letter), caseless=True).datum)

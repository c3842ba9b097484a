"""How much of a growing text must be held: from the earliest place where a datum may be under way.

A place is one when the text from there to its end is a prefix of something that a rule matches.
All rules' prefixes are one expression, matched from a place to the end: in prose it fails within
a word, and the next place is tried. Places are the bytes that a datum can begin with, where the
byte before allows it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from portcullis.inspection.engines import WHOLE, Search, compiled
from portcullis.inspection.matcher import Matcher, left_edge
from portcullis.inspection.rules import Beside
from portcullis.inspection.syntax import Cat, Edge, Node
from portcullis.inspection.writing import alphabet, firsts, loosely, prefixes

_BEGIN = itemgetter(0)
_UTF8 = 4
_SPACE = ord(" ")
_FAN = 8
_CROWD = 16
_FAR = 256
"""Beyond these, more is held than must be: looking closely would cost too much."""
_EXACT = 64
_ROUGH = 4
"""How far an automaton counts: the first decides what is held, the second whether to look."""
_HEAD = 4
"""So many first bytes say of most places that nothing begins there."""
_MOST_HEADS = 1 << 14
_BEHIND: dict[Beside, bytes] = {
    "word": b"(?<![0-9A-Za-z_])",
    "digit": b"(?<![0-9])",
    "any": b"",
}
_GLUED = b"(?:(?<![0-9A-Za-z_])|(?=[\\x00-\\xff]{2}))"
"""Within a word, only from its second byte on."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a match may begin, of what bytes and of how many it is, whether it may be under way."""

    starts: re.Pattern[bytes]
    alphabet: bytes
    viable: Search
    reach: int
    heads: dict[bytes, bool] = field(default_factory=dict)
    """Whether a match can begin with these bytes, the one before it first: words repeat."""

    def learn(self, head: bytes) -> None:
        """Remember whether a match can begin so. What follows cannot make it one."""
        if head not in self.heads:
            if len(self.heads) >= _MOST_HEADS:
                self.heads.clear()
            self.heads[head] = self.viable(WHOLE, head, 0, len(head))[0][0] >= 0


class _Watch:
    """The places of one stream at which a match may be under way (bytes of the whole text).

    One that is not any more never is again, so that each is given up once, whatever the stream.
    """

    __slots__ = ("_known", "_live", "_places")

    def __init__(self, places: _Places) -> None:
        self._places = places
        self._known = 0
        self._live: deque[int] = deque()

    def first(self, buffer: bytes, offset: int, begin: int) -> int:
        """The first of them from ``begin`` on, in the buffer; its length when there is none."""
        size, places, live = len(buffer), self._places, self._live
        begin = max(begin, size - places.reach)
        begin = max(begin - 1, len(buffer.rstrip(places.alphabet)))  # one letter may have gone
        known = live[-1] - offset if live else -1
        heads = places.heads
        for found in places.starts.finditer(buffer, max(begin, self._known - 1 - offset)):
            place = found.start()
            if place > known and heads.get(buffer[place - 1 : place + _HEAD]) is not False:
                live.append(place + offset)
        self._known = offset + size
        while live:
            place = live[0] - offset
            if place >= begin and self._viable(buffer, place):
                return place
            live.popleft()
        return size

    def crowded(self) -> bool:
        """Whether there are too many to look at each."""
        return len(self._live) > _CROWD

    def all(self, buffer: bytes, offset: int) -> list[int]:
        """All of them, after ``first``, which has left the first one at the head."""
        first, *others = self._live
        found = [first, *(one for one in others if self._viable(buffer, one - offset))]
        self._live = deque(found)
        return [place - offset for place in found]

    def _viable(self, buffer: bytes, place: int) -> bool:
        viable = self._places.viable
        if viable(WHOLE, buffer, place - 1, len(buffer))[0][0] >= 0:
            return True
        head = buffer[place - 1 : place + _HEAD]
        if len(head) > _HEAD:
            self._places.learn(head)
        return False


class _Datum(NamedTuple):
    """Where a datum may begin, and of which rule if that is sure."""

    begin: int
    rule: _Grouped | None = None


@dataclass(frozen=True, slots=True)
class _Grouped:
    """A rule whose datum is only a part of what it matches."""

    begun: Search
    before: Search
    rest: Search

    def datum(self, buffer: bytes, place: int) -> _Datum:
        """The earliest begin of a datum of a match that is under way from ``place``.

        Where much stands before the end, that is taken to be the match's own begin.
        """
        size = len(buffer)
        if self.begun(WHOLE, buffer, place - 1, size)[0][0] < 0:
            return _Datum(size)
        if size - place > _FAR:
            return _Datum(place)
        for begin in range(place, size):
            ended = self.before(WHOLE, buffer, place - 1, begin)[0][0] >= 0
            if ended and self.rest(WHOLE, buffer, begin, size)[0][0] >= 0:
                return _Datum(begin, self)
        return _Datum(size)


class _Any:
    """Some of those rules, asked together before they are asked apart (compiled when they are)."""

    __slots__ = ("_begun", "_matchers", "_parts")

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self._begun = compiled("|".join(_begun(one, _ROUGH) for one in matchers))
        self._matchers = matchers
        self._parts: list[_Any | _Grouped] = []

    def datum(self, buffer: bytes, place: int) -> _Datum:
        """The earliest begin of a datum of any of them; the buffer's length when there is none."""
        if self._begun(WHOLE, buffer, place - 1, len(buffer))[0][0] < 0:
            return _Datum(len(buffer))
        if not self._parts:
            step = -(-len(self._matchers) // _FAN)
            self._parts = [
                _Any(self._matchers[at : at + step]) if step > 1 else _grouped(self._matchers[at])
                for at in range(0, len(self._matchers), step)
            ]
        return min((part.datum(buffer, place) for part in self._parts), key=_BEGIN)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stream of some rules needs. Sizes are bytes, but ``within`` counts characters."""

    plain: tuple[_Places, ...]
    grouped: tuple[_Places, ...]
    begun: _Any | None
    within: int

    def watch(self) -> Watches:
        """What one stream needs to remember."""
        return Watches(self)

    def behind(self, *, plain: bool) -> int:
        """The bytes of settled text that decisions look back at."""
        return self.within * (1 if plain else _UTF8) + 2


class Watches:
    """How much of one stream must be held."""

    __slots__ = ("_grouped", "_known", "_plain", "_plan")

    def __init__(self, plan: Plan) -> None:
        self._known = _Datum(0)
        """In bytes of the whole text."""
        self._plan = plan
        self._plain = tuple(map(_Watch, plan.plain))
        self._grouped = tuple(map(_Watch, plan.grouped))

    def held(self, buffer: bytes, offset: int, cut: int, opened: int) -> tuple[int, int]:
        """From where a datum may be under way, and from where a match of a rule with a group.

        Both are places in the buffer, which begins ``offset`` bytes into the text, and its length
        when nothing is. ``cut`` and ``opened`` are what they were when the text was shorter.
        """
        size = opening = begin = len(buffer)
        for watch in self._plain:
            begin = min(begin, watch.first(buffer, offset, cut))
        places: set[int] = set()
        crowded = False
        for watch in self._grouped:
            first = watch.first(buffer, offset, opened)
            opening = min(opening, first)
            if watch.crowded():
                crowded, begin = True, min(begin, first)
            elif first < size:
                places.update(watch.all(buffer, offset))
        if begin > cut:
            begin = min(begin, self._datum(buffer, offset, places))
        if crowded:
            self._known = _Datum(0)
        return max(begin, cut), opening

    def _datum(self, buffer: bytes, offset: int, places: Collection[int]) -> int:
        """The earliest begin of a datum of any match that is under way from these places.

        Whatever comes, none begins before it, so that it stays while its rule's goes on.
        """
        size, (begin, rule) = len(buffer), self._known
        on = begin - offset
        if rule and on >= 0 and rule.rest(WHOLE, buffer, on, size)[0][0] >= 0:
            return on
        self._known = _Datum(0)
        begun = self._plan.begun
        if begun is None or not places:
            return size
        begin, rule = min((begun.datum(buffer, place) for place in places), key=_BEGIN)
        self._known = _Datum(begin + offset, rule)
        return begin


def planned(matchers: Sequence[Matcher]) -> Plan:
    """Compile what a stream of these rules needs."""
    plain = [one for one in matchers if not one.grouped]
    grouped = [one for one in matchers if one.grouped]
    return Plan(
        plain=_split(plain, _EXACT),
        grouped=_split(grouped, _ROUGH),
        begun=_Any(grouped) if grouped else None,
        within=max((one.rule.within for one in matchers if one.rule.context), default=0),
    )


def _grouped(one: Matcher) -> _Grouped:
    return _Grouped(
        begun=compiled(_begun(one, _EXACT)),
        before=compiled(f"{left_edge(one.rule)}{loosely(one.parsed.before)}"),
        rest=compiled(_rest(one, _EXACT)),
    )


def _split(matchers: Sequence[Matcher], counted: int) -> tuple[_Places, ...]:
    """The rules that match over a space apart: the others end with every word of prose."""
    spaced = [one for one in matchers if _SPACE in alphabet(one.parsed.whole)]
    dense = [one for one in matchers if one not in spaced]
    return tuple(_places(part, counted) for part in (spaced, dense) if part)


def _places(matchers: Sequence[Matcher], counted: int) -> _Places:
    starting: dict[bytes, frozenset[int]] = {}
    for one in matchers:
        found, _ = firsts(one.parsed.whole)
        where = _GLUED if one.glued else _BEHIND[one.rule.left]
        starting[where] = starting.get(where, frozenset()) | found
    starts = b"|".join(
        where + b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(found)) + b"]"
        for where, found in starting.items()
    )
    held = frozenset().union(*(alphabet(one.parsed.whole) for one in matchers))
    texts = [f"{left_edge(one.rule)}{_awaited(one, one.parsed.whole, counted)}" for one in matchers]
    return _Places(
        starts=re.compile(starts),
        alphabet=bytes(sorted(held)),
        viable=compiled("|".join(texts)),
        reach=max(one.reach for one in matchers),
    )


def _begun(one: Matcher, counted: int) -> str:
    before = loosely(one.parsed.before, counted)
    return f"{left_edge(one.rule)}{before}{_rest(one, counted)}"


def _rest(one: Matcher, counted: int) -> str:
    return _awaited(one, Cat((one.parsed.datum, one.parsed.after)), counted)


def _awaited(one: Matcher, node: Node, counted: int) -> str:
    """All prefixes of what matches; a whole one counts while the byte after it is to be seen."""
    ending = (Edge(inner=False),) if one.tail else ()
    return prefixes(Cat((node, *ending)), counted) or ""

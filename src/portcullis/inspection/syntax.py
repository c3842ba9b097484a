"""A rule's pattern as a tree: parsed once, checked for bounds, written out for the engines.

Patterns are RE2's syntax without anchors, every repeat bounded. ``parse`` reads one into nodes
over code points; `portcullis.inspection.writing` turns nodes into byte-level expressions. Raises
ValueError with the reason when a pattern cannot be used.
"""

from __future__ import annotations

import importlib
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

_sre: Final[Any] = importlib.import_module("re._parser")
_names: Final[Any] = importlib.import_module("re._constants")

LAST: Final = 0x10FFFF
MAX_BYTES: Final = 8192
"""No match is longer, in bytes of UTF-8."""

Ranges: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Char:
    """One code point out of sorted, disjoint ranges (both ends included)."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Cat:
    """The parts, one after the other; no parts match the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """One of the options, the first preferred."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Rep:
    """``body`` from ``least`` to ``most`` times; ``lazy`` prefers fewer."""

    body: Node
    least: int
    most: int
    lazy: bool


@dataclass(frozen=True, slots=True)
class Edge:
    r"""``\b``, or with ``inner`` ``\B``: of ASCII word characters."""

    inner: bool


Node: TypeAlias = Char | Cat | Alt | Rep | Edge


@dataclass(frozen=True, slots=True)
class Parsed:
    """What must stand before the datum, the datum, and what must follow it."""

    before: Node
    datum: Node
    after: Node

    @property
    def whole(self) -> Node:
        """All of it, in order."""
        return Cat((self.before, self.datum, self.after))


_WORD: Final = ((48, 57), (65, 90), (95, 95), (97, 122))
_CATEGORIES: Final = {
    "CATEGORY_DIGIT": ((48, 57),),
    "CATEGORY_SPACE": ((9, 10), (12, 13), (32, 32)),
    "CATEGORY_WORD": _WORD,
}
_EMPTY: Final = Cat(())


@lru_cache(maxsize=4096)  # a rule is read when its pack is checked, and when it is compiled
def parse(pattern: str, *, group: int = 0, caseless: bool = False) -> Parsed:
    r"""Read a pattern; ``group`` is the number of the group that is the datum, 0 for all.

    ``\d``, ``\s``, ``\w`` and ``\b`` are ASCII's, as in RE2. Caseless means the simple case
    pairs of Unicode.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            tree = _sre.parse(pattern)
        except (re.error, OverflowError, RecursionError, Warning) as error:
            raise ValueError(f"not a pattern: {error}") from None
    if tree.state.flags & (re.MULTILINE | re.VERBOSE | re.LOCALE | re.ASCII):
        raise ValueError("of inline flags only i and s have a meaning")
    reader = _Reader(group)
    flags = tree.state.flags
    nodes = [
        reader.item(
            op, value, bool(flags & re.IGNORECASE) or caseless, bool(flags & re.DOTALL), top=True
        )
        for op, value in tree
    ]
    place = reader.place(nodes)
    parts = tuple(nodes)
    parsed = (
        Parsed(_EMPTY, Cat(parts), _EMPTY)
        if place is None
        else Parsed(Cat(parts[:place]), parts[place], Cat(parts[place + 1 :]))
    )
    if least(parsed.datum) == 0:
        raise ValueError("the datum may be empty")
    if most(parsed.whole) > MAX_BYTES:
        raise ValueError(f"a match may be longer than {MAX_BYTES} bytes")
    return parsed


class _Reader:
    """Turns the standard library's parse tree into nodes."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._datum: Node | None = None

    def place(self, nodes: list[Node]) -> int | None:
        """The index of the datum among the nodes of the top level; None when it is everything."""
        if not self._group:
            return None
        for index, node in enumerate(nodes):
            if node is self._datum:
                return index
        raise ValueError(f"group {self._group} must stand at the pattern's top level")

    def item(self, op: Any, value: Any, fold: bool, dots: bool, *, top: bool = False) -> Node:  # noqa: FBT001 - flags of the pattern
        name = str(op)
        if name in {"LITERAL", "NOT_LITERAL", "IN", "ANY"}:
            return Char(_ranges(name, value, fold, dots))
        if name == "BRANCH":
            return Alt(tuple(self._items(option, fold, dots) for option in value[1]))
        if name in {"MAX_REPEAT", "MIN_REPEAT"}:
            low, high, body = value
            if high is _names.MAXREPEAT:
                raise ValueError("unbounded: give every *, + and {n,} an upper bound")
            return Rep(self._items(body, fold, dots), low, high, name == "MIN_REPEAT")
        if name == "SUBPATTERN":
            number, add, remove, body = value
            fold = bool(add & re.IGNORECASE) or (fold and not remove & re.IGNORECASE)
            dots = bool(add & re.DOTALL) or (dots and not remove & re.DOTALL)
            node = self._items(body, fold, dots)
            if top and self._group and number == self._group:
                self._datum = node
            return node
        if name == "AT" and str(value) in {"AT_BOUNDARY", "AT_NON_BOUNDARY"}:
            return Edge(str(value) == "AT_NON_BOUNDARY")
        raise ValueError(_REFUSED.get(name, f"{name.lower()} is not in RE2's syntax"))

    def _items(self, items: Any, fold: bool, dots: bool) -> Node:  # noqa: FBT001 - flags of the pattern
        nodes: list[Node] = []
        for op, value in items:
            node = self.item(op, value, fold, dots)
            both = _joined(nodes[-1], node) if nodes else None
            nodes[-1:] = [both] if both else [*nodes[-1:], node]
        return Cat(tuple(nodes))


def _joined(first: Node, second: Node) -> Rep | None:
    """Two repeats of the same characters as one: counted apart, they are dear to tell apart."""
    match first, second:
        case Rep(Cat((Char(),)) as body, low, high, False), Rep(other, more, rest, False):
            return Rep(body, low + more, high + rest, lazy=False) if body == other else None
        case _:
            return None


_REFUSED: Final = {
    "AT": "an anchor: say `left` and `right` instead",
    "ASSERT": "look-around: say `left` and `right` instead",
    "ASSERT_NOT": "look-around: say `left` and `right` instead",
    "GROUPREF": "a back reference",
}


def _ranges(name: str, value: Any, fold: bool, dots: bool) -> Ranges:  # noqa: FBT001 - flags of the pattern
    if name == "ANY":
        return ((0, LAST),) if dots else ((0, 9), (11, LAST))
    if name != "IN":
        found = merged([(value, value)], fold=fold)
        return found if name == "LITERAL" else inverted(found)
    ranges: list[tuple[int, int]] = []
    negated = False
    for op, inner in value:
        kind = str(op)
        if kind == "NEGATE":
            negated = True
        elif kind == "LITERAL":
            ranges.append((inner, inner))
        elif kind == "RANGE":
            ranges.append((inner[0], inner[1]))
        else:
            category = str(inner).replace("_NOT_", "_")
            known = _CATEGORIES[category]
            ranges += known if category == str(inner) else inverted(known)
    found = merged(ranges, fold=fold)
    return inverted(found) if negated else found


def merged(ranges: list[tuple[int, int]], *, fold: bool = False) -> Ranges:
    """The same code points in sorted, disjoint ranges; with ``fold`` in either case."""
    if fold:
        ranges = ranges + [
            (ord(other), ord(other))
            for low, high in ranges
            if high - low < 1024  # noqa: PLR2004 - longer ranges are complements: both cases are in
            for point in range(low, high + 1)
            for other in (chr(point).lower(), chr(point).upper())
            if len(other) == 1
        ]
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def inverted(ranges: Ranges) -> Ranges:
    """Every other code point."""
    found: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges:
        if start < low:
            found.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        found.append((start, LAST))
    return tuple(found)


def width(point: int) -> int:
    """How many bytes of UTF-8 a code point takes."""
    return 1 + (point > 0x7F) + (point > 0x7FF) + (point > 0xFFFF)  # noqa: PLR2004 - RFC 3629


def least(node: Node) -> int:
    """The bytes of the shortest text that matches."""
    match node:
        case Char(ranges):
            return width(ranges[0][0]) if ranges else 1
        case Cat(parts):
            return sum(map(least, parts))
        case Alt(options):
            return min(map(least, options))
        case Rep(body, low, _, _):
            return low * least(body)
        case Edge():
            return 0


def most(node: Node) -> int:
    """The bytes of the longest text that matches."""
    match node:
        case Char(ranges):
            return width(ranges[-1][1]) if ranges else 1
        case Cat(parts):
            return sum(map(most, parts))
        case Alt(options):
            return max(map(most, options))
        case Rep(body, _, high, _):
            return high * most(body)
        case Edge():
            return 0

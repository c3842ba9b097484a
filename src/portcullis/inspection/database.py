"""Which rules may match, and about where: hyperscan where the machine has it, literals elsewhere.

A prefilter never misses a match and may well name a place where there is none, so that which one
is used changes the time and never the outcome.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from portcullis.core.errors import Problem
from portcullis.inspection.compiled import keep, kept, place
from portcullis.inspection.matcher import Matcher, left_edge, right_edge, word_expression
from portcullis.inspection.narrowing import needles, numeric, prefilter, told_apart
from portcullis.inspection.syntax import most
from portcullis.inspection.writing import alphabet, forward

_MAX_HITS: Final = 24576
_UTF8: Final = 4

Hits: TypeAlias = Mapping[int, Sequence[tuple[int, int]]]
"""A rule's order -> the ranges of bytes in which a match of it may begin, in order."""


class Prefilter(Protocol):
    """Says which rules may match where. Raises Problem PC3025 when there is too much to look at."""

    @property
    def exact(self) -> frozenset[int]:
        """The orders of rules whose ranges are matches themselves; see `Matcher.sweep`."""
        ...

    def hits(self, buffer: bytes, *, plain: bool) -> Hits:
        """The rules that may match in the buffer; ``plain`` when all of its text is ASCII."""
        ...


class Literals:
    """Without hyperscan: a rule may match anywhere as soon as one of its literals is seen."""

    exact: frozenset[int] = frozenset()

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self._needles = [(one.order, tuple(needles(one.parsed.whole))) for one in matchers]

    def hits(self, buffer: bytes, *, plain: bool) -> Hits:  # noqa: ARG002 - the port's
        """No places: the whole buffer is one."""
        lowered = buffer.lower()
        everywhere = ((1, len(buffer)),)
        return {
            order: everywhere
            for order, literals in self._needles
            if not literals or any(literal in lowered for literal in literals)
        }


class _Near(NamedTuple):
    """A rule that needs the context word that was seen."""

    order: int
    back: int
    within: int
    digits: int
    """How far behind where it may begin a digit of it stands; 0 when it may have none."""


class _Own(NamedTuple):
    """What a hit of a rule's own expression tells: where a match of the rule may begin."""

    back: int
    """At most so many bytes before the hit's end; 0 where the hit is the match, with its edges."""
    least: int
    """At least so many."""
    held: bytes
    """Between the two are only these bytes; empty where they may be any."""


class _Source(NamedTuple):
    """What the database is made of: expressions, and what their numbers mean.

    A number in ``own`` is the order of a rule whose own expression it is, one in ``near`` is a
    context word. A rule that needs context has no expression of its own: it is looked for behind
    its words, which are rare and which hyperscan finds at no cost.
    """

    expressions: tuple[str, ...]
    numbers: tuple[int, ...]
    exact: frozenset[int]
    own: Mapping[int, _Own]
    near: Mapping[int, Sequence[_Near]]


class Hyperscan:
    """A compiled multi-pattern database, kept in ``folder`` when one is given.

    A file there is named by what it was made of (the expressions, hyperscan's version, the
    processor) and begins with the SHA-256 of the rest; one that does not fit is made again. The
    folder belongs to the gate alone: who can write there can switch rules off.
    """

    def __init__(
        self, library: ModuleType, matchers: Sequence[Matcher], folder: Path | None
    ) -> None:
        self._library: Any = library
        self._local = threading.local()
        self._source = _source(matchers)
        self._furthest = {
            number: max(one.within * _UTF8 + one.digits + 1 for one in rules)
            for number, rules in self._source.near.items()
        }
        self._database, self._always = _database(self._library, self._source, folder)
        self.exact = self._source.exact.difference(self._always)

    def hits(self, buffer: bytes, *, plain: bool) -> Hits:
        """One scan. Each thread has its scratch, and keeps the callback: the library does not."""
        local = self._local
        if not hasattr(local, "scratch"):
            local.scratch = self._library.Scratch(self._database)
            local.seen = _Seen()
            local.callback = local.seen.callback
        seen: _Seen = local.seen
        try:
            self._database.scan(buffer, match_event_handler=local.callback, scratch=local.scratch)
            return self._windows(seen.places, buffer, plain=plain)
        except self._library.ScanTerminated:
            raise Problem(
                "PC3025", "too many places of the text look like data to protect"
            ) from None
        finally:
            seen.clear()

    def _windows(
        self, seen: Mapping[int, list[tuple[int, int]]], buffer: bytes, *, plain: bool
    ) -> Hits:
        found: dict[int, list[tuple[int, int]]] = {
            order: [(1, len(buffer))] for order in self._always
        }
        own, words = self._source.own, []
        for number, places in seen.items():
            about = own.get(number)
            if about is None:
                words += [(end, number) for _, end in places]
            elif about.back:
                found[number] = _ranges(places, about, buffer)
            else:
                found[number] = sorted(places)
        for end, number in sorted(words):
            digit = _DIGIT.search(buffer, end, end + self._furthest[number])
            first = digit.start() if digit else len(buffer)
            for order, back, within, digits in self._source.near[number]:
                reached = end + within * (1 if plain else _UTF8) + 1
                if not digits or first < reached + digits:
                    _add(found, order, end - back, reached)
        return found


_FEW: Final = 512
_SPACES: Final = frozenset(b" \n")
_DIGIT: Final = re.compile(rb"[0-9]")


def _ranges(places: list[tuple[int, int]], about: _Own, buffer: bytes) -> list[tuple[int, int]]:
    """Where matches may begin that these hits, in order of their ends, are about.

    Of few hits closely; many are cheaper to look at together.
    """
    back, least, held = about
    if len(places) > _FEW:
        held = b""
    found: list[tuple[int, int]] = []
    known = 1
    for _, end in places:
        low, high = max(end - back, known), end - least + 1
        if held:
            low += len(buffer[low : end - 2].rstrip(held))
        if low < high:
            if found and low == known:
                found[-1] = (found[-1][0], high)
            else:
                found.append((low, high))
            known = high
    return found


def _add(found: dict[int, list[tuple[int, int]]], order: int, low: int, high: int) -> None:
    low = max(low, 1)
    windows = found.get(order)
    if windows is None:
        found[order] = [(low, high)]
    elif low <= windows[-1][1]:
        windows[-1] = (windows[-1][0], max(high, windows[-1][1]))
    else:
        windows.append((low, high))


class _Seen:
    """What a scan saw: for each number, where it begins (if that is asked for) and ends."""

    def __init__(self) -> None:
        self.places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self._left = _MAX_HITS

    def callback(self, number: int, start: int, end: int, _flags: int, _context: object) -> bool:
        """Take a hit; true when there were too many."""
        self.places[number].append((start, end))
        self._left -= 1
        return self._left < 0

    def clear(self) -> None:
        """Forget all."""
        self.places.clear()
        self._left = _MAX_HITS


def _source(matchers: Sequence[Matcher]) -> _Source:
    texts: dict[int, str] = {}
    own: dict[int, _Own] = {}
    near: dict[str, list[_Near]] = {}
    for one in matchers:
        if not one.rule.needs_context:
            texts[one.order], own[one.order] = _owned(one)
            continue
        about = _Near(
            one.order,
            most(one.parsed.before),
            one.rule.within,
            one.reach if numeric(one.parsed.whole) else 0,
        )
        for word in one.rule.context:
            near.setdefault(word_expression(word), []).append(about)
    numbered = dict(enumerate(near, max((one.order for one in matchers), default=0) + 1))
    texts |= numbered
    return _Source(
        tuple(texts.values()),
        tuple(texts),
        frozenset(order for order, about in own.items() if not about.back),
        own,
        {number: tuple(near[text]) for number, text in numbered.items()},
    )


def _owned(one: Matcher) -> tuple[str, _Own]:
    """The expression of a rule, and what its hits tell."""
    node, before, after = one.parsed.whole, left_edge(one.rule), right_edge(one.rule)
    if not one.grouped and told_apart(node, _allowed(after)):
        return f"{before}(?:{forward(node)}){after}", _Own(0, 0, b"")
    text, least = prefilter(node, _allowed(before), _allowed(after))
    held = alphabet(node)
    return text, _Own(one.reach, least, b"" if held & _SPACES else bytes(sorted(held)))


@cache
def _allowed(edge: str) -> frozenset[int]:
    """The bytes that an edge matches; all where there is none."""
    return frozenset(byte for byte in range(256) if re.match(edge.encode(), bytes([byte])))


def _database(library: Any, source: _Source, folder: Path | None) -> tuple[Any, tuple[int, ...]]:
    """The database, and the orders of the rules that hyperscan refuses (too large for it)."""
    file = None if folder is None else place(library, folder, "patterns", source[:3])
    found = None if file is None else kept(library, file)
    if found is not None:
        return found, ()
    whole = dict(zip(source.numbers, source.expressions, strict=True))
    try:
        database = _compiled(library, whole, source.exact)
    except library.error:
        refused = {order for order in source.own if not _compiles(library, order, source)}
        rest = {number: text for number, text in whole.items() if number not in refused}
        return _compiled(library, rest, source.exact), tuple(refused)
    if file is not None:
        keep(library, file, database)
    return database, ()


def _compiled(library: Any, expressions: Mapping[int, str], exact: Collection[int]) -> Any:
    """Of the rules that are ``exact`` the beginnings of matches are told, too."""
    database = library.Database(mode=library.HS_MODE_BLOCK)
    database.compile(
        expressions=[text.encode("ascii") for text in expressions.values()],
        ids=list(expressions),
        flags=[library.HS_FLAG_SOM_LEFTMOST if one in exact else 0 for one in expressions],
    )
    return database


def _compiles(library: Any, order: int, source: _Source) -> bool:
    text = source.expressions[source.numbers.index(order)]
    try:
        _compiled(library, {order: text}, source.exact)
    except library.error:
        return False
    return True


@cache
def library() -> ModuleType | None:
    """Hyperscan, or None where it is missing or would not run: old processors crash on import."""
    try:
        subprocess.run(
            [sys.executable, "-P", "-c", "import hyperscan"],
            check=True,
            capture_output=True,
            timeout=20,
        )
        import hyperscan  # noqa: PLC0415 - not before it is known to be safe
    except (OSError, subprocess.SubprocessError, ImportError):
        return None
    found: ModuleType = hyperscan
    return found


def chosen(
    matchers: Sequence[Matcher], folder: Path | None, *, accelerated: bool | None
) -> Prefilter:
    """The best prefilter of this machine, or the one that is asked for.

    Raises Problem PC7014 when hyperscan is asked for and cannot be used.
    """
    found = None if accelerated is False else library()
    if found is not None and matchers:
        return Hyperscan(found, matchers, folder)
    if accelerated and matchers:
        raise Problem("PC7014", "hyperscan cannot be used on this machine")
    return Literals(matchers)

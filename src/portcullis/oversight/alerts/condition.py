"""Conditions over selections: ``refused and not (waiting or 1 of known*)``.

``and`` binds closer than ``or``, ``not`` closest. ``1 of PATTERN`` is any, ``all of PATTERN`` all
of the selections whose names fit; ``them`` stands for every one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple, NoReturn

from portcullis.core.event import Event, EventType
from portcullis.oversight.alerts.rule import Test

_TOKEN: Final = re.compile(r"\s*(\(|\)|[A-Za-z0-9_*-]+)")
_DEEPEST: Final = 20
_WORDS: Final = frozenset({"and", "or", "not", "of", "(", ")"})
EVERY: Final = frozenset(EventType)


class Part(NamedTuple):
    """A test, and what can pass it: these types of events, with one of these marks if any.

    The marks are those of ``fields.marks``.
    """

    test: Test
    types: frozenset[str] = EVERY
    marks: frozenset[str] | None = None


class Unclear(Exception):  # noqa: N818 - says what it is; the loader makes a fault of it
    """Why a condition cannot be read."""


def condition(text: str, selections: Mapping[str, Part]) -> Part:
    """The part that a condition stands for. Raises Unclear."""
    words, at = [], 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            _refuse(f"unexpected {text[at : at + 10].strip()!r}")
        words.append(found[1])
        at = found.end()
    parser = _Parser(words, selections)
    part = parser.either(0)
    if parser.next:
        _refuse(f"unexpected {parser.next!r}")
    return part


class _Parser:
    def __init__(self, words: Sequence[str], selections: Mapping[str, Part]) -> None:
        self._words = words
        self._at = 0
        self._selections = selections

    @property
    def next(self) -> str:
        """The word that comes, empty at the end."""
        return self._words[self._at] if self._at < len(self._words) else ""

    def either(self, depth: int) -> Part:
        """One or several, joined by ``or``."""
        parts = [self._both(depth)]
        while self._take("or"):
            parts.append(self._both(depth))
        return some(parts)

    def _both(self, depth: int) -> Part:
        parts = [self._one(depth)]
        while self._take("and"):
            parts.append(self._one(depth))
        return every(parts)

    def _one(self, depth: int) -> Part:
        if depth > _DEEPEST:
            _refuse("nested too deeply")
        if self._take("not"):
            test = self._one(depth + 1).test
            return Part(lambda event: not test(event))
        if self._take("("):
            part = self.either(depth + 1)
            if not self._take(")"):
                _refuse("a ) is missing")
            return part
        word = self.next
        if not word or word in _WORDS:
            _refuse(f"expected a selection, not {word or 'the end'!r}")
        self._at += 1
        if word in {"1", "all", "any"} and self._take("of"):
            return self._of(word)
        if word not in self._selections:
            _refuse(f"there is no selection {word}")
        return self._selections[word]

    def _of(self, word: str) -> Part:
        pattern = self.next
        self._at += 1
        parts = [
            part
            for name, part in self._selections.items()
            if pattern == "them" or fnmatchcase(name, pattern)
        ]
        if not parts:
            _refuse(f"no selection is called {pattern or 'so'}")
        return every(parts) if word == "all" else some(parts)

    def _take(self, word: str) -> bool:
        if self.next != word:
            return False
        self._at += 1
        return True


def every(parts: Sequence[Part]) -> Part:
    """All of them have to hold."""
    if len(parts) == 1:
        return parts[0]
    tests = [part.test for part in parts]
    types = EVERY.intersection(*(part.types for part in parts))
    marks = min((part.marks for part in parts if part.marks is not None), key=_rare, default=None)
    return Part(_all(tests), types, marks)


def some(parts: Sequence[Part]) -> Part:
    """One of them has to hold."""
    if len(parts) == 1:
        return parts[0]
    tests = [part.test for part in parts]
    types = frozenset[str]().union(*(part.types for part in parts))
    known = [part.marks for part in parts if part.marks is not None]
    marks = frozenset[str]().union(*known) if len(known) == len(parts) else None
    return Part(_any(tests), types, marks)


def _all(tests: Sequence[Test]) -> Test:
    def test(event: Event) -> bool:
        for one in tests:  # noqa: SIM110 - a generator costs as much as what it asks
            if not one(event):
                return False
        return True

    return test


def _any(tests: Sequence[Test]) -> Test:
    def test(event: Event) -> bool:
        for one in tests:  # noqa: SIM110 - the same
            if one(event):
                return True
        return False

    return test


_COMMON: Final = {"verdict:allow": 4, "method:": 3, "verdict:deny": 2, "code:": 2, "finding:": 1}


def _rare(marks: frozenset[str]) -> int:
    """The lower, the fewer events have one of them."""
    return max((_COMMON.get(mark, 0) for mark in marks), default=0)


def _refuse(reason: str) -> NoReturn:
    raise Unclear(reason)

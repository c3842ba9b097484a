"""Which rules are in a slice of folded text, by their numbers.

Both engines promise the same answer; Hyperscan takes microseconds, the one without it takes
milliseconds for a kilobyte.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import re2

from portcullis.core.errors import Problem
from portcullis.inspection.compiled import keep, kept, place
from portcullis.inspection.database import library
from portcullis.inspection.injection.intents import Rule


class Matcher(Protocol):
    """Finds rules: each number once, in no order."""

    def find(self, data: bytes) -> Collection[int]:
        """What is in the data."""
        ...


def matcher(
    rules: Sequence[Rule],
    gate: bytes,
    *,
    folder: Path | None = None,
    accelerated: bool | None = None,
) -> Matcher:
    """The quick engine where this machine has it, else the plain one.

    ``folder`` keeps compiled databases; ``accelerated`` forces one of the two
    (Problem PC7014 when Hyperscan is asked for and cannot be used).
    """
    found = None if accelerated is False else library()
    if found is not None:
        return Fast(found, rules, gate, folder)
    if accelerated:
        raise Problem("PC7014", "hyperscan cannot be used on this machine")
    return Plain(rules, gate)


class Plain:
    """Without Hyperscan."""

    def __init__(self, rules: Sequence[Rule], gate: bytes) -> None:
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.dot_nl = True
        numbered = list(enumerate(rules))
        self._gate = re2.compile(gate, options) if gate else None
        self._always = [(n, re2.compile(r.pattern, options)) for n, r in numbered if not r.gated]
        self._gated = [(n, re2.compile(r.pattern, options)) for n, r in numbered if r.gated]

    def find(self, data: bytes) -> Collection[int]:
        """What is in the data."""
        found = {number for number, rule in self._always if rule.search(data)}
        if self._gate is not None and self._gate.search(data):
            found |= {number for number, rule in self._gated if rule.search(data)}
        return found


class Fast:
    """With Hyperscan: one database for everything but the gated rules, which have their own."""

    def __init__(
        self,
        hyperscan: ModuleType,
        rules: Sequence[Rule],
        gate: bytes,
        folder: Path | None,
    ) -> None:
        numbered = list(enumerate(rules))
        always = [(n, rule.pattern) for n, rule in numbered if not rule.gated]
        gated = [(n, rule.pattern) for n, rule in numbered if rule.gated]
        self._gate = len(rules)
        always += [(self._gate, gate)] if gated else []
        self._always = _Database(hyperscan, always, folder)
        self._gated = _Database(hyperscan, gated, folder) if gated else None

    def find(self, data: bytes) -> Collection[int]:
        """What is in the data."""
        found = self._always.scan(data)
        if self._gated is not None and self._gate in found:
            found.remove(self._gate)
            found += self._gated.scan(data)
        return found


def _seen(number: int, _start: int, _end: int, _flags: int, found: list[int]) -> None:
    found.append(number)


class _Database:
    """A compiled database, kept in a folder, and a scratch space for each thread."""

    def __init__(
        self, hyperscan: Any, patterns: Sequence[tuple[int, bytes]], folder: Path | None
    ) -> None:
        self._hyperscan = hyperscan
        self._patterns = patterns
        self._database = self._kept(folder) if folder else self._compiled()
        self._scratches = threading.local()

    def scan(self, data: bytes) -> list[int]:
        """The numbers of the patterns that match, each once."""
        scratch = getattr(self._scratches, "scratch", None)
        if scratch is None:
            scratch = self._scratches.scratch = self._hyperscan.Scratch(self._database)
        found: list[int] = []  # named: the library keeps no reference of its own
        self._database.scan(data, match_event_handler=_seen, scratch=scratch, context=found)
        return found

    def _compiled(self) -> Any:
        hyperscan = self._hyperscan
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        database.compile(
            expressions=[pattern for _, pattern in self._patterns],
            ids=[number for number, _ in self._patterns],
            flags=[hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_DOTALL] * len(self._patterns),
        )
        return database

    def _kept(self, folder: Path) -> Any:
        file = place(self._hyperscan, folder, "injection", self._patterns)
        found = kept(self._hyperscan, file)
        if found is None:
            found = self._compiled()
            keep(self._hyperscan, file, found)
        return found

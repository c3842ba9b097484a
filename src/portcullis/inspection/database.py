"""Which rules may match, and about where: hyperscan where the machine has it, literals elsewhere.

A prefilter never misses a match and may well name a place where there is none, so that which one
is used changes the time and never the outcome.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from portcullis.core.errors import Problem
from portcullis.inspection.matcher import Matcher, left_edge, right_edge, word_expression
from portcullis.inspection.narrowing import needles, numeric, prefilter
from portcullis.inspection.syntax import most

_MAX_HITS: Final = 24576
_UTF8: Final = 4

Hits: TypeAlias = Mapping[int, Sequence[tuple[int, int]]]
"""A rule's order -> the ranges of bytes in which a match of it may begin, in order."""


class Prefilter(Protocol):
    """Says which rules may match where. Raises Problem PC3025 when there is too much to look at."""

    def hits(self, buffer: bytes, *, plain: bool) -> Hits:
        """The rules that may match in the buffer; ``plain`` when all of its text is ASCII."""
        ...


class Literals:
    """Without hyperscan: a rule may match anywhere as soon as one of its literals is seen."""

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


class _Source(NamedTuple):
    """What the database is made of: expressions, and what their numbers mean.

    A number in ``reach`` is the order of a rule whose own expression it is, one in ``near`` is a
    context word. A rule that needs context has no expression of its own: it is looked for behind
    its words, which are rare and which hyperscan finds at no cost.
    """

    expressions: tuple[str, ...]
    numbers: tuple[int, ...]
    reach: Mapping[int, int]
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

    def hits(self, buffer: bytes, *, plain: bool) -> Hits:
        """One scan. Each thread has its scratch, and keeps the callback: the library does not."""
        local = self._local
        if not hasattr(local, "scratch"):
            local.scratch = self._library.Scratch(self._database)
            local.seen = []
            local.callback = _collector(local.seen)
        seen: list[tuple[int, int]] = local.seen
        try:
            self._database.scan(buffer, match_event_handler=local.callback, scratch=local.scratch)
            return self._windows(seen, buffer, plain=plain)
        except self._library.ScanTerminated:
            raise Problem(
                "PC3025", "too many places of the text look like data to protect"
            ) from None
        finally:
            seen.clear()

    def _windows(self, seen: list[tuple[int, int]], buffer: bytes, *, plain: bool) -> Hits:
        reach, near = self._source.reach, self._source.near
        found: dict[int, list[tuple[int, int]]] = {
            order: [(1, len(buffer))] for order in self._always
        }
        for number, end in seen:
            back = reach.get(number)
            if back is not None:
                windows = found.get(number)
                if windows and end - back <= windows[-1][1]:
                    windows[-1] = (windows[-1][0], end)
                else:
                    _add(found, number, end - back, end)
                continue
            rules = near[number]
            digit = _DIGIT.search(buffer, end, end + self._furthest[number])
            first = digit.start() if digit else len(buffer)
            for order, back, within, digits in rules:
                reached = end + within * (1 if plain else _UTF8) + 1
                if not digits or first < reached + digits:
                    _add(found, order, end - back, reached)
        return found


_DIGIT: Final = re.compile(rb"[0-9]")


def _add(found: dict[int, list[tuple[int, int]]], order: int, low: int, high: int) -> None:
    low = max(low, 1)
    windows = found.get(order)
    if windows is None:
        found[order] = [(low, high)]
    elif low <= windows[-1][1]:
        windows[-1] = (windows[-1][0], max(high, windows[-1][1]))
    else:
        windows.append((low, high))


def _collector(seen: list[tuple[int, int]]) -> Callable[..., bool | None]:
    def callback(number: int, _start: int, end: int, _flags: int, _context: object) -> bool | None:
        seen.append((number, end))
        return len(seen) > _MAX_HITS

    return callback


def _source(matchers: Sequence[Matcher]) -> _Source:
    texts: dict[int, str] = {}
    reach: dict[int, int] = {}
    near: dict[str, list[_Near]] = {}
    for one in matchers:
        if not one.rule.needs_context:
            texts[one.order] = _narrowed(one)
            reach[one.order] = one.reach
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
        reach,
        {number: tuple(near[text]) for number, text in numbered.items()},
    )


def _narrowed(one: Matcher) -> str:
    """The rule's prefilter, with its edges where those of the prefilter are the match's."""
    middle, left, right = prefilter(one.parsed.whole)
    before = left_edge(one.rule) if left and one.rule.left != "any" else ""
    return f"{before}(?:{middle}){right_edge(one.rule) if right else ''}"


def _database(library: Any, source: _Source, folder: Path | None) -> tuple[Any, tuple[int, ...]]:
    """The database, and the orders of the rules that hyperscan refuses (too large for it)."""
    file = None if folder is None else folder / f"patterns-{_digest(library, source)}.hs"
    kept = None if file is None else _kept(library, file)
    if kept is not None:
        return kept, ()
    whole = dict(zip(source.numbers, source.expressions, strict=True))
    try:
        database = _compiled(library, whole)
    except library.error:
        refused = {order for order in source.reach if not _compiles(library, whole[order])}
        rest = {number: text for number, text in whole.items() if number not in refused}
        return _compiled(library, rest), tuple(refused)
    if file is not None:
        _keep(file, library.dumpb(database))
    return database, ()


def _compiled(library: Any, expressions: Mapping[int, str]) -> Any:
    database = library.Database(mode=library.HS_MODE_BLOCK)
    database.compile(
        expressions=[text.encode("ascii") for text in expressions.values()],
        ids=list(expressions),
        flags=[0] * len(expressions),
    )
    return database


def _compiles(library: Any, text: str) -> bool:
    try:
        _compiled(library, {0: text})
    except library.error:
        return False
    return True


def _digest(library: Any, source: _Source) -> str:
    made_of = (library.__version__, platform.machine(), _processor(), source[:2])
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]


@cache
def _processor() -> str:
    """What the processor can do, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")


def _kept(library: Any, file: Path) -> Any:
    try:
        data = file.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        return None
    try:
        return library.loadb(data[32:], library.HS_MODE_BLOCK)
    except library.error:
        return None


def _keep(file: Path, payload: bytes) -> None:
    """Write atomically, readable to the gate alone. A folder that cannot be written is no fault."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number, name = tempfile.mkstemp(dir=file.parent, prefix=".patterns-")
        with os.fdopen(number, "wb") as writer:
            writer.write(hashlib.sha256(payload).digest() + payload)
        Path(name).replace(file)
    except OSError:
        return


@cache
def library() -> ModuleType | None:
    """Hyperscan, or None where it is missing or would not run: old processors crash on import."""
    try:
        subprocess.run(
            [sys.executable, "-c", "import hyperscan"],
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

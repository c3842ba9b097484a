"""The one door to google-re2: byte-level expressions, compiled for speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import re2

Search: TypeAlias = Callable[[Any, bytes, int, int], list[tuple[int, int]]]
"""(anchor, text, from, to) -> the spans of the match and its groups; (-1, -1) for none."""

_RE2: Final[Any] = re2._re2.RE2  # noqa: SLF001 - the wrapper's generator triples a search's cost
ANYWHERE: Final[Any] = _RE2.Anchor.UNANCHORED
HERE: Final[Any] = _RE2.Anchor.ANCHOR_START
WHOLE: Final[Any] = _RE2.Anchor.ANCHOR_BOTH

_MEMORY: Final = 64 * 2**20


def compiled(expression: str, *, capture: bool = False, longest: bool = False) -> Search:
    """The search of an expression over bytes. Raises ValueError when RE2 refuses it.

    ``longest`` prefers the longest of the leftmost matches to the first in order. The memory is
    an upper bound for the automaton's cache, which is filled as it is used.
    """
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = not capture
    options.longest_match = longest
    options.log_errors = False
    options.max_mem = _MEMORY
    found = _RE2(expression.encode("ascii"), options)
    if not found.ok():
        raise ValueError(f"the engine refuses it: {found.error()}")
    search: Search = found.Match
    return search

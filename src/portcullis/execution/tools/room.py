"""How many calls of the gate's own tools run at once, and how many of them for one caller."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

from portcullis.core.errors import Problem

_SHARE: Final = 4
"""Nobody has more than one in this many, so that nobody keeps the tools from others."""


class Room:
    """``most`` calls at once, of all tools together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._share = max(1, most // _SHARE)
        self._running: Counter[str] = Counter()

    @contextlib.contextmanager
    def taken(self, whose: str) -> Iterator[None]:
        """Hold a place for ``whose`` call; Problem PC5006 or PC5025 when none is left."""
        if self._running.total() >= self._most:
            raise Problem("PC5006", "too many calls of tools are running")
        if self._running[whose] >= self._share:
            raise Problem("PC5025", "too many calls of tools are running for one caller")
        self._running[whose] += 1
        try:
            yield
        finally:
            self._running[whose] -= 1
            if not self._running[whose]:
                del self._running[whose]

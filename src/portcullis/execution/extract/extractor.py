"""The extractor: judges by content, reads apart, remembers."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from portcullis.config.inspection import Extraction
from portcullis.core.inspection_ports import Extracted
from portcullis.execution.extract.kinds import Kind, Opaque, kind_of
from portcullis.execution.extract.plain import decoded
from portcullis.execution.extract.process import NOT_STARTED, PASSING, read_apart

MAX_REMEMBERED: Final = 1024
REMEMBERED_CHARACTERS: Final = 16 * 2**20
AGAIN: Final = 600.0
"""Seconds for which a document counts as one that cannot be read within the limits."""
WAITING: Final = 16
"""How many documents may wait for each process."""
_BUSY: Final = Extracted(text=None, reason="busy with other documents")


class LimitedExtractor:
    """Implements ``core.inspection_ports.Extractor``: ``limits.processes`` documents at a time.

    Others wait as long as reading one may take, and are opaque then; so is whoever finds
    ``WAITING`` of them for each process. Plain text is read at once. Use it from one event loop.

    What could not be read within the limits is not tried again for ``AGAIN`` seconds of ``now``:
    whoever sends it once more would keep a process busy for nothing.
    """

    def __init__(self, limits: Extraction, now: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._now = now
        self._room = asyncio.Semaphore(limits.processes)
        self._waiting = 0
        self._known: OrderedDict[bytes, tuple[Extracted, float]] = OrderedDict()
        """Answers, each with the time up to which it holds."""
        self._characters = 0

    async def extract(self, data: bytes, media_type: str) -> Extracted:
        """The text of a document, or why it is opaque."""
        limits = self._limits
        if len(data) > limits.document_bytes:
            return Extracted(text=None, reason=f"more than {limits.document_bytes} bytes")
        media_type = "".join(c for c in media_type[:128] if c.isascii() and c.isprintable())
        try:
            kind = kind_of(data, media_type)
            if kind is Kind.TEXT:
                return Extracted(text=decoded(data, media_type, limits.text_bytes))
        except Opaque as opaque:
            return Extracted(text=None, reason=str(opaque))
        claim = media_type.encode() if kind is Kind.MARKUP else b""
        key = hashlib.sha256(b"\0".join((kind.value.encode(), claim, data))).digest()
        known = self._known.get(key)
        if known is not None and self._now() < known[1]:
            self._known.move_to_end(key)
            return known[0]
        found = await self._apart(data, kind, media_type)
        if found not in (_BUSY, NOT_STARTED):
            self._remember(key, found, self._now() + AGAIN if found in PASSING else math.inf)
        return found

    async def _apart(self, data: bytes, kind: Kind, media_type: str) -> Extracted:
        limits = self._limits
        if self._room.locked() and self._waiting >= WAITING * limits.processes:
            return _BUSY
        self._waiting += 1
        try:
            async with asyncio.timeout(limits.seconds):
                await self._room.acquire()
        except TimeoutError:
            return _BUSY
        finally:
            self._waiting -= 1
        try:
            return await read_apart(data, kind, media_type, limits)
        finally:
            self._room.release()

    def _remember(self, key: bytes, found: Extracted, until: float) -> None:
        before = self._known.pop(key, None)  # it is over, or was read twice at once
        if before is not None:
            self._characters -= len(before[0].text or "")
        self._known[key] = found, until
        self._characters += len(found.text or "")
        while len(self._known) > MAX_REMEMBERED or self._characters > REMEMBERED_CHARACTERS:
            _, (oldest, _) = self._known.popitem(last=False)
            self._characters -= len(oldest.text or "")

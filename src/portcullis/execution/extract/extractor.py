"""The extractor: judges by content, reads apart, remembers."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import Final

from portcullis.config.inspection import Extraction
from portcullis.core.inspection_ports import Extracted
from portcullis.execution.extract.kinds import Kind, Opaque, kind_of
from portcullis.execution.extract.plain import decoded
from portcullis.execution.extract.process import PASSING, read_apart

MAX_REMEMBERED: Final = 1024
REMEMBERED_CHARACTERS: Final = 16 * 2**20
WAITING: Final = 16
"""How many documents may wait for each process."""
_BUSY: Final = Extracted(text=None, reason="busy with other documents")


class LimitedExtractor:
    """Implements ``core.inspection_ports.Extractor``: ``limits.processes`` documents at a time.

    Others wait as long as reading one may take, and are opaque then; so is whoever finds
    ``WAITING`` of them for each process. Plain text is read at once. Use it from one event loop.
    """

    def __init__(self, limits: Extraction) -> None:
        self._limits = limits
        self._room = asyncio.Semaphore(limits.processes)
        self._waiting = 0
        self._known: OrderedDict[bytes, Extracted] = OrderedDict()
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
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
            return found
        found = await self._apart(data, kind, media_type)
        if found not in (_BUSY, *PASSING):
            self._remember(key, found)
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

    def _remember(self, key: bytes, found: Extracted) -> None:
        if key in self._known:  # the same document twice at once
            return
        self._known[key] = found
        self._characters += len(found.text or "")
        while len(self._known) > MAX_REMEMBERED or self._characters > REMEMBERED_CHARACTERS:
            _, oldest = self._known.popitem(last=False)
            self._characters -= len(oldest.text or "")

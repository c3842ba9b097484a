"""What a call carries: its texts, the text of its documents, and what cannot be read."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Sequence

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.inspection import Blob, Path, Text
from portcullis.core.inspection_ports import Extracted, Extractor

MAX_CHARACTERS = 8 * 2**20
"""Most text in one request or result."""
MAX_DOCUMENTS = 32
"""Most documents in one request or result whose text is taken out."""
MAX_SECONDS = 30.0
"""After so long, no further document of one request or result is begun with."""

_ELSEWHERE = Extracted(text=None, reason="a reference")
_NOT_BASE64 = Extracted(text=None, reason="not base64")


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """``fixed`` are the paths of texts that came out of documents: they cannot be rewritten.

    ``opaque`` is what could not be read, or not all of it: text beside pictures is in both.
    """

    texts: tuple[Text, ...]
    fixed: frozenset[Path] = frozenset()
    opaque: tuple[Blob, ...] = ()


async def read(
    texts: Sequence[Text],
    blobs: Sequence[Blob],
    extractor: Extractor,
    now: Callable[[], float] = time.monotonic,
) -> Content:
    """Take the text out of the documents. Raises Problem PC3025 for more than is inspected."""
    began = now()
    found = list(texts)
    opaque: list[Blob] = []
    if sum(1 for blob in blobs if blob.data) > MAX_DOCUMENTS:
        raise Problem("PC3025", f"more than {MAX_DOCUMENTS} documents")
    for blob in blobs:
        if blob.data and now() - began > MAX_SECONDS:
            raise Problem("PC3025", f"to read its documents takes more than {MAX_SECONDS:g} s")
        extracted = await _extracted(blob, extractor)
        if extracted.text is None or extracted.reason:
            opaque.append(blob)
        if extracted.text is not None:
            found.append(Text(path=blob.path, text=extracted.text, source=blob.source))
    if sum(len(text.text) for text in found) > MAX_CHARACTERS:
        raise Problem("PC3025", f"more than {MAX_CHARACTERS} characters of text")
    fixed = frozenset(text.path for text in found[len(texts) :])
    return Content(texts=tuple(found), fixed=fixed, opaque=tuple(opaque))


async def _extracted(blob: Blob, extractor: Extractor) -> Extracted:
    if not blob.data:
        return _ELSEWHERE
    try:
        data = base64.b64decode(blob.data, validate=True)
    except (binascii.Error, ValueError):
        return _NOT_BASE64
    return await extractor.extract(data, blob.media_type)

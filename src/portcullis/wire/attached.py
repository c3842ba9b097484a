"""Files inside of strings: a tool's arguments carry them in base64, with or without a data: URI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

import re2

_MAGIC: Final = "|".join(
    (
        *("iVBORw0KGg", "[/_]9j[/_]", "R0lGOD", "SUkqA", "TU0AK", "AAABAA", "UklGR"),  # pictures
        *("SUQz", "T2dnU", "ZkxhQw", "GkXfo", "AAAA[A-Za-z0-9+/_-][GWm2]Z0eX"),  # sound and film
        *("JVBERi0", "UEsDB", "0M8R4KGxGu", "e1xydG", "JSFQU"),  # documents
        *("H4sI", "QlpoO", "[/_]Td6WFo", "N3q8ryc", "UmFyIRo", "KLUv"),  # archives
        *("f0VMR", "TVqQA", "AGFzb"),  # programs
    )
)
"""How files of well-known kinds begin, in base64."""
_LEAST: Final = 64
"""Shorter base64 is no file."""
MAX_FILES: Final = 64
"""Further ones are left out: a request with so many is refused."""
_SIGNS: Final = "A-Za-z0-9+/_-"
_SOME: Final = rf"[\r\n{_SIGNS}]{{{_LEAST - 16}}}"
_OPTIONS: Final = re2.Options()
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
_STARTS: Final = re2.compile(
    rf";base64,{_SOME}|(?:^|[^{_SIGNS}])(?:{_MAGIC}){_SOME}".encode(), _OPTIONS
)
_HEAD: Final = re.compile(rb"data:([^,;\s]{0,99})(?:;[^,\s]{0,99})?\Z")
_HEAD_BYTES: Final = 205
_BODY: Final = re.compile(rf"(?:;base64,|[^{_SIGNS}])?([\r\n{_SIGNS}]+)".encode())
_ORDINARY: Final = bytes.maketrans(b"-_", b"+/")


def attached(text: str) -> Iterator[tuple[str, str]]:
    """The files in a string: (claimed media type or "", base64 with padding), in order. Linear."""
    if len(text) < _LEAST:
        return
    raw, done = text.encode("utf-8", "replace"), 0
    for found in islice(_STARTS.finditer(raw), MAX_FILES):
        if found.start() < done:
            continue
        body = _BODY.match(raw, found.start())
        if body is None:
            continue
        done = body.end()
        head = _HEAD.search(raw[max(body.start() - _HEAD_BYTES, 0) : body.start()])
        data = body[1].translate(_ORDINARY, b"\r\n").decode("ascii")
        data = data[: len(data) - (len(data) % 4 == 1)]
        yield head[1].decode("ascii", "replace") if head else "", data + "=" * (-len(data) % 4)

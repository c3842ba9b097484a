"""Events of a stream that are alike but for one piece of text, which are read together.

Most events of a model's answer are the one before with other words. Then the same bytes stand
around the words: those were understood once, and of what follows only the words are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from portcullis.core.inspection import Path
from portcullis.wire.json import decode, encode
from portcullis.wire.replace import replaced

_MARK: Final = encode("\0")
"""Stands in no strict JSON, so that it marks a place."""

_texts: Final = msgspec.json.Decoder(str)
_encoder: Final = msgspec.json.Encoder()


class Alike:
    """What stands around the text, in an event as it came and in one as it goes on.

    Blocks are what blank lines part in a stream. Whoever reads them so has to be between two
    events, in a stream without carriage returns.
    """

    __slots__ = ("_after", "_before", "_between", "_first", "_last")

    def __init__(self, came: tuple[bytes, bytes], goes: tuple[bytes, bytes]) -> None:
        self._before, self._after = came
        self._first, self._last = goes
        self._between = self._last + self._first

    def run(self, blocks: Sequence[bytes], begin: int) -> tuple[bytes, list[str]]:
        """The events from ``begin`` on that are alike: as they go on, and the text of each.

        There are none where a text is not strict JSON in its canonical form.
        """
        before, after = self._before, self._after
        start, stop = len(before), -len(after)
        least = start - stop
        strings: list[bytes] = []
        for block in islice(blocks, begin, None):
            if len(block) < least or not (block.startswith(before) and block.endswith(after)):
                break
            strings.append(block[start:stop])
        if not strings:
            return b"", []
        lines = b"\n".join((*strings, b""))
        try:
            texts = _texts.decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return b"", []
        # The same bytes again: each line is one string, and none holds a line end.
        same = len(texts) == len(strings) and _encoder.encode_lines(texts) == lines
        if not same or b"\\u0000" in lines:
            return b"", []
        return b"".join((self._first, self._between.join(strings), self._last)), texts


def alike(block: bytes, data: str, sent: bytes, event: dict[str, Any], path: Path) -> Alike | None:
    """What events have in common with one but for the text at ``path``.

    ``block`` is the event as it came, with ``data`` in it; ``sent`` as it goes on, with ``event``
    in it. None where the place of the text cannot be told from the bytes.
    """
    raw = data.encode()
    came = _around(block, raw, decode(raw), path)
    goes = _around(sent, encode(event), event, path)
    return None if came is None or goes is None else Alike(came, goes)


def _around(block: bytes, data: bytes, event: Any, path: Path) -> tuple[bytes, bytes] | None:
    """What stands before and after the text in a block whose only line of data is canonical."""
    before, _, after = encode(replaced(event, {path: "\0"})).partition(_MARK)
    text = event
    for step in path:
        text = text[step]
    lead, found, end = block.rpartition(data)
    if not found or end.strip(b"\n") or data != before + encode(text) + after:
        return None
    return lead + before, after + end

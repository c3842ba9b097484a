"""Where at the end of a growing text an encoding may be under way, and what a part of one says.

What is encoded says something only when it is decoded, so it is held from its first character
until it ends; ``inspection.decode`` says what is read then. Prose and code end nothing that they
could have begun: a word is held for as long as its letters, read as base64 or hexadecimal, begin a
text, which is for a few characters. So are identifiers and digests; their bytes are no text.
"""

from __future__ import annotations

import re
import string
from binascii import a2b_base64
from itertools import islice
from typing import Final

from portcullis.inspection.digits import DIGIT
from portcullis.inspection.normalise import layers
from portcullis.inspection.unhide import INVISIBLE

HELD: Final = 4096
"""Most characters that are held for an encoding that goes on and on."""
KEPT: Final = 2048
"""How many of them are still held when all of them were read: what is spelt in no more is whole."""

_SIGNS: Final = string.ascii_letters + string.digits + "+/-_"
_FIRST: Final = frozenset("CDEFIJKLMNOPQRSTUVWXYZabcdefwxyz0123456789+/-_")
"""How base64 and hexadecimal of a text begin: with its first byte's high bits."""
_WORDS: Final = "".join(sorted({*string.punctuation, *_SIGNS} - {*"\"'<>"}))
_STEP: Final = 192
"""Base64 within base64, three deep, and escapes are cut between groups at multiples of this."""
_NEAR: Final = 64
"""How far from a character that hides something the datum may go on."""
_FAR_LINES: Final = 128
_BLOCK: Final = re.compile(r"[A-Za-z0-9+/_-]*(?:[\r\n\t >]{1,15}[A-Za-z0-9+/_-]{40,})*")
"""A run, with the lines before it that it may be wrapped in; of the text read backwards."""
_LINE: Final = re.compile(r"[A-Za-z0-9+/_-]+")
_PAIRS: Final = re.compile(
    r"(?:[0-9A-Fa-f]{1,2}(?:[xX](?:0|\\)?)?|[xX](?:0|\\)?)?"
    r"(?:[ :,-]{1,2}[0-9A-Fa-f]{2}(?:[xX][0\\])?)*"
)
"""Hexadecimal digits in pairs, of the text read backwards."""
_NO_DIGITS: Final = str.maketrans("", "", " :,-xX\\")
_ESCAPE: Final = re.compile(
    r"[%=](?:[0-9A-Fa-f]{2}|[0-9A-Fa-f]?\Z)|\\(?:[xu]\{?[0-9A-Fa-f]|(?:[xu]\{?)?\Z)"
)
_SOFT: Final = re.compile(r"=(?:\r\n?|\n)\Z")
_ODD_ASCII: Final = re.compile(
    r"&(?:#|[A-Za-z][0-9A-Za-z]{1,31};|[#0-9A-Za-z]{0,32}\Z)|[\x00-\x08\x0e-\x1f\x7f]"
)
_ODD: Final = re.compile(
    rf"[{INVISIBLE}](?=[0-9A-Za-z@._-])|(?<=[0-9A-Za-z@._-])[{INVISIBLE}]"
    "|[\uff0d\uff0e\uff10-\uff19\uff20-\uff3a\uff41-\uff5a\u2460-\u249b\u24b6-\u24ff"
    f"\U0001d400-\U0001d7ff{DIGIT}]|{_ODD_ASCII.pattern}"
)
_CONTROLS: Final = bytes(byte for byte in range(32) if byte not in b"\t\n\r\f") + b"\x7f"
_CONTINUED: Final = bytes(range(0x80, 0xC0))
_CUT: Final = 3
"""Bytes of a character that may be cut off."""
_GOING_ON: Final = frozenset(_SIGNS) - {"/"}
_ASCII: Final = frozenset("234567")
_SHORTEST: Final = 20
_BEGUN: Final = 32
"""Signs of a line that show, mostly, that no text is spelt from there on."""
_DEPTH: Final = 3
_MOST: Final = 256
"""Readings of one part of an encoding; there are a few."""
_STANDARD: Final = str.maketrans("-_", "+/")


def begins(tail: str, before: str, *, within: bool) -> int:
    """Where in ``tail``, the end of a text, an encoding begins that may go on; else its length.

    ``before`` is the text before the tail, the last character at least; ``within`` says that the
    tail begins inside of an encoding, of which the beginning was let go.
    """
    odd = _ODD_ASCII if tail[-_NEAR:].isascii() else _ODD
    if odd.search(tail, max(len(tail) - _NEAR, 0)):
        return 0
    backwards = tail[::-1]
    return min(
        _escaped(tail),
        _run(tail, backwards, before, within=within),
        _paired(tail, backwards, within=within),
    )


def step(start: int, end: int) -> int:
    """Up to where an encoding that began at ``start`` may be let go, when it was read."""
    return start + (end - start - KEPT) // _STEP * _STEP


def readings(text: str) -> list[str]:
    """What runs of base64 and hexadecimal say that are cut at either end, encoded or not."""
    found: list[str] = []
    level = [text, *layers(text).decoded]
    for _ in range(_DEPTH):
        said = (one for text in level for run in _runs(text) for one in _said(run))
        level = list(islice(said, _MOST))
        found += level
    return found


def _escaped(tail: str) -> int:
    """Where the last word begins, if characters are escaped in it."""
    start = len(tail.rstrip(_WORDS))
    escaped = _ESCAPE.search(tail, start) is not None
    for _ in range(_FAR_LINES):
        broken = _SOFT.search(tail, max(start - 4, 0), start)
        if broken is None:
            break
        escaped = True
        start = len(tail[: broken.start()].rstrip(_WORDS))
    return start if escaped else len(tail)


def _run(tail: str, backwards: str, before: str, *, within: bool) -> int:
    """Where the last run begins, or the lines before it, or its part after a slash."""
    end = len(tail)
    block = _BLOCK.match(backwards)
    first = end - block.end() if block else end
    if first == end:
        return end
    lines = [*_LINE.finditer(tail, first)]
    if not first and before[-1:] in _GOING_ON:
        if within:
            return 0
        lines = lines[1:]
    for line in (*lines[:1], *(one for one in lines[1:] if one.start() >= end - HELD)):
        if _spells(line[0][:_BEGUN]) and _spells("".join(_LINE.findall(tail, line.start()))):
            return line.start()
    part = tail[tail.rfind("/", first) + 1 :]
    whole = part == tail or not _LINE.fullmatch(part)
    return end if whole or not _spells(part[:HELD]) else end - len(part)


def _paired(tail: str, backwards: str, *, within: bool) -> int:
    """Where the last row of pairs begins."""
    found = _PAIRS.match(backwards)
    end = len(tail)
    start = end - found.end() if found else end
    if within and start <= _CUT < end:
        return 0
    digits = tail[start:].replace("0x", "").replace("0X", "").translate(_NO_DIGITS)
    data = _unhex(digits)
    if not data:
        return start if digits in _ASCII or tail[start:] in {"0", "0x"} else end
    begun = data[:1].isascii() or len(data) > 1
    return start if begun and _text(data) else end


def _spells(run: str) -> bool:
    """Whether a run may begin the base64 or hexadecimal of a text."""
    if run[0] not in _FIRST:
        return False
    return _text(_base64(run)) or (_hexadecimal(run) and _text(_unhex(run)))


def _base64(run: str) -> bytes:
    run = run[: len(run) - (len(run) % 4 == 1)].translate(_STANDARD)
    return a2b_base64(run + "==="[: -len(run) % 4])


def _hexadecimal(run: str) -> bool:
    return not run.strip(string.hexdigits)


def _unhex(run: str) -> bytes:
    return bytes.fromhex(run[: len(run) // 2 * 2])


def _text(data: bytes) -> bool:
    """Whether these bytes begin a text: UTF-8 without control characters, or UTF-16 of ASCII."""
    if b"\0" in data and not data[1::2].strip(b"\0"):
        data = data[::2]
    if data.translate(None, _CONTROLS) != data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def _runs(text: str) -> list[str]:
    runs = [run for run in _LINE.findall(text) if len(run) >= _SHORTEST]
    return runs + [part for run in runs if "/" in run for part in run.split("/")]


def _said(run: str) -> list[str]:
    """A run from each of the places where a group of it may begin."""
    if len(run) < _SHORTEST:
        return []
    read = [_base64(run[shift:]) for shift in range(4)]
    if _hexadecimal(run):
        read += [_unhex(run), _unhex(run[1:])]
    return [said for data in read if (said := _inner(data))]


def _inner(data: bytes) -> str:
    """The text that these bytes are, but for characters that are cut at either end."""
    if b"\0" in data:
        halves = data[::2], data[1::2]
        data = next((half for half in halves if b"\0" not in half), data)
    data = data.lstrip(_CONTINUED)
    return data.decode("utf-8", "ignore") if _text(data) else ""

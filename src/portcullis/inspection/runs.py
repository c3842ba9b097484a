"""Runs of base64 and of hexadecimal digits: which of them are texts, and what they say.

A text of a megabyte may hold fifty thousand runs. All of their heads are decoded and looked at in
one go, a column of bytes at a time; only what begins as a text does is decoded by itself.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from itertools import pairwise
from typing import Final

SHORTEST: Final = 20
"""Characters of base64 or plain hex below which nothing is tried."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_RUN: Final = b"a" * SHORTEST
_RUNS: Final = bytes(97 if byte in _ALPHABET else 32 for byte in range(256))
_SHAPE: Final = bytes(97 if byte in _ALPHABET else byte for byte in range(256))
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_HEX: Final = b"0123456789abcdefABCDEF"
_NO_HEX: Final = bytes(int(byte not in _HEX) for byte in range(256))
_CONTROLS: Final = bytes(byte for byte in range(32) if byte not in b"\t\n\r\f") + b"\x7f"
_ONE, _CONTROL, _ZERO, _FOLLOWS, _LEADS = 0, 2, 4, 8, 16
"""What a byte is to UTF-8: a character, none, a zero, one that goes on, one that begins."""
_UTF8: Final = re.compile(
    rb"(?:[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}"
    rb"|[\xf0-\xf4][\x80-\xbf]{3})*"
)
_WRAP: Final = b"\r\n\t >"
_WRAPPED: Final = 40
"""Lines of wrapped base64 are at least this long, but for the last."""
_WRAPS: Final = frozenset(_WRAP[at : at + 1] for at in range(len(_WRAP)))
_ALIKE: Final = re.compile(b"a*")
_GAP: Final = 16
_LAST: Final = 9
_HEAD: Final = 192
_CUT: Final = 4
_LEAST: Final = 6
_NEXT: Final = 2000
_MOST_RUNS: Final = 6000
_MOST_READ: Final = 1 << 11


def _sort(byte: int) -> int:
    if byte == 0:
        return _ZERO
    if byte < 0x80:  # noqa: PLR2004 - RFC 3629, section 3
        return _CONTROL if byte in _CONTROLS else _ONE
    if byte < 0xC0:  # noqa: PLR2004 - the same
        return _FOLLOWS
    return _LEADS if 0xC2 <= byte <= 0xF4 else _CONTROL  # noqa: PLR2004 - the same


_SORTS: Final = bytes(map(_sort, range(256)))


def present(raw: bytes) -> bool:
    """Whether there is any run."""
    return _RUN in raw.translate(_RUNS)


def runs(raw: bytes) -> tuple[str, str, bool]:
    """What runs of base64 and of hex digits hold, and whether there were too many of them.

    A run is read as a whole, with the lines that it is wrapped in; else its lines and its parts
    between slashes are.
    """
    blocks, more = _blocks(raw)
    found: dict[str, list[str]] = {"base64": [], "hex": []}
    unread: list[bytes] = []
    lines: list[bytes] = []
    likely = set(_likely([pieces[0] for pieces in blocks]))
    for at, pieces in enumerate(blocks):
        kind, said = _one(b"".join(pieces)) if at in likely else ("", "")
        if said:
            found[kind].append(said)
            found[kind] += _ends(pieces)
        elif len(pieces) > 1:
            unread += pieces
            lines += [line for line in pieces if b"/" in line]
        elif b"/" in pieces[0]:
            unread += pieces
    parts = [part for part in b"/".join(unread).split(b"/") if len(part) >= SHORTEST]
    parts += [line for line in lines if len(line) >= SHORTEST]
    read = _likely(parts)
    for at in read[:_MOST_READ]:
        kind, said = _one(parts[at])
        if said:
            found[kind].append(said)
    more = more or len(read) > _MOST_READ
    return "\n".join(found["base64"]), "\n".join(found["hex"]), more


def _blocks(raw: bytes) -> tuple[list[list[bytes]], bool]:
    """All runs, each as its lines, and whether there are more."""
    table = raw.translate(_RUNS)
    shape = b""
    found: list[list[bytes]] = []
    start = table.find(_RUN)
    while start >= 0 and len(found) < _MOST_RUNS:
        at = table.find(b" ", start + SHORTEST)
        at = at if at >= 0 else len(table)
        pieces = [raw[start:at]]
        if at - start >= _WRAPPED and raw[at : at + 1] in _WRAPS:
            shape = shape or raw.translate(_SHAPE)
            at = _wrapped(raw, shape, at, pieces)
        found.append(pieces)
        start = table.find(_RUN, at, at + _NEXT)  # in little text the search begins sooner
        start = start if start >= 0 else table.find(_RUN, at)
    return found, start >= 0


def _wrapped(raw: bytes, shape: bytes, end: int, pieces: list[bytes]) -> int:
    """Add the lines after the first one, which ends at ``end``; where the last one ends.

    ``shape`` is ``raw`` with an ``a`` for each letter, digit and sign of base64.
    """
    width = len(pieces[0])
    while len(pieces[-1]) == width:
        gap = raw[end : end + _GAP]
        between = gap[: len(gap) - len(gap.lstrip(_WRAP))]
        if not 0 < len(between) < _GAP:
            break
        start = end + len(between)
        run = _ALIKE.match(shape, start, start + width + 1)
        stop = run.end() if run is not None else start
        if stop == start or stop - start > width:
            break
        pieces.append(raw[start:stop])
        end = stop
        line = between + b"a" * (stop - start)
        if stop - start == width and shape.startswith(line, end):
            step = len(line)
            count = _repeated(shape, line, end)
            start = end + len(between)
            pieces += [raw[at : at + width] for at in range(start, start + count * step, step)]
            end += count * step
    return end


def _repeated(shape: bytes, unit: bytes, start: int) -> int:
    """How often a line follows, whole and followed by what is none of its characters."""
    most = 1
    while shape.startswith(unit * most, start):
        most *= 2
    count = most // 2
    step = most // 4
    while step:
        if shape.startswith(unit * step, start + count * len(unit)):
            count += step
        step //= 2
    end = start + count * len(unit)
    return count - (count > 0 and shape[end : end + 1] == b"a")


def _likely(parts: list[bytes]) -> list[int]:
    """Which of the parts begin with base64 or hex of what may be text, all looked at together."""
    heads = b"".join([part[:SHORTEST] for part in parts])
    found = set(_texts(a2b_base64(heads.translate(_STANDARD)), SHORTEST // 4 * 3))
    others = _united(_columns(heads.translate(_NO_HEX), SHORTEST), len(parts))
    digits = [at for at, other in enumerate(others) if not other]
    if digits:
        chosen = b"".join([heads[at * SHORTEST : (at + 1) * SHORTEST] for at in digits])
        data = bytes.fromhex(chosen.decode("ascii"))
        found.update(digits[at] for at in _texts(data, SHORTEST // 2))
    return sorted(found)


def _texts(starts: bytes, size: int) -> list[int]:
    """Which of the starts, ``size`` bytes each, may be UTF-8, or UTF-16 that is ASCII."""
    count = len(starts) // size
    columns = _columns(starts.translate(_SORTS), size)
    follows = int.from_bytes(bytes((_FOLLOWS,)) * count, "big")
    broken = columns[0] & follows
    for one, other in pairwise(columns):
        after = one >> 1
        broken |= (after & ~other | other & ~(one | after)) & follows
    flags = _united([*columns, broken >> 2], count)  # broken: as if it were a control character
    return [
        at
        for at, flag in enumerate(flags)
        if not flag & _CONTROL and _sound(starts, at, size, flag)
    ]


def _columns(data: bytes, size: int) -> list[int]:
    """The first of each ``size`` bytes, the second of each, and so on."""
    return [int.from_bytes(data[at::size], "big") for at in range(size)]


def _united(columns: list[int], count: int) -> bytes:
    """The bits of all columns."""
    united = 0
    for column in columns:
        united |= column
    return united.to_bytes(count, "big")


def _sound(starts: bytes, at: int, size: int, flag: int) -> bool:
    """Whether this start is UTF-8, but for a character that is cut at its end, or UTF-16."""
    if flag == _ONE:
        return True
    begin, end = at * size, (at + 1) * size
    if flag & _ZERO:
        return not starts[begin + 1 : end : 2].strip(b"\0") and starts[begin] != 0
    valid = _UTF8.match(starts, begin, end)
    return valid is not None and valid.end() > end - _CUT


def _ends(pieces: list[bytes]) -> list[str]:
    """What the last whole lines say by themselves: a shorter one may be a word that follows."""
    width = len(pieces[0])
    if len(pieces[-1]) == width:
        return []
    whole = pieces[:-1] if width % 4 else pieces[-_LAST:-1]
    said = _one(b"".join(whole))[1]
    return [said] if said else []


def _one(run: bytes) -> tuple[str, str]:
    """The kind and the text of what is likely to be one."""
    if len(run) % 2 == 0 and not run.translate(None, _HEX):
        said = printable(bytes.fromhex(run.decode("ascii")))
        if said:
            return "hex", said
    run = run.translate(_STANDARD)
    run = run[: len(run) - (len(run) % 4 == 1)]
    return "base64", printable(a2b_base64(run + b"==="[: -len(run) % 4]))


def printable(data: bytes) -> str:
    """The text that these bytes are, or an empty string. UTF-16 is understood where it is ASCII."""
    if b"\0" in data[:_HEAD] and len(data) % 2 == 0 and not data[1::2].strip(b"\0"):
        data = data[::2]
    if _controlled(data[:_HEAD]) or _controlled(data):
        return ""
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        return ""
    return text if len(text) >= _LEAST and any(map(str.isalpha, text[:_HEAD])) else ""


def _controlled(data: bytes) -> bool:
    return len(data.translate(None, _CONTROLS)) != len(data)

"""Texts inside a text that are written in another encoding: read them, within bounds.

Each decoder takes the UTF-8 bytes of a text and returns what it could read, one fragment a line,
or an empty string. Only text is returned: a fragment that decodes to something with control
characters or to invalid UTF-8 is dropped. Every decoder is linear and looks at a bounded number
of fragments.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, a2b_qp
from codecs import encode
from itertools import islice
from typing import Final

import re2

_BYTES: Final = re2.Options()
_BYTES.encoding = re2.Options.Encoding.LATIN1
_BYTES.max_mem = 32 << 20

SHORTEST: Final = 20
"""Characters of base64 or plain hex below which nothing is tried."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_RUNS: Final = bytes(97 if byte in _ALPHABET else 32 for byte in range(256))
_RUN: Final = b"a" * SHORTEST
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_HEX: Final = b"0123456789abcdefABCDEF"
_CONTROLS: Final = bytes(byte for byte in range(32) if byte not in b"\t\n\r\f") + b"\x7f"
_PLAIN, _FOREIGN, _CONTROL, _WIDE = 0, 1, 2, 4
_TEXTS: Final = frozenset({_PLAIN, _FOREIGN, _WIDE})
_SORTS: Final = bytes(
    (_CONTROL if byte in _CONTROLS else int(byte > 127)) if byte else _WIDE  # noqa: PLR2004 - ASCII
    for byte in range(256)
)
_VALID: Final = re.compile(
    rb"(?:[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}"
    rb"|[\xf0-\xf4][\x80-\xbf]{3})*"
)
_NO_HEX: Final = bytes(int(byte not in _HEX) for byte in range(256))
_NO_CONTROLS: Final = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))
_WRAP: Final = b"\r\n\t >"
_WRAPPED: Final = 40
"""Lines of wrapped base64 are at least this long, but for the last."""
_GAP: Final = 16
_FIRST: Final = SHORTEST
_START: Final = SHORTEST // 4 * 3
_HEAD: Final = 192
_UTF8: Final = 4
_MOST_RUNS: Final = 6000
_MOST_READ: Final = 1 << 11
_MOST: Final = 512
_LEAST: Final = 6

TRIGGERS: Final = (
    "ignore",
    "previous",
    "instruction",
    "disregard",
    "system",
    "prompt",
    "override",
    "reveal",
    "secret",
    "password",
    "forget",
    "pretend",
    "assistant",
    "developer",
    "credential",
    "execute",
)
"""Words that show that a text was turned round or shifted, when they appear in that form."""

ROT13: Final = "|".join(encode(word, "rot13") for word in TRIGGERS)
REVERSED: Final = "|".join(word[::-1] for word in TRIGGERS)
_ROT13: Final = re2.compile(f"(?i){ROT13}".encode(), _BYTES)
_REVERSED: Final = re2.compile(f"(?i){REVERSED}".encode(), _BYTES)
_LETTERS: Final = 1 << 16
_ESCAPED: Final = 1 << 18
_MOST_ESCAPES: Final = 1 << 12
_HITS: Final = 64
_AROUND: Final = 2000

PERCENT: Final = "%[0-9A-Fa-f]{2}"
_PERCENT: Final = re2.compile(rf"[^\s\"'<>]*{PERCENT}[^\s\"'<>]*".encode(), _BYTES)
QUOTED: Final = r"(?:=[0-9A-Fa-f]{2}){3}|[A-Za-z]=\r?\n[A-Za-z]"
BACKSLASH: Final = r"\\x[0-9A-Fa-f]{2}|\\u\{?[0-9A-Fa-f]{4}"
_BACKSLASH: Final = re2.compile(
    rb"\S*(?:\\x[0-9A-Fa-f]{2}|\\u\{?[0-9A-Fa-f]{4})(?:\S| [^ \s]*\\[xu])*", _BYTES
)
_ESCAPES: Final = re.compile(
    r"((?:\\x[0-9A-Fa-f]{2})+)|((?:\\u[0-9A-Fa-f]{4})+)|\\u\{([0-9A-Fa-f]{1,5})\}"
)
HEX_PAIRS: Final = r"(?:(?:0[xX]|\\x)?[0-9A-Fa-f]{2}[ :,-]{1,2}){9}"
_HEX_PAIRS: Final = re2.compile(
    rb"(?:(?:0[xX])?[0-9A-Fa-f]{2}[ :,-]{1,2}){9,}(?:0[xX])?[0-9A-Fa-f]{2}", _BYTES
)
SPACED: Final = "(?:[A-Za-z][ ._*|-]){6}[A-Za-z]"
_SPACED: Final = re2.compile(rb"(?:[A-Za-z][ ._*|-]{1,3}){6,}[A-Za-z]", _BYTES)
_SEPARATOR: Final = re.compile(r"(?<=[A-Za-z])[ ._*|-](?=[A-Za-z])")


def printable(data: bytes) -> str:
    """The text that these bytes are, or an empty string. UTF-16 is understood where it is ASCII."""
    if b"\0" in data[:_HEAD] and len(data) % 2 == 0:
        data = data[::2] if not data[1::2].strip(b"\0") else data
    if data[:_HEAD].translate(None, _CONTROLS) != data[:_HEAD]:
        return ""
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            return ""
    if data.translate(None, _CONTROLS) != data:
        return ""
    text = data.decode().strip()
    return text if len(text) >= _LEAST and any(map(str.isalpha, text[:_HEAD])) else ""


def runs(raw: bytes) -> tuple[str, str, bool]:
    """What runs of base64 and of hex digits hold, and whether there were too many of them.

    A run is read as a whole, with the lines that it is wrapped in; else its lines and its parts
    between slashes are.
    """
    blocks, more = _blocks(raw)
    found: dict[str, list[str]] = {"base64": [], "hex": []}
    unread: list[bytes] = []
    lines: list[bytes] = []
    likely = _likely([pieces[0] for pieces in blocks])
    for at, pieces in enumerate(blocks):
        kind, said = _one(b"".join(pieces)) if at in likely else ("", "")
        if said:
            found[kind].append(said)
            continue
        unread += pieces
        if len(pieces) > 1:
            lines += pieces
    parts = [part for part in b"/".join(unread).split(b"/") if len(part) >= SHORTEST]
    parts += [line for line in lines if b"/" in line and len(line) >= SHORTEST]
    read = sorted(_likely(parts))
    for at in read[:_MOST_READ]:
        kind, said = _one(parts[at])
        if said:
            found[kind].append(said)
    more = more or len(read) > _MOST_READ
    return "\n".join(found["base64"]), "\n".join(found["hex"]), more


def _blocks(raw: bytes) -> tuple[list[list[bytes]], bool]:
    """All runs, each as its lines, and whether there are more."""
    table = raw.translate(_RUNS)
    found: list[list[bytes]] = []
    at = 0
    while (start := table.find(_RUN, at)) >= 0 and len(found) < _MOST_RUNS:
        at = _end(table, start)
        pieces = [raw[start:at]]
        if at - start >= _WRAPPED:
            at = _wrapped(raw, table, at, pieces)
        found.append(pieces)
    return found, start >= 0


def _wrapped(raw: bytes, table: bytes, end: int, pieces: list[bytes]) -> int:
    """Add the lines after the first one, which ends at ``end``; where the last one ends."""
    width = len(pieces[0])
    between = b""
    while len(pieces[-1]) == width:
        following = end + len(between)
        if not between or raw[end:following] != between or table[following : following + 1] == b" ":
            gap = raw[end : end + _GAP]
            between = gap[: len(gap) - len(gap.lstrip(_WRAP))]
            following = end + len(between)
            if not 0 < len(between) < _GAP:
                break
        stop = table.find(b" ", following, following + width + 1)
        stop = stop if stop >= 0 else min(len(table), following + width + 1)
        if stop == following or stop - following > width:
            break
        pieces.append(raw[following:stop])
        end = stop
    return end


def _end(table: bytes, start: int) -> int:
    end = table.find(b" ", start)
    return end if end >= 0 else len(table)


def _likely(parts: list[bytes]) -> set[int]:
    """Which of the parts begin with base64 or hex of what may be text, all looked at together."""
    heads = b"".join([part[:_FIRST] for part in parts])
    starts = a2b_base64(heads.translate(_STANDARD))
    flags = _united(starts.translate(_SORTS), _START)
    other = _united(heads.translate(_NO_HEX), _FIRST)
    found = {at for at, flag in enumerate(flags) if flag in _TEXTS and _sound(starts, at, flag)}
    return found | {at for at, flag in enumerate(other) if not flag and _hexed(parts[at])}


def _united(flags: bytes, size: int) -> bytes:
    """The flags of each ``size`` bytes in one."""
    united = 0
    for at in range(size):
        united |= int.from_bytes(flags[at::size], "big")
    return united.to_bytes(len(flags) // size, "big")


def _sound(starts: bytes, at: int, flag: int) -> bool:
    """Whether this start is UTF-8, but for a character that is cut at its end, or UTF-16."""
    begin, end = at * _START, (at + 1) * _START
    if flag == _WIDE:
        return not starts[begin + 1 : end : 2].strip(b"\0") and starts[begin] != 0
    valid = _VALID.match(starts, begin, end)
    return flag == _PLAIN or (valid is not None and valid.end() > end - _UTF8)


def _hexed(part: bytes) -> bool:
    said = bytes.fromhex(part[:_FIRST].decode("ascii"))
    valid = _VALID.match(said)
    whole = valid is not None and valid.end() > len(said) - _UTF8
    return (whole or b"\0" in said) and _CONTROL not in said.translate(_SORTS)


def _one(run: bytes) -> tuple[str, str]:
    """The kind and the text of what is likely to be one."""
    if len(run) % 2 == 0 and not run.translate(None, _HEX):
        said = printable(bytes.fromhex(run.decode("ascii")))
        if said:
            return "hex", said
    run = run.translate(_STANDARD)
    run = run[: len(run) - (len(run) % 4 == 1)]
    return "base64", printable(a2b_base64(run + b"==="[: -len(run) % 4]))


def percent(raw: bytes) -> str:
    """Words with %XX in them, decoded (RFC 3986; + is a space)."""
    words = [found.group() for found in islice(_PERCENT.finditer(raw), _MOST + 1)]
    joined = raw if len(words) > _MOST else b"\n".join(words)
    # the quoted-printable decoder is the same thing with another sign, and written in C
    escaped = joined.replace(b"=", b"=3D").replace(b"+", b" ").replace(b"%", b"=")
    return a2b_qp(escaped).translate(_NO_CONTROLS).decode("utf-8", "replace")


def quoted_printable(raw: bytes) -> str:
    """The whole text as quoted-printable (RFC 2045 section 6.7)."""
    return a2b_qp(raw).translate(_NO_CONTROLS).decode("utf-8", "replace")


def backslashes(raw: bytes) -> tuple[str, bool]:
    r"""Words with \xXX and \uXXXX in them, decoded, and whether there were too many of them."""
    words = [found.group() for found in islice(_BACKSLASH.finditer(raw), _MOST + 1)]
    joined = b"\n".join(words)
    text = joined[:_ESCAPED].decode("utf-8", "replace")
    more = len(words) > _MOST or len(joined) > _ESCAPED
    return _ESCAPES.sub(_escape, text, count=_MOST_ESCAPES), more


def _escape(found: re.Match[str]) -> str:
    small, large, braced = found.groups()
    if small:
        data = bytes.fromhex(small.replace("\\x", ""))
        return data.decode("utf-8", "replace")
    if large:
        return bytes.fromhex(large.replace("\\u", "")).decode("utf-16-be", "replace")
    return chr(int(braced, 16)).encode("utf-8", "replace").decode()


def hex_pairs(raw: bytes) -> str:
    """Hex digits in pairs with something between them."""
    found = (one.group() for one in islice(_HEX_PAIRS.finditer(raw), _MOST))
    pairs = (one.replace(b"0x", b"").translate(None, b" :,-xX").decode() for one in found)
    read = (printable(bytes.fromhex(one)) for one in pairs if len(one) % 2 == 0)
    return "\n".join(one for one in read if one)


def spaced(raw: bytes) -> str:
    """Words that are written letter by letter; more than one separator parts words."""
    found = (one.group() for one in islice(_SPACED.finditer(raw), _MOST))
    return _SEPARATOR.sub("", b"\n".join(found)[:_LETTERS].decode())


def rot13(raw: bytes) -> str:
    """What stands around words that are known ones in ROT13, shifted back."""
    return encode(_around(_ROT13, raw), "rot13")


def backwards(raw: bytes) -> str:
    """What stands around words that are known ones backwards, turned round."""
    return _around(_REVERSED, raw)[::-1]


def _around(pattern: re2._Regexp, raw: bytes) -> str:
    """The lines with a hit, at most _AROUND bytes to either side of it."""
    pieces = []
    done = 0
    for found in islice(pattern.finditer(raw), _HITS):
        if found.start() < done:
            continue
        start = max(raw.rfind(b"\n", 0, found.start()) + 1, found.start() - _AROUND, done)
        done = raw.find(b"\n", found.end(), found.end() + _AROUND)
        done = done if done >= 0 else min(len(raw), found.end() + _AROUND)
        pieces.append(raw[start:done])
    return b"\n".join(pieces).decode("utf-8", "ignore")

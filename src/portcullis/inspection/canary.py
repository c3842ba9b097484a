"""Canaries: references that nobody has reason to repeat, so that a copy shows a leak.

A canary is a number and four groups of letters and digits, such as an archive would file things
under:

    MARKER-BODY...   MARKER: 9 digits, the same for all canaries of a key, a palindrome
                     BODY:   25 characters of base32 in lower case (RFC 4648 section 6):
                             1 place, 8 tag (40 bits of whose it is), 16 MAC (80 bits)

All is made with HMAC-SHA-256, so nothing is stored, nobody without the key makes one, and the
canary of a session and place is always the same (a prompt's cache goes on to work). The marker is
what a text is searched for: digits have no case and stay themselves under rot13, and a palindrome
reads the same backwards, so one literal finds all of these, one more is its hexadecimal form and
three are its base64 forms (it may begin at any of three places of a group). Case, white space,
punctuation and invisible characters are taken out of the text before.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hmac
import html
import re
import string
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

import re2

from portcullis.core.inspection import Leak
from portcullis.inspection.digits import DIGITS
from portcullis.inspection.engines import ANYWHERE, Search, compiled
from portcullis.inspection.letters import replaced

PLACES: Final = ("system prompt", "tool result", "document", "memory")
"""Where a session's canaries may be planted; a token names its place by the index here."""

SPAN: Final = 1024
"""No form of a canary that is looked for takes more characters, with ordinary separators."""

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_HONEY: Final = len(_ALPHABET) - 1
_HALF: Final = 4
_MARKER: Final = 2 * _HALF + 1
_TAG: Final = 8
_MAC: Final = 16
_BODY: Final = 1 + _TAG + _MAC
_ROOM: Final = 48
"""Decoded characters beside a marker that may hold the body: it and its separators."""

_ESCAPING: Final = b"%\\&0x"
_MAX_MARKERS: Final = 256

_DROPPED: Final = bytes(byte for byte in range(256) if not (chr(byte).isalnum() and byte < 128))  # noqa: PLR2004 - ASCII
_ASCII: Final = bytes(range(128))
_NOT_ASCII: Final = bytes(range(128, 256))
_FORMS: Final = (
    *((0xAA, 0xBF), (0x132, 0x180), (0x1C4, 0x1F4), (0x2B0, 0x2E4), (0x1D2C, 0x1DBC)),
    *((0x1E9A, 0x1E9B), (0x2070, 0x20A9), (0x2100, 0x218A), (0x2460, 0x24EB), (0x2C7C, 0x2C7E)),
    *((0x3250, 0x3260), (0x32B1, 0x32D0), (0x3358, 0x3400), (0xA7F2, 0xA7F5), (0xFB00, 0xFB07)),
    *((0xFE5F, 0xFE6C), (0xFF03, 0xFF5E), (0x107A5, 0x107A6), (0x1D400, 0x1D800)),
    *((0x1F100, 0x1F191), (0x1FBF0, 0x1FBFA)),
)
"""Where Unicode has compatibility forms of ASCII letters and digits, and of what escapes them."""
_MEANT: Final = frozenset(string.ascii_letters + string.digits + "%&#\\{}")


def _fold() -> dict[str, str]:
    """From a compatibility form, a tag character, or another script's digit, to ASCII."""
    found = dict(DIGITS)
    for point in (point for first, last in _FORMS for point in range(first, last)):
        said = unicodedata.normalize("NFKC", chr(point))
        meant = "".join(one for one in said if one in _MEANT)
        if meant:
            found[chr(point)] = meant
    return found | {chr(0xE0000 + point): chr(point) for point in range(0x20, 0x7F)}


_FOLD: Final = _fold()
_UTF8: Final = re2.Options()
_UTF8.max_mem = 32 << 20
_FOLDED: Final = re2.compile(f"[{''.join(_FOLD)}]".encode(), _UTF8)
_ESCAPED: Final = re.compile(r"(?i)%(?:25)*([0-9a-f]{2})|\\+(?:x|u00|u\{0{0,4})([0-9a-f]{2})\}?")


class Canaries:
    """Makes and finds the canaries of one key. ``honey`` names the records that hold one."""

    def __init__(self, key: bytes, honey: Sequence[str] = ()) -> None:
        self._key = key
        self._names = {self._tag("honey", name): name for name in honey}
        digits = str(int.from_bytes(self._hash("marker"), "big"))[-_HALF - 1 :]
        self._marker = (digits + digits[-2::-1]).encode()
        self._hexadecimal = self._marker.hex().encode()
        self._base64 = tuple(_inner_base64(self._marker, before) for before in range(3))
        self._literals = (self._marker, self._hexadecimal, *self._base64)
        signs = {*b"".join(self._literals), *_ESCAPING}
        self._others = bytes(byte for byte in range(256) if byte not in signs)
        self._escaped = _escaped_search(self._marker)

    @property
    def marker(self) -> str:
        """What all canaries of the key begin with."""
        return self._marker.decode("ascii")

    def token(self, session_key: str, place: str) -> str:
        """The canary of a session and a place. Raises ValueError for none of ``PLACES``."""
        return self._made(PLACES.index(place), self._tag("session", session_key))

    def honey(self, name: str) -> str:
        """The canary of a honey record."""
        return self._made(_HONEY, self._tag("honey", name))

    def find(self, text: str, session_key: str = "") -> tuple[Leak, ...]:
        """The canaries in a text, in clear or encoded; ``session_key`` is whose text it is.

        A text that holds more markers than anybody could write by chance is a leak, even when
        no canary can be read among them.
        """
        data = _ascii(text)
        few = data.translate(None, self._others)
        escaped = _escapes(few, data)
        if not escaped and not self._literal(few.replace(b"&", b"")):
            return ()
        flat = data.translate(None, _DROPPED)
        found: dict[str, Leak] = {}
        for number, (encoding, before, after) in enumerate(
            self._markers(data, flat, escaped=escaped)
        ):
            if number >= _MAX_MARKERS:
                found.setdefault("", Leak(place="a place hidden among false canaries"))
                break
            for name, body in _bodies(before, after):
                place = self._place(body, session_key)
                if place:
                    found.setdefault(place, Leak(place=place, encoding=encoding or name))
        return tuple(found.values())

    def absent(self, text: str) -> bool:
        """Whether it is plain that no canary is in a text, nor in any of which it was joined."""
        data = _ascii(text)
        few = data.translate(None, self._others)
        return not (_escapes(few, data) or self._literal(few.replace(b"&", b"")))

    def _literal(self, few: bytes) -> bool:
        """Whether any literal stands in a text from which only other characters were taken."""
        if len(few) >= _MARKER:
            for literal in self._literals:
                if literal in few:
                    return True
        return False

    def _markers(
        self, data: bytes, flat: bytes, *, escaped: bool
    ) -> Iterator[tuple[str, bytes, bytes]]:
        """What stands around each marker, and the encoding that it all is in."""
        yield from self._beside("", flat)
        for at in _places(flat, self._hexadecimal):
            yield from self._beside("hex", _unhex(flat, at, len(self._hexadecimal)))
        for before, literal in enumerate(self._base64):
            for at in _places(flat, literal):
                yield ("base64", *_unbase64(flat, at, before))
        at = 0
        while escaped and (end := self._escaped(ANYWHERE, data, at, len(data))[0][1]) >= 0:
            window = data[max(end - SPAN, 0) : end + SPAN].decode("ascii")
            yield from self._beside("url", _flat(_unescaped(window)))
            at = end

    def _beside(self, encoding: str, flat: bytes) -> Iterator[tuple[str, bytes, bytes]]:
        for at in _places(flat, self._marker):
            end = at + _MARKER
            yield encoding, flat[max(at - _ROOM, 0) : at], flat[end : end + _ROOM]

    def _place(self, body: bytes, session_key: str) -> str:
        """The place that a body names, when its MAC is ours; else nothing."""
        text = body.decode("ascii")
        kind, tag, mac = text[0], text[1 : 1 + _TAG], text[1 + _TAG :]
        if not hmac.compare_digest(mac, self._mac(kind + tag)):
            return ""
        index = _ALPHABET.index(kind)
        if index == _HONEY:
            return f"honey record {self._names.get(tag, 'that is no longer configured')}"
        own = bool(session_key) and tag == self._tag("session", session_key)
        return f"{PLACES[index]} of {'this' if own else 'another'} session"

    def _made(self, index: int, tag: str) -> str:
        head = _ALPHABET[index] + tag
        body = head + self._mac(head)
        groups = (body[:7], body[7:13], body[13:19], body[19:])
        return "-".join((self._marker.decode("ascii"), *groups))

    def _tag(self, kind: str, name: str) -> str:
        return _base32(self._hash(f"{kind}\0{name}"))[:_TAG]

    def _mac(self, head: str) -> str:
        return _base32(self._hash(f"canary\0{head}"))[:_MAC]

    def _hash(self, message: str) -> bytes:
        return hmac.digest(self._key, message.encode("utf-8", "surrogatepass"), "sha256")


def _escapes(few: bytes, data: bytes) -> bool:
    """Whether characters may be escaped in a text, of which ``few`` are those that matter."""
    return (
        b"%" in few
        or b"\\" in few
        or (b"&" in few and b"&#" in data)
        or (b"0x" in few and b"0x" in data)
    )


def _bodies(before: bytes, after: bytes) -> Iterator[tuple[str, bytes]]:
    """What may be a body before or after a marker, and how it is to be read."""
    for name, text in (("", after), ("reversed", before[::-1])):
        body = text.translate(None, _DROPPED)[:_BODY].lower()
        if len(body) == _BODY:
            yield name, body
            yield "rot13", codecs.encode(body.decode("ascii"), "rot13").encode("ascii")


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").lower()


def _ascii(text: str) -> bytes:
    """The text with compatibility forms of ASCII folded and what is not ASCII left out."""
    raw = text.encode("utf-8", "replace")
    if text.isascii():
        return raw
    foreign = raw.translate(None, _ASCII)
    if _FOLDED.search(foreign) is not None:
        raw = replaced(text, _FOLD).encode("ascii", "ignore")
    return raw.translate(None, _NOT_ASCII)


def _flat(text: str) -> bytes:
    return _ascii(text).translate(None, _DROPPED)


def _places(flat: bytes, literal: bytes) -> Iterator[int]:
    at = flat.find(literal)
    while at >= 0:
        yield at
        at = flat.find(literal, at + 1)


def _inner_base64(marker: bytes, before: int) -> bytes:
    """Those characters of base64 that depend on the marker alone, after so many other bytes."""
    text = base64.b64encode(b"\0" * before + marker)
    return text[-(-8 * before // 6) : 8 * (before + len(marker)) // 6]


def _unbase64(flat: bytes, at: int, before: int) -> tuple[bytes, bytes]:
    """The bytes before and after a marker whose inner characters begin at ``at``.

    ``before`` bytes stand before the marker in its group of three. What is missing at the text's
    edges is as good as any other character: it belongs to other bytes.
    """
    room = _ROOM // 3 * 4
    group = at - -(-8 * before // 6) + room
    padded = b"A" * room + flat[max(at - 2 * room, 0) : at + 2 * room] + b"AAA"
    group -= max(at - 2 * room, 0)
    inside = before + _MARKER
    ahead = _decoded(padded[group - room : group + 4])[: room // 4 * 3 + before]
    after = _decoded(padded[group + inside // 3 * 4 : group + inside // 3 * 4 + room])
    return ahead, after[inside % 3 :]


def _decoded(text: bytes) -> bytes:
    return binascii.a2b_base64(text[: len(text) // 4 * 4])


def _unhex(flat: bytes, at: int, size: int) -> bytes:
    """The bytes around a marker in hexadecimal, up to where it is none, without separators."""
    digits = b"0123456789abcdefABCDEF"
    low = at
    while low >= 2 and at - low < 2 * _ROOM and flat[low - 2] in digits and flat[low - 1] in digits:  # noqa: PLR2004 - a byte
        low -= 2
    high = at + size
    while (
        high + 1 < len(flat)
        and high - at < 4 * _ROOM
        and flat[high] in digits
        and flat[high + 1] in digits
    ):
        high += 2
    return bytes.fromhex(flat[low:high].decode("ascii")).translate(None, _DROPPED)


def _escaped_search(marker: bytes) -> Search:
    r"""Finds a marker with escaped digits: %37, \x37, \u0037, 0x37, &#55;, &#x37;."""
    opening = r"(?:%(?:25){0,3}|\\{1,4}(?:x|u00|u\{0{0,4})|0x|&#x0{0,3})"
    digits = [rf"(?:{digit:c}|{opening}{digit:x}\}}?|&#0{{0,3}}{digit})" for digit in marker]
    return compiled("[^0-9A-Za-z%\\\\&]{0,8}".join(digits))


def _unescaped(text: str) -> str:
    """The text with its escapes undone."""
    text = re.sub(r"\b0x([0-9a-fA-F]{2})", r"%\1", html.unescape(text))
    return _ESCAPED.sub(lambda one: chr(int(one.group(1) or one.group(2), 16)), text)

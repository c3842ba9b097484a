"""A credential on its way out, and the guard that keeps it from coming back.

The guard is against reflection: an upstream that repeats the request's headers in an error, or a
tool that prints its environment. It finds the credential as it was sent and in the encodings
that JSON and URLs give it. An upstream that is set on leaking its own credential can always
disguise it; what it cannot do is hand it out unnoticed by accident, or have us take an escape
off that it put on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from portcullis.core.errors import Problem
from portcullis.core.secret import Secret

MIN_LENGTH = 8
"""A shorter credential would be found by chance in innocent answers."""

_PLAIN: Final = ((b"\\\\", b"\\"), (b'\\"', b'"'), (b"\\/", b"/"))
"""The escapes of JSON that are a character and a backslash, and what they stand for."""


def reflected() -> Problem:
    """Return the Problem that withholds an answer."""
    return Problem("PC5005", "the answer held the credential that was sent; it was withheld")


class Credential:
    """A secret value and the byte strings by which an answer would betray it."""

    __slots__ = ("_escapes", "_longest", "needles")

    def __init__(self, secret: Secret) -> None:
        """Raise Problem PC5007 when the value is too short to be guarded, or not ASCII."""
        value = secret.reveal()
        if len(value) < MIN_LENGTH:
            raise Problem("PC5007", f"a credential of less than {MIN_LENGTH} characters")
        if not value.isascii():
            raise Problem("PC5007", "a credential with characters beyond ASCII")
        text = json.dumps(value)[1:-1]
        forms = (value, text, text.replace("/", "\\/"), quote(value, safe=""), quote(value))
        self.needles = tuple(dict.fromkeys(form.encode() for form in forms))
        numbers = {form for each in set(value) | set("%\\") for form in _numbered(ord(each))}
        self._escapes = tuple(sorted(numbers))
        self._longest = max(len(needle) for needle in self.needles)

    def __repr__(self) -> str:
        """Never the value."""
        return "Credential(...)"

    def found_in(self, data: bytes) -> bool:
        """Say whether ``data`` holds the credential in one of its forms."""
        for needle in self.needles:
            if needle in data:
                return True
        if b"\\u00" not in data and b"%" not in data:
            return False
        for escapes in (_PLAIN, _PLAIN, _PLAIN, self._escapes, self._escapes):
            before = data
            for escape, character in escapes:
                data = data.replace(escape, character)
            if data != before and self.needles[0] in data:
                return True
        return False

    def held(self, data: bytes) -> int:
        """Return the length of the longest end of ``data`` that may begin the credential."""
        longest = 0
        window = data[-(self._longest - 1) :]
        for needle in self.needles:
            start = window.find(needle[:1], max(0, len(window) - len(needle) + 1))
            while start >= 0:
                if needle.startswith(window[start:]):
                    longest = max(longest, len(window) - start)
                    break
                start = window.find(needle[:1], start + 1)
        return longest


class Credentials:
    """Several, of one request; what holds one of them holds one too many."""

    __slots__ = ("_all",)

    def __init__(self, credentials: Sequence[Credential]) -> None:
        self._all = tuple(credentials)

    def found_in(self, data: bytes) -> bool:
        """See Credential."""
        return any(one.found_in(data) for one in self._all)

    def held(self, data: bytes) -> int:
        """See Credential."""
        return max(one.held(data) for one in self._all)


class ReflectionGuard:
    """Passes a stream on, piece by piece, and raises before the credential would be out.

    What may be the credential's beginning is held back until the next piece shows otherwise; of
    a line with escapes, which may be it in any number of forms, the whole line is.
    """

    __slots__ = ("_credential", "_line", "_tail")

    def __init__(self, credential: Credential | Credentials) -> None:
        self._credential = credential
        self._line: list[bytes] = []
        self._tail = b""

    def feed(self, piece: bytes) -> bytes:
        """Return what may go out now; Problem PC5005 when the credential is complete."""
        if self._line:
            self._line.append(piece)
            if b"\n" not in piece:
                return b""
            data = b"".join(self._line)
            self._line = []
        else:
            data = self._tail + piece if self._tail else piece
        if self._credential.found_in(data):
            raise reflected()
        end = data.rfind(b"\n") + 1
        if data.find(b"\\", end) >= 0 or data.find(b"%", end) >= 0:
            self._line, self._tail = [data[end:]], b""
            return data[:end]
        count = self._credential.held(data)
        if not count:
            self._tail = b""
            return data
        self._tail = data[-count:]
        return data[:-count]

    def end(self) -> bytes:
        """Return what was held back, unless it is the credential: Problem PC5005."""
        rest = b"".join(self._line) or self._tail
        self._line, self._tail = [], b""
        if self._credential.found_in(rest):
            raise reflected()
        return rest


def _numbered(code: int) -> list[tuple[bytes, bytes]]:
    """The escapes of JSON and of URLs that are a character's number, and the character."""
    character = bytes([code])
    digits = {f"{code:02x}", f"{code:02X}"}  # the first digit of an ASCII code is no letter
    return [(f"{prefix}{each}".encode(), character) for prefix in ("\\u00", "%") for each in digits]

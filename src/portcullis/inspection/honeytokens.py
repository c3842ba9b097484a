"""Honeytokens: credentials that nobody has reason to hold, so that each use shows a thief.

They are found as canaries are, in the texts that inspection sees: as they stand, in the escapes of
JSON, of URLs and of HTML, in base64 (twice, too, and of UTF-16), base32, hexadecimal, backwards,
with other separators or in another case.
"""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from portcullis.core.errors import Problem
from portcullis.core.inspection import Leak
from portcullis.core.secret import Secret
from portcullis.inspection.canary import Canaries

HONEYTOKEN: Final = "honeytoken"
"""How the place of such a leak begins."""
SHORTEST: Final = 12
LONGEST: Final = 256
"""In letters and digits: a shorter one is found by chance, a longer one not in a stream."""
_SEPARATORS: Final = bytes(byte for byte in range(128) if not chr(byte).isalnum())
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")


class Honeytokens(Canaries):
    """The canaries of a deployment and its honeytokens, by their references.

    Raises Problem PC7001 for one that has too few letters and digits, or too many.
    """

    def __init__(self, key: bytes, honey: Sequence[str], tokens: Mapping[str, Secret]) -> None:
        super().__init__(key, honey)
        self._forms = tuple(
            (form, reference, encoding)
            for reference, secret in tokens.items()
            for encoding, form in _forms(reference, secret)
        )

    def find(self, text: str, session_key: str = "") -> tuple[Leak, ...]:
        """The canaries and the honeytokens in a text."""
        found = super().find(text, session_key)
        if len(text) < SHORTEST or not self._forms:
            return found
        flat = _flat(_plain(text))
        seen: dict[str, Leak] = {}
        for form, reference, encoding in self._forms:
            if form in flat:
                place = f"{HONEYTOKEN} {reference}"
                seen.setdefault(place, Leak(place=place, encoding=encoding))
        return (*found, *seen.values())

    def absent(self, text: str) -> bool:
        """Whether it is plain that neither is in a text, nor in any of which it was joined."""
        if not super().absent(text):
            return False
        flat = _flat(_plain(text)) if self._forms else ""
        return not any(form in flat for form, _, _ in self._forms)


def _plain(text: str) -> str:
    """A text without the escapes that stand in it as they are, and without wide letters."""
    if "%" in text:
        text = unquote(text)
    if "&" in text:
        text = html.unescape(text)
    if "\\" in text:
        text = _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _flat(text: str) -> str:
    """Letters and digits alone, in lower case: what separates and escapes is left out."""
    if text.isascii():
        return text.encode().translate(None, _SEPARATORS).decode().lower()
    return "".join(filter(str.isalnum, text)).lower()


def _forms(reference: str, secret: Secret) -> list[tuple[str, str]]:
    value = secret.reveal()
    plain = _flat(value)
    if not SHORTEST <= len(plain) <= LONGEST:
        detail = f"the honeytoken {reference} has to have {SHORTEST} to {LONGEST} letters or digits"
        raise Problem("PC7001", detail)
    data = value.encode()
    encoded = [("", plain), ("reversed", plain[::-1]), ("hex", data.hex())]
    encoded += [("base32", _flat(text)) for text in _within(data, base64.b32encode, 5)]
    for kind in (data, value.encode("utf-16-le"), value.encode("utf-16-be")):
        encoded += [("base64", _flat(text)) for text in _within(kind, base64.b64encode, 6)]
    for once in _within(data, base64.b64encode, 6):
        for text in {once, once.replace("+", "-").replace("/", "_")}:
            twice = _within(text.encode(), base64.b64encode, 6)
            encoded += [("base64", _flat(one)) for one in twice]
    return encoded


def _within(data: bytes, encode: Callable[[bytes], bytes], bits: int) -> Iterator[str]:
    """What of ``data`` is the same in every text that holds it, wherever in a group it begins.

    A character has so many ``bits``; those at both ends hold bits of what stands beside it.
    """
    for before in range(3 if bits == 6 else 5):  # noqa: PLR2004 - bytes of a group: RFC 4648
        text = encode(b"\0" * before + data).decode().rstrip("=")
        yield text[-(-8 * before // bits) : 8 * (before + len(data)) // bits]

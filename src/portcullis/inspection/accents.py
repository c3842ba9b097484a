"""Known English words that accents hide: a reader takes no notice of them, a rule does."""

from __future__ import annotations

import unicodedata
from typing import Final

from portcullis.inspection.decode import TRIGGERS, Read, around, every
from portcullis.inspection.engines import ANYWHERE, Search, compiled

_SHORT: Final = 1 << 14
"""Characters of an accented text of which no word must be seen first: it may use both ways."""
_WHOLE: Final = 1 << 18
"""Characters of a text that is read as a whole; of a longer one what is around the words."""
_LATIN: Final = (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))
_FOREIGN: Final = r"[\x80-\xff]"
_MOST: Final = 1 << 10


def _plain(text: str) -> bytes:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore")


def _disguised() -> Search:
    """The known words with accents, or with something foreign in between.

    Up to its first such letter or place a word is spelt as it is.
    """
    accented: dict[str, list[str]] = {}
    for letter in map(chr, _LATIN):
        escaped = "".join(f"\\x{byte:02x}" for byte in letter.encode())
        accented.setdefault(_plain(letter).decode().lower(), []).append(escaped)
    ways = []
    for word in TRIGGERS:
        plain = [f"[{one}{one.upper()}]" for one in word]
        odd = [f"(?:{'|'.join(accented[one])})" for one in word]
        either = [f"(?:{one}|{other})" for one, other in zip(plain, odd, strict=True)]
        for at in range(len(word)):
            begun = "".join(plain[:at])
            ways.append(begun + odd[at] + "".join(either[at + 1 :]))
            ways.append(f"{begun}{_FOREIGN}+{f'{_FOREIGN}*'.join(plain[at:])}")
    return compiled("|".join(ways))


_DISGUISED: Final = _disguised()
_ACCENTED: Final = compiled(r"[\xc3-\xc9][\x80-\xbf]|\xe1[\xb8-\xbb][\x80-\xbf]")
"""Any of _LATIN in UTF-8, and little else."""
_KNOWN: Final = compiled(rf"(?i)\b(?:{'|'.join(TRIGGERS)})s?\b")


def without(text: str, raw: bytes) -> Read:
    """The text without accents and what is not ASCII, if that brings out more of the known words.

    ``raw`` is the same in UTF-8.
    """
    foretold = len(text) > _SHORT or _ACCENTED(ANYWHERE, raw, 0, len(raw))[0][0] < 0
    if foretold and _DISGUISED(ANYWHERE, raw, 0, len(raw))[0][0] < 0:
        return "", False
    read, more = (text, False) if len(text) <= _WHOLE else around(_DISGUISED, raw)
    plain = _plain(read)
    brought = _distinct(plain, len(TRIGGERS)) > _distinct(read.encode(), 0)
    return plain.decode("ascii") if brought else "", more


def _distinct(raw: bytes, most: int) -> int:
    """How many of the known words stand in it; ``most`` where there are too many to look at."""
    words, more = every(_KNOWN, raw, _MOST)
    return most if more else len({word.lower() for word in words})

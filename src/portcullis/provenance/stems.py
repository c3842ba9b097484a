"""English words without their endings, so that ``sending`` and ``sends`` are ``send``."""

from __future__ import annotations

from typing import Final

_ENDINGS: Final = ("ing", "ed", "es", "s", "e")
_SHORTEST: Final = 3


def stem(word: str) -> str:
    """A word's stem: coarse, and the same for the forms of one verb that is not irregular."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST:
            word = word[: -len(ending)]
            break
    if len(word) > _SHORTEST and word[-1] == word[-2] and word[-1] not in "ls":
        return word[:-1]
    return word[:-1] + "i" if word.endswith("y") and len(word) > _SHORTEST else word

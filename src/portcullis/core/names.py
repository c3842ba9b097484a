"""Names that others chose, as they may stand in the log: in clear when they can be no content."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "?"
"""What stands in the place of a name that is not shown."""
_PART: Final = r"(?:[A-Z]{1,8}|[A-Za-z][a-z]{0,23}(?:[A-Z][a-z]{0,23}){0,3})[0-9]{0,3}"
_WORDS: Final = re.compile(
    rf"{_PART}(?:[ ._:/-]{{1,4}}(?:{_PART}|[0-9]{{1,4}}[a-z]{{0,2}}|20[0-9]{{6}})){{0,9}}"
)
"""What people call models, tools, methods and resources."""
_DATED: Final = re.compile(r"20[0-9]{2}-?[01][0-9]-?[0-3][0-9]")
_DIGITS: Final = 6
"""Most digits in such a name, but for a date's."""


def made_of_words(name: str) -> bool:
    """Whether a name is of a few words and numbers, and so no content."""
    digits = sum(map(str.isdigit, _DATED.sub("", name)))
    return _WORDS.fullmatch(name) is not None and digits <= _DIGITS

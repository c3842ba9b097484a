"""The version of what the processes of a deployment say to each other, while programs are changed.

One number stands for the frames of the kill feed, the requests that gateways pass on to each other,
what they share and what each says of itself. In a roll-out two programs run side by side, and each
hears the other. So a format is read one release before any program says it: who says N reads N-1, N
and N+1. What is further apart is refused (PC7087). A field that may be missing needs no new number.
"""

from __future__ import annotations

from typing import Final

from portcullis.core.errors import Problem

FORMAT: Final = 1
"""What this program says."""
STRANGE: Final = "PC7087"


def readable(version: int, own: int | None = None) -> bool:
    """Whether a program that says ``own``, by default this one, reads this version."""
    return abs(version - (FORMAT if own is None else own)) <= 1


def read(version: int, what: str) -> None:
    """Raise Problem PC7087 for ``what`` in a version that is not read here."""
    if not readable(version):
        raise Problem(STRANGE, f"{what} is of format {version}, and {FORMAT} is ours")

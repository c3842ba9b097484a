"""The port to what makes a secret another one: a hook for each source of secrets."""

from __future__ import annotations

from typing import Protocol


class RotationHook(Protocol):
    """Has the source of a secret make it another one.

    ``rotate`` is told which (a whole reference, ``file:PATH``) and never its value, and returns
    when the source says that it is done; whether it is, its caller sees for himself. It may be
    asked again for the same secret. Raises Problem PC7071 when the source says that it is not
    done, PC7072 when it takes too long.
    """

    async def rotate(self, reference: str) -> None:
        """See above."""
        ...

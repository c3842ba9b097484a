"""Who looks at a page."""

from __future__ import annotations

from dataclasses import dataclass

from portcullis.core.break_glass import BrokenGlass
from portcullis.core.call import Context
from portcullis.core.rights import Right


@dataclass(frozen=True, slots=True)
class Visitor:
    """A logged-in operator, found anew for each request.

    ``csrf`` is the hidden field of every form, bound to this login. It ends at ``expires_at`` and
    began at ``since`` (seconds since the epoch; renewals of the token do not count). ``waiting``
    is how many calls wait for a human now; ``glass`` is who broke the glass and was not reviewed.
    ``rights`` are what the roles of this login give; none when it is good for a passkey alone.
    """

    context: Context
    csrf: str
    expires_at: float
    since: float
    rights: frozenset[Right] = frozenset()
    waiting: int = 0
    glass: tuple[BrokenGlass, ...] = ()

    @property
    def name(self) -> str:
        """The operator's name."""
        return self.context.principal.id

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of this login; it may have none though the operator has."""
        return self.context.principal.roles

    def may(self, right: str) -> bool:
        """Whether it has this right. Raises ValueError for what is none."""
        return Right(right) in self.rights

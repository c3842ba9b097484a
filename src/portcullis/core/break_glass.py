"""Breaking the glass: an operator with more rights for a while, which somebody else reviews.

It is active until ``ends_at``, or until somebody ends it; from then on it waits for its review,
and is closed by it. Nothing leads back.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Judgement: TypeAlias = Literal["", "justified", "unjustified"]


class BrokenGlass(msgspec.Struct, frozen=True, kw_only=True):
    """One time that an operator broke the glass. Times are seconds since the epoch, 0: not yet.

    ``credential`` is the id of the token that has ``roles``. ``ended_at`` is when somebody ended it
    before its time; ``reminded_at`` when people were last told that it waits for its review.
    ``judgement`` and ``note`` are what the review said.
    """

    id: str
    operator: str
    credential: str
    reason: str
    roles: tuple[str, ...]
    began_at: float
    ends_at: float
    reminded_at: float
    ended_at: float = 0.0
    closed_at: float = 0.0
    closed_by: str = ""
    judgement: Judgement = ""
    note: str = ""

    def active(self, now: float) -> bool:
        """Whether the rights last."""
        return not self.ended_at and now < self.ends_at

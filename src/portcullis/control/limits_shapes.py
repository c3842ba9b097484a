"""What is left of a limit, as the APIs show it."""

from __future__ import annotations

from portcullis.control.limits import Left
from portcullis.control.shapes import Shape


class LimitLeft(Shape):
    """One count: of which limit, for whom, and what is left of it until `resets_at`.

    Numbers are in the measure's unit: tokens, rows, bytes, calls, and of cost millionths of a US
    dollar. A user's name stands in `whose` as a digest. Of a limit that policy has no more,
    `ceiling` is 0. Times are seconds since the epoch.
    """

    limit: str
    measure: str
    window: str
    whose: dict[str, str]
    used: int
    ceiling: int
    left: int
    resets_at: float

    @classmethod
    def of(cls, left: Left) -> LimitLeft:
        """The view of a count."""
        names = cls.model_fields
        return cls.model_validate({name: getattr(left, name) for name in names})

"""Who may approve something, as the control plane's API says it."""

from __future__ import annotations

from portcullis.control.shapes import Shape
from portcullis.oversight.approvers import Ruled


class RuledView(Shape):
    """A rule about who may approve it: whom it names, and whether ``you`` are of them."""

    rule: str
    operators: list[str]
    teams: list[str]
    you: bool

    @classmethod
    def of(cls, found: Ruled) -> RuledView:
        """The view of a rule."""
        return cls(
            rule=found.rule,
            operators=list(found.operators),
            teams=list(found.teams),
            you=found.you,
        )

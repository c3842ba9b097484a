"""What a permission obliges the gate to: a grant is good only together with its obligations."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

EACH: Final = "*"
"""The step of a path that stands for every item of a list, and for every member of an object."""
NAMES: Final = "{}"
"""The last step of a column that is the names of an object's members."""
MOST_APPROVERS: Final = 2

Scalar: TypeAlias = str | int | float | bool


class MaskTreatment(StrEnum):
    """What becomes of a column of a result: a token in its place, a keyed digest, or nothing.

    From the mildest to the strictest.
    """

    HASH = "hash"
    MASK = "mask"
    DROP = "drop"


class ColumnMask(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a result and its treatment.

    ``path`` are member names from the result's root, ``*`` for every item of a list; with ``{}`` at
    its end, the names of the members there.
    """

    path: tuple[str, ...]
    treatment: MaskTreatment


class RowScope(msgspec.Struct, frozen=True, kw_only=True):
    """Which records of a result may go on: those whose field is one of ``values``.

    ``name`` is what policy calls it. Each of ``paths`` leads to the field; the record is the item
    of the innermost list on the way, the whole result where there is none. At least one of them
    has to fit the result, and every one that fits counts.
    """

    name: str
    paths: tuple[tuple[str, ...], ...]
    values: tuple[Scalar, ...]


class Obligations(msgspec.Struct, frozen=True, kw_only=True):
    """What must be done when a call that a grant allows goes on.

    ``mask`` are columns of its result, ``rows`` say which of its records may be seen, ``log`` are
    the top-level arguments that stand in the log in clear beside those of the catalogue.
    ``approvers`` is how many people have to let it through: 0 for none, 1 for
    ``require-approval``, 2 for ``second-approver``; ``by_risk`` has pairs of a class of risk and
    the number for a call whose arguments raise it to that. Obligations of several rules add up:
    every mask, every name, the highest number.
    """

    mask: tuple[ColumnMask, ...] = ()
    log: tuple[str, ...] = ()
    approvers: int = 0
    rows: tuple[RowScope, ...] = ()
    by_risk: tuple[tuple[str, int], ...] = ()

    def people(self, risk: str) -> int:
        """How many have to let through a call of this class of risk."""
        return max(self.approvers, *(number for one, number in self.by_risk if one == risk), 0)

    @property
    def on_results(self) -> bool:
        """Whether anything is done with what comes back."""
        return bool(self.mask or self.rows)


def joined(several: Iterable[Obligations | None]) -> Obligations | None:
    """The obligations of several rules as one; None where none has any."""
    found = [one for one in several if one is not None]
    if len(found) < 2:  # noqa: PLR2004 - nothing to add up
        return found[0] if found else None
    return Obligations(
        mask=tuple(dict.fromkeys(mask for one in found for mask in one.mask)),
        log=tuple(dict.fromkeys(name for one in found for name in one.log)),
        approvers=max(one.approvers for one in found),
        rows=tuple(dict.fromkeys(scope for one in found for scope in one.rows)),
        by_risk=tuple(dict.fromkeys(pair for one in found for pair in one.by_risk)),
    )

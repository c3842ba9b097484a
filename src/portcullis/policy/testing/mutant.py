"""One mutant: what is changed, and which case would notice."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from portcullis.policy.testing.tree import Edit, Part, entry_name

Change: TypeAlias = Literal["drop", "flip", "widen", "narrow", "raise", "lower", "swap"]


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """A policy with one change. ``needs`` is what case would kill it."""

    change: Change
    path: str
    origin: str
    told: str
    needs: str
    edits: tuple[Edit, ...]


def mutant(change: Change, part: Part, told: str, needs: str, *edits: Edit) -> Mutant:
    """The mutant that changes ``part``."""
    return Mutant(
        change=change,
        path=part.path,
        origin=part.place.origin,
        told=told,
        needs=needs,
        edits=edits,
    )


def dropped(part: Part, needs: str, *, prune: bool = False) -> Mutant:
    """The mutant that has ``part`` no more."""
    said = entry_name(part.value) if isinstance(part.steps[-1], int) else ""
    told = f"without {part.path}{f' {said}' if said else ''}"
    edit = Edit("drop", part.file, part.steps, prune=prune)
    return mutant("drop", part, told, needs, edit)

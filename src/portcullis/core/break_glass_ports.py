"""The port of operators who break the glass."""

from __future__ import annotations

from typing import Protocol

from portcullis.core.break_glass import BrokenGlass


class GlassBook(Protocol):
    """Where they are on record, the same for all processes of a deployment. Every method blocks.

    A method that fails raises Problem PC9002, and nothing was changed. ``begin`` adds one. ``list``
    gives the newest ones, the newest first; ``open`` all that no review has closed. ``replace``
    puts ``new`` in the place of ``old`` and says whether that was still what is on record.
    """

    def begin(self, one: BrokenGlass) -> None: ...
    def get(self, glass_id: str) -> BrokenGlass | None: ...
    def list(self, limit: int) -> tuple[BrokenGlass, ...]: ...
    def open(self) -> tuple[BrokenGlass, ...]: ...
    def replace(self, old: BrokenGlass, new: BrokenGlass) -> bool: ...

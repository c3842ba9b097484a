"""Which test proved a control last: the record that a run of the whole test suite leaves.

The record maps each cell of control, route and phase to the tests that passed and fill it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from portcullis.core.errors import Problem
from portcullis.review.mapping import register


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run: when (ISO 8601), of which version, and which tests filled which cells."""

    made: str
    version: str
    cells: dict[str, tuple[str, ...]]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a run proved of one control: so many of its ``cells``, by these ``tests``."""

    cells: int
    proven: int
    tests: tuple[str, ...]


def read_record(path: Path) -> Record:
    """The record in a file. Raises Problem PC7053."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except OSError as error:
        raise Problem("PC7053", f"{path}: {error.strerror or type(error).__name__}") from None
    except msgspec.MsgspecError as error:
        raise Problem("PC7053", f"{path}: {error}") from None


def proofs(record: Record | None) -> dict[str, Proof]:
    """What is proven of each control of the register; nothing without a record."""
    needed: dict[str, list[str]] = {control.id: [] for control in register().controls}
    for control, route, phase in register().cells():
        needed[control].append(f"{control}/{route}/{phase}")
    found = {}
    for control, cells in needed.items():
        filled = [cell for cell in cells if record is not None and record.cells.get(cell)]
        tests = {test for cell in filled for test in (record.cells[cell] if record else ())}
        found[control] = Proof(cells=len(cells), proven=len(filled), tests=tuple(sorted(tests)))
    return found

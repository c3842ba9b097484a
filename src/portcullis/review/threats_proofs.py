"""Which test proved a control last: the record that a run of the whole test suite leaves.

The record maps each cell of control, route and phase to the tests that passed and fill it. A run in
a clone leaves it at one place below it (``build/controls.json``), where it is found again.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

import portcullis
from portcullis.core.errors import Problem
from portcullis.review.mapping import register

_PACKAGE: Final = Path(portcullis.__file__).parent
_CLONE: Final = _PACKAGE.parents[1]
_DAY: Final = 86400
PLACE: Final = Path("build/controls.json")
"""Where a full run leaves its record, below the clone."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run: when (ISO 8601), of what, and which tests filled which cells.

    ``digest`` is the ``code_digest`` of what was tested.
    """

    made: str
    version: str
    commit: str = ""
    digest: str = ""
    cells: dict[str, tuple[str, ...]]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Whose proofs these are. ``same``: what was tested is the code that runs here."""

    made: str
    days: int
    version: str
    commit: str
    same: bool


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a run proved of one control: so many of its ``cells``, by these ``tests``."""

    cells: int
    proven: int
    tests: tuple[str, ...]


def read_record(path: Path) -> Record:
    """The record in a file. Raises Problem PC7053."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Record)
        _made(found)
    except OSError as error:
        raise Problem("PC7053", f"{path}: {error.strerror or type(error).__name__}") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise Problem("PC7053", f"{path}: {error}") from None
    return found


def own_record(clone: Path = _CLONE) -> Record | None:
    """What the last full run left in the clone that this runs from.

    None where there is none, and for what cannot be read: it proves nothing.
    """
    if not (clone / "pyproject.toml").exists():
        return None
    try:
        return read_record(clone / PLACE)
    except Problem:
        return None


def run_of(record: Record, now: float) -> Run:
    """Which run it was, at the time ``now`` (seconds of the epoch)."""
    age = now - _made(record).timestamp()
    return Run(
        made=record.made,
        days=max(0, int(age // _DAY)),
        version=record.version,
        commit=record.commit,
        same=record.digest == code_digest(),
    )


def _made(record: Record) -> datetime:
    found = datetime.fromisoformat(record.made)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@cache
def code_digest() -> str:
    """SHA-256 over the program: every file of Python and every data file that is YAML or Rego."""
    whole = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*")):
        if path.suffix in {".py", ".yaml", ".rego"}:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{path.relative_to(_PACKAGE)} {content}\n".encode())
    return whole.hexdigest()


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

"""Files of what was measured, a line of JSON each: so a long measurement can be gone on with.

A process that is killed may leave a line that is broken off: that one is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from portcullis.core.errors import Problem

T = TypeVar("T")


def kept(file: Path | None, kind: type[T]) -> list[T]:
    """What a file has, or none has. Problem PC7004 where its lines are something else."""
    if file is None or not file.exists():
        return []
    whole = _whole(file.read_bytes())
    try:
        return [msgspec.json.decode(line, type=kind) for line in whole.splitlines()]
    except msgspec.DecodeError:
        raise Problem("PC7004", f"{file} is no file of such measurements") from None


def keep(file: Path | None, cell: msgspec.Struct) -> None:
    """Add a line."""
    if file is None:
        return
    with file.open("a+b") as lines:
        lines.seek(0)
        lines.truncate(len(_whole(lines.read())))
        lines.write(msgspec.json.encode(cell) + b"\n")


def _whole(content: bytes) -> bytes:
    """All lines that have an end."""
    return content[: content.rfind(b"\n") + 1]

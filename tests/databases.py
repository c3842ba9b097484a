"""New databases for tests that are not about making one: copies of one that was migrated once."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from sqlalchemy import Engine

from portcullis.store.engine import open_sqlite


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "portcullis.db")
        open_sqlite(path).dispose()
        return path.read_bytes()


def place_database(path: Path) -> None:
    """An empty database at ``path``, which is free, as ``open_sqlite`` makes one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(_migrated())


def new_database(path: Path) -> Engine:
    """An empty database at ``path``, which is free, as ``open_sqlite`` makes and opens it."""
    place_database(path)
    return open_sqlite(path)

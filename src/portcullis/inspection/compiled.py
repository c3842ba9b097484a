"""Compiled databases in a folder: what takes seconds to compile is compiled once.

A file is named after what its database is made of, by which version of the library and on which
processor, and begins with a digest: what is damaged is compiled anew.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from functools import cache
from pathlib import Path
from typing import Any


def place(library: Any, folder: Path, kind: str, made_of: object) -> Path:
    """Where a database lies; ``made_of`` is anything whose ``repr`` says it all."""
    whole = (library.__version__, platform.machine(), _processor(), made_of)
    return folder / f"{kind}-{hashlib.sha256(repr(whole).encode()).hexdigest()[:32]}.hs"


def kept(library: Any, file: Path) -> Any:
    """The database of a file, or None when there is none that can be used."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        return None
    try:
        return library.loadb(data[32:], library.HS_MODE_BLOCK)
    except library.error:
        return None


def keep(library: Any, file: Path, database: Any) -> None:
    """Write atomically, readable to the gate alone. A folder that cannot be written is no fault."""
    payload = library.dumpb(database)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}-")
        with os.fdopen(number, "wb") as writer:
            writer.write(hashlib.sha256(payload).digest() + payload)
        Path(name).replace(file)
    except OSError:
        return


@cache
def _processor() -> str:
    """What the processor can do, where the system tells: databases may run on no other."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")

"""What one durable write costs on the disk that holds the gate's state."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Final

_BLOCK: Final = b"\0" * 4096


def fdatasync_ms(folder: Path, samples: int) -> tuple[float, ...]:
    """Append 4 KiB and fdatasync(2) it, ``samples`` times; milliseconds of each pair."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(samples):
            began = time.perf_counter()
            os.write(file.fileno(), _BLOCK)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - began) * 1000)
    return tuple(taken)

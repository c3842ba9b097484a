"""The fleet's disk: of memory, in a mount namespace of the storm's own. It can be full.

Run within ``unshare --mount``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path


class Disk:
    """``place`` is where it is mounted."""

    def __init__(self, place: Path, size: str = "192m") -> None:
        self.place = place
        place.mkdir(mode=0o700)
        mount = ("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", place)
        subprocess.run(mount, check=True, timeout=20)

    def fill(self) -> None:
        """Take all that is left."""
        with contextlib.suppress(OSError), (self.place / "filler").open("ab", 0) as file:
            for size in (1 << 22, 1 << 12):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def left(self) -> int:
        """Bytes that may still be written."""
        found = os.statvfs(self.place)
        return found.f_bavail * found.f_bsize

    def end(self) -> None:
        """Take it away, whoever still uses it."""
        subprocess.run(("umount", "--lazy", self.place), check=True, timeout=20)

    def free(self) -> None:
        """Give it back."""
        (self.place / "filler").unlink()

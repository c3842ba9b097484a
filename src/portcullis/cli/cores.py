"""No image of this process's memory is left behind: it holds keys and credentials."""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
"""prctl(2); see also proc(5) on what becomes of /proc/PID."""


def no_cores() -> None:
    """Have no core dumped of this process, nor its memory read by others of the same user.

    The limit holds for its children, too; what they are to the kernel they decide by themselves
    (execve(2) makes them dumpable again). Where the kernel has no such call nothing is done.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)

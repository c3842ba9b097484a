"""Who a box is on this machine: a user of its own, so that what is counted by user is its own.

The kernel counts by user what control groups do not: inotify instances, descriptors on their way
through sockets, pages of pipes, queued signals. Two boxes of one user could take them from each
other. Inside, every box is uid 65534.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final

_FIRST: Final = 2_000_000_000
"""Above all that systems give to people, services and subordinate ranges."""
_EACH: Final = 1024
_PROCESSES: Final = 2**16
ROOTS: Final = 100_000_000
"""So far above a box's user is the one that is the first of its namespace, while it is made."""

_NOBODY: Final = 65534

_taken: set[int] = set()
_taking = threading.Lock()


def take(stack: ExitStack) -> int:
    """A user that no other box of this process has until ``stack`` is closed, the lowest free.

    Two processes of one machine share none unless their ids are the same in the last 16 bits.
    Beyond 1023 boxes they share the last. In a user namespace that has not all of these (a
    container without privileges) it is uid 65534 for all boxes.
    """
    if not _there():
        return _NOBODY
    with _taking:
        free = (number for number in range(_EACH - 1) if number not in _taken)
        number = next(free, _EACH - 1)
        _taken.add(number)
    stack.callback(_give_back, number)
    return _FIRST + os.getpid() % _PROCESSES * _EACH + number


def _there(file: Path = Path("/proc/self/uid_map")) -> bool:
    """Whether our user namespace has all the users that boxes may be."""
    last = _FIRST + _PROCESSES * _EACH + ROOTS
    for line in file.read_text().splitlines():
        first, _, count = map(int, line.split())
        if first <= _FIRST and last <= first + count:
            return True
    return False


def _give_back(number: int) -> None:
    with _taking:
        _taken.discard(number)

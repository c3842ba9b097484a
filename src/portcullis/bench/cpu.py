"""Processor time and memory of other processes, read from Linux's /proc (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_PROC: Final = Path("/proc")
_SESSION, _TIMES = 3, slice(11, 15)  # fields of /proc/PID/stat, counted after the command's name


def members(session: int) -> tuple[int, ...]:
    """The pids of a process session (setsid(2)): a leader and what it started."""
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and int(fields[_SESSION]) == session:
                found.append(int(entry.name))
    return tuple(sorted(found))


def seconds(pids: Iterable[int]) -> float:
    """User and system time so far of all threads of these processes, and of children that ended.

    One that is gone counts 0: who waited for it has its time.

    The kernel's count is exact but handed out in ticks (mostly 10 ms): measure over much longer.
    """
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            ticks += sum(map(int, fields[_TIMES]))
    return ticks / _TICK


def resident_mb(pid: int) -> float:
    """Memory of a process that is in RAM, in MiB; 0 of one that is gone."""
    try:
        pages = int((_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * _PAGE / 2**20


def _stat(pid: int) -> list[str]:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()

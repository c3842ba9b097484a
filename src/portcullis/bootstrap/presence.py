"""What a running process says of itself in a file of its own below the state directory."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from portcullis.config.places import Role
from portcullis.core.errors import Problem
from portcullis.identity.private import write_private

GATE_FILE = "gate.json"
"""Below the state directory while something rules there: where it listens."""

Say: TypeAlias = Callable[[Mapping[str, str]], None]
"""Writes where it listens, by the names of the listeners."""


@contextlib.contextmanager
def presence(place: Path, role: Role) -> Iterator[Say]:
    """Say that this process runs, and as what, from when ``say`` is called until the block ends.

    Raises Problem PC7001 when that cannot be written.
    """
    pid = os.getpid()

    def say(urls: Mapping[str, str]) -> None:
        found = {**urls, "pid": pid, "started": started(pid), "role": role.value}
        write_private(place, json.dumps(found).encode())

    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Problem("PC7001", f"cannot use {place.parent}: {error.strerror}") from None
    try:
        yield say
    finally:
        place.unlink(missing_ok=True)


def started(pid: int) -> str:
    """When a process began, as the kernel counts (proc_pid_stat(5)); empty when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return fields.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


class Running(msgspec.Struct, frozen=True):
    """What there is in such a file: URLs and the process that wrote it.

    ``started`` tells that process from a later one of the same number.
    """

    pid: int
    started: str = ""
    role: Role = Role.ALONE
    control: str = ""
    gate: str = ""
    tls: str = ""
    mtls: str = ""
    egress: str = ""


def found_in(place: Path) -> Running | None:
    """What the process says that runs, None when none does.

    Raises Problem PC7001 for a file that is none of ours or another user's.
    """
    try:
        found = msgspec.json.decode(place.read_bytes(), type=Running)
        if found.started and found.started != started(found.pid):
            return None  # it left this file behind, and its number is another's now
        os.kill(found.pid, 0)
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return None
    except PermissionError as error:
        raise Problem(
            "PC7001", f"the gate of {place} is another user's: {error.strerror}"
        ) from None
    except msgspec.DecodeError:
        hint = "If no gate runs, remove that file."
        raise Problem("PC7001", f"{place} is not what a gate writes", hint=hint) from None
    return found


def present(place: Path) -> int | None:
    """The number of the process that says that it runs, if one does."""
    try:
        found = found_in(place)
    except Problem:
        return None
    return None if found is None else found.pid

"""What adapters have in common when they make a box of processes: where, and when it is there."""

from __future__ import annotations

import os
import re
import select
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.execution.sandbox import apparmor, root
from portcullis.execution.sandbox.cgroups import Group
from portcullis.execution.sandbox.launch import Launched

_TOP: Final = Path("/tmp")  # noqa: S108 - where everyone can walk to; in it a directory of our own
_NAME: Final = re.compile(r"portcullis-box-(\d+)-")
SECONDS: Final = 20.0
"""So long a box may take to be made."""
_FIRST: Final = apparmor.TAKE + 'echo >&3; read -r _ <&4; exec 3>&- 4>&-; exec "$@"'


def first() -> tuple[str, ...]:
    """Runs inside, when everything holds, before the command.

    It says so on descriptor 3, waits for a line on descriptor 4, closes both and becomes the
    command, under our AppArmor profile where that is loaded.
    """
    return ("/bin/sh", "-c", _FIRST, "box", apparmor.loaded())


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A box that runs, before the loop knows of it; its ``ProcessBox`` closes the descriptors."""

    launched: Launched
    group: Group | None
    first: int | None
    scratch: int | None
    sweep: Callable[[], None] = lambda: None
    """Takes away what else was made for it, when it has ended."""


class Place(msgspec.Struct, frozen=True):
    """The directory of a launch, and our ends of its two named pipes.

    By name because a shell can close only descriptors below ten: none may be left in the box.
    """

    directory: Path
    ready: int
    go: int


def sweep(top: Path = _TOP) -> None:
    """Take away the directories of our user's that a process which is no more has left."""
    for found in top.glob("portcullis-box-*-*"):
        named = _NAME.match(found.name)
        with suppress(OSError):
            status = found.lstat()
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if named and ours and not Path("/proc", named[1]).exists():
                shutil.rmtree(found, ignore_errors=True)


def place(stack: ExitStack) -> Place:
    """Make the directory of a launch; it goes with ``stack``, and the descriptors do."""
    made = tempfile.TemporaryDirectory(prefix=f"portcullis-box-{os.getpid()}-", dir=_TOP)
    directory = Path(stack.enter_context(made))
    directory.chmod(0o711)
    (directory / "mounts").mkdir(0o711)
    (directory / "state").mkdir(0o700)
    ends = []
    for name, flags in (("ready", os.O_RDONLY | os.O_NONBLOCK), ("go", os.O_RDWR)):
        os.mkfifo(directory / name, 0o600)
        ends.append(os.open(directory / name, flags | os.O_CLOEXEC))
        stack.callback(os.close, ends[-1])
    return Place(directory, *ends)


def keep(file: Path, text: bytes) -> None:
    """Write a new file that nobody else can read: what is told to a runtime has the environment."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags, 0o600), "wb") as kept:
        kept.write(text)


def begin(launched: Launched, adapter: str) -> None:
    """Start it; Problem PC5031 when there is no process."""
    launched.start()
    try:
        launched.started.result(SECONDS)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its order is malformed"
        raise Problem("PC5031", f"{adapter} cannot be started: {reason}") from None


def wait(place: Place, launched: Launched, adapter: str) -> None:
    """Wait until the box says that it holds; Problem PC5031 when it ends or is silent instead."""
    waiting = select.poll()
    waiting.register(place.ready, select.POLLIN)
    if waiting.poll(SECONDS * 1000) and os.read(place.ready, 1):
        return
    launched.kill()
    raise Problem("PC5031", f"{adapter} could not make the box; it says why on its standard error")


def go(place: Place, pid: int | None) -> tuple[int | None, int | None]:
    """Let it run; descriptors of its first process and of its /scratch, None where unknown."""
    try:
        return _inside(pid) if pid is not None else (None, None)
    finally:
        os.write(place.go, b"\n")


def _inside(pid: int) -> tuple[int | None, int | None]:
    first = None
    with suppress(OSError):
        first = os.pidfd_open(pid)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
        return first, os.open(f"/proc/{pid}/root{root.SCRATCH}", flags)
    return first, None

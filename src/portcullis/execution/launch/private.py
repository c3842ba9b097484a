"""The directory of one run: what is to be in its box, readable by the box's user and by us."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from portcullis.core.sandbox import Mount
from portcullis.execution.launch.plan import PLACE

_LISTEN = 64
_PEER = struct.Struct("3i")
"""Who connected: process, user, group (unix(7), SO_PEERCRED)."""
_FOLDER = "/tmp"  # noqa: S108 - mkdtemp; a socket's path has to be short (unix(7)), TMPDIR may be long


_NAME = re.compile(r"portcullis-run-(\d+)-")


class Listening(socket.socket):
    """A listening Unix socket that only a box of ours can connect to.

    Until it is forgotten its name can be found by others of the group that the box runs with: who
    neither descends from this process nor is in a control group that it made is not accepted.
    ``shared`` is False where the directory is ours alone.
    """

    shared = False

    def accept(self) -> tuple[socket.socket, Any]:
        """See socket; BlockingIOError, as if nobody had come, for who is refused."""
        made, address = super().accept()
        if not self.shared or _boxed(made):
            return made, address
        made.close()
        raise BlockingIOError


def _boxed(made: socket.socket) -> bool:
    shown = made.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    process = _PEER.unpack(shown)[0]
    try:
        groups = Path(f"/proc/{process}/cgroup").read_bytes()
        if b"/portcullis-%d-" % os.getpid() in groups:
            return True
        while process > 1:
            status = Path(f"/proc/{process}/stat").read_bytes()
            process = int(status.rpartition(b")")[2].split()[1])
            if process == os.getpid():
                return True
    except OSError:  # it is gone
        return False
    return False


class Private:
    """Makes files and sockets there; each is mounted on its own, read-only, below ``PLACE``.

    Once the box has them, ``forget`` takes the directory away: a name outside is not needed any
    more, and nothing is left behind however the launcher ends.
    """

    def __init__(self, path: Path, group: int | None) -> None:
        self.path = path
        self._group = group
        self._names: list[str] = []

    def file(self, name: str, text: str | bytes) -> None:
        """Write a file."""
        (self.path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        self.add(name)

    def socket(self, name: str) -> socket.socket:
        """A listening Unix socket."""
        made = Listening(socket.AF_UNIX, socket.SOCK_STREAM)
        made.shared = self._group is not None
        made.bind(str(self.path / name))
        made.listen(_LISTEN)
        self.add(name)
        return made

    def add(self, name: str) -> None:
        """Have something that is there in the box."""
        place = self.path / name
        directory = place.is_dir()
        if self._group is not None:
            os.chown(place, -1, self._group)
        group = 0 if self._group is None else 0o50 if directory else 0o60
        place.chmod((0o700 if directory else 0o600) | group)
        self._names.append(name)

    def mounts(self) -> tuple[Mount, ...]:
        """All of it."""
        return tuple(
            Mount(source=self.path / name, target=f"{PLACE}/{name}") for name in self._names
        )

    def forget(self) -> None:
        """Take the directory away."""
        shutil.rmtree(self.path, ignore_errors=True)


def sweep(top: Path = Path(_FOLDER)) -> None:
    """Take away the directories of our user's that a launcher which is no more has left."""
    for found in top.glob("portcullis-run-*-*"):
        named = _NAME.match(found.name)
        with contextlib.suppress(OSError):
            status = found.lstat()
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if named and ours and not Path("/proc", named[1]).exists():
                shutil.rmtree(found, ignore_errors=True)


@contextlib.contextmanager
def private(uid: int) -> Iterator[Private]:
    """A directory for a box that runs as ``uid``; gone at the end.

    Only root can give a box a user that is not its own: then that user's group may read.
    """
    sweep()
    path = Path(tempfile.mkdtemp(prefix=f"portcullis-run-{os.getpid()}-", dir=_FOLDER))
    group = uid if os.geteuid() == 0 else None
    try:
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o710)
        made = Private(path, group)
        yield made
    finally:
        shutil.rmtree(path, ignore_errors=True)

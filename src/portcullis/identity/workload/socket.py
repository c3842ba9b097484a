"""The Workload API's public Unix socket: where it may lie, and when an old one may go.

The API never asks a caller to authenticate itself (SPIFFE_Workload_API.md section 3): whoever
reaches the socket is attested. So the socket's mode lets every user connect, and what keeps users
away, if anything should, is its directory. A relative ``listen.workload`` lies in the state
directory, which only the gate's own user can enter; for workloads of other users give an absolute
path, such as ``/run/portcullis/workload.sock``, in a directory that they can enter but not write.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from portcullis.core.errors import Problem

MAX_PATH: Final = 107
"""Longest path of a Unix socket in bytes (unix(7))."""

_BACKLOG: Final = 128


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at ``path`` (mode 0666) and is gone, file and all, after the block.

    Makes a missing directory (0755). A socket file that nobody listens at any more is replaced.
    Raises Problem PC7001 when somebody does, when something else lies there, when the path is too
    long, or when others may replace files in its directory.
    """
    if len(os.fsencode(path)) > MAX_PATH:
        hint = f"Set listen.workload to a path of at most {MAX_PATH} bytes."
        raise Problem("PC7001", "listen.workload: the path is too long for a socket", hint=hint)
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as public:
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _refuse_writable(path.parent)
            _clear(path)
            public.bind(os.fspath(path))
            path.chmod(0o666)  # nobody is let in before it listens
            ours = path.lstat()
            public.listen(_BACKLOG)
        except OSError as error:
            detail = f"listen.workload: {path} cannot be used: {error.strerror}"
            raise Problem("PC7001", detail) from None
        public.settimeout(0)
        try:
            yield public
        finally:
            with contextlib.suppress(OSError):
                if os.path.samestat(path.lstat(), ours):
                    path.unlink()


def _refuse_writable(directory: Path) -> None:
    mode = directory.stat().st_mode
    if mode & 0o022 and not mode & stat.S_ISVTX:
        hint = f"Run `chmod go-w {directory}`."
        raise Problem("PC7001", f"others may replace files in {directory}", hint=hint)


def _clear(path: Path) -> None:
    """Remove a socket file that nobody listens at."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Problem("PC7001", f"listen.workload: {path} is there and is not a socket")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(0)  # a full backlog is a listener, too
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise Problem("PC7001", f"listen.workload: another process listens at {path}")

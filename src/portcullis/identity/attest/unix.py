"""Attestation of the process at the other end of a Unix socket, by what the kernel says of it.

The process is pinned when its connection is accepted: by a pidfd and by an open handle on its
directory in ``/proc``, so that another process that gets its number later is never taken for it.
What cannot be read yields no selector. Without CAP_SYS_PTRACE the kernel shows a process's
executable only to its own user: then there are no ``path`` and ``sha256`` for other users.

What this cannot tell apart: two programs of the same user, where one can debug the other, run it
with other libraries, or hand it a socket. Give workloads that must not be mixed up users of their
own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from portcullis.core.errors import Problem
from portcullis.identity.attest.selectors import SHA256

MAX_EXECUTABLE: Final = 512 * 2**20
"""Largest executable that is hashed, in bytes."""

_UCRED: Final = struct.Struct("=iII")
_SO_PEERPIDFD: Final = 77  # asm-generic/socket.h, Linux 6.5; not in Python's socket module
_PIECE: Final = 2**20
_MAX_TEXT: Final = 2**20  # beyond 65536 groups
_START_TIME: Final = 22 - 3  # proc_pid_stat(5), counted from the field behind the name
_ID_FIELDS: Final = 4  # real, effective, saved, file system

_FileKey = tuple[int, int, int, int, int]


class Digests:
    """SHA-256 of executables, remembered as long as device, inode, times and size stay."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._known: dict[_FileKey, str] = {}

    def of(self, handle: int) -> str | None:
        """The hex digest of an open file; None: too large, unreadable, or it changed meanwhile."""
        try:
            return self._of(handle)
        except OSError:
            return None

    def _of(self, handle: int) -> str | None:
        key = _key(os.fstat(handle))
        known = self._known.get(key)
        if known is not None:
            return known
        digest, at = hashlib.sha256(), 0
        while piece := os.pread(handle, _PIECE, at):
            digest.update(piece)
            at += len(piece)
            if at > MAX_EXECUTABLE:
                return None
        if _key(os.fstat(handle)) != key:
            return None
        while len(self._known) >= self._size:
            self._known.pop(next(iter(self._known)), None)
        return self._known.setdefault(key, digest.hexdigest())


def credentials(connection: socket.socket) -> tuple[int, int, int]:
    """The pid, uid and gid that the peer of a Unix socket had when it connected (unix(7))."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    return pid, uid, gid


class Process:
    """The peer of an accepted Unix socket. ``pidfd`` becomes readable when it ends.

    ``path`` is its executable as last attested, empty while that is not known.
    Raises Problem PC2060 when it is gone already, or lives where we cannot see it (another PID
    namespace). Close it: it holds two file handles, which stay until a running ``attest`` is done.
    Use it from any thread.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.pid, self.uid, self.gid = credentials(connection)
        if self.pid <= 0:
            raise Problem("PC2060", "the caller's process cannot be seen from here")
        self.path = ""
        self._lock = threading.Lock()
        self._users = 1  # the connection, and each look at the process
        self._closed = False
        self.pidfd = _pidfd(connection, self.pid)
        try:
            self._proc = os.open(f"/proc/{self.pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            os.close(self.pidfd)
            raise Problem("PC2060", "the caller's process is gone") from None
        try:
            self._first = self._standing()
        except Problem:
            self.close()
            raise

    @property
    def source(self) -> str:
        """Who it is, for the log."""
        return f"uid:{self.uid} pid:{self.pid} exe:{self.path or '?'}"

    def alive(self) -> bool:
        """Whether the process has not ended, nor its connection."""
        try:
            with self._open():
                return self._runs()
        except Problem:
            return False

    def close(self) -> None:
        """Let go of the handles, at the latest when a running ``attest`` is done."""
        if not self._closed:
            self._closed = True
            self._leave()

    def attest(self, digests: Digests, hashed: Callable[[frozenset[str]], bool]) -> frozenset[str]:
        """The process's selectors. Blocks: it may read the executable.

        ``hashed`` gets the selectors but for the hash and says whether the hash is wanted.
        Raises Problem PC2060 when the process has ended or is no longer what it was when its
        connection was accepted: its start, its user, its group or its executable.
        """
        with self._open():
            if self._standing() != self._first:
                raise Problem("PC2060", "the caller is no longer the process that connected")
            selectors = {f"unix:uid:{self.uid}", f"unix:gid:{self.gid}"}
            selectors.update(f"unix:gid:{group}" for group in self._numbers("Groups:"))
            selectors.update(f"unix:cgroup:{path}" for path in self._cgroups())
            self.path = self._executable(selectors, digests, hashed)
            if self._standing() != self._first:
                raise Problem("PC2060", "the caller changed while it was looked at")
        return frozenset(selectors)

    @contextlib.contextmanager
    def _open(self) -> Iterator[None]:
        """Keep the handles open: a closed one's number may soon be another file's."""
        with self._lock:
            if not self._users:
                raise Problem("PC2060", "the caller has closed its connection")
            self._users += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                os.close(self._proc)
                os.close(self.pidfd)

    def _runs(self) -> bool:
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return not poll.poll(0)

    def _executable(
        self,
        selectors: set[str],
        digests: Digests,
        hashed: Callable[[frozenset[str]], bool],
    ) -> str:
        """Add ``path`` and ``sha256``; returns the path. What cannot be read is left out."""
        try:
            handle = os.open("exe", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError:
            return ""
        try:
            path = self._path(handle)
            if path:
                selectors.add(f"unix:path:{path}")
            digest = digests.of(handle) if hashed(frozenset(selectors)) else None
            if digest is not None:
                selectors.add(f"{SHA256}{digest}")
            return path
        finally:
            os.close(handle)

    def _path(self, handle: int) -> str:
        """Where the executable lies, if the very same file lies there for us too, or empty.

        So a deleted or replaced file has no path, nor has one that only seems to lie there in
        a mount namespace of the caller's own making.
        """
        try:
            path = os.readlink("exe", dir_fd=self._proc)
            there = Path(path).lstat()
        except (OSError, ValueError):
            return ""
        same = stat.S_ISREG(there.st_mode) and os.path.samestat(there, os.fstat(handle))
        return path if same and path.startswith("/") and path.isprintable() else ""

    def _cgroups(self) -> set[str]:
        paths = {line.split(":", 2)[-1] for line in self._text("cgroup").splitlines()}
        return {
            path
            for path in paths
            if path.startswith("/") and path.isprintable() and not path.endswith(" (deleted)")
        }

    def _standing(self) -> tuple[str, tuple[int, int] | None]:
        """Start time and executable. Problem PC2060: it ended, or has another user or group."""
        fields = self._text("stat").rpartition(")")[2].split()
        uids, gids = self._numbers("Uid:"), self._numbers("Gid:")
        if not self._runs() or len(fields) <= _START_TIME or len(uids) != _ID_FIELDS:
            raise Problem("PC2060", "the caller's process has ended")
        if uids[1] != self.uid or gids[1:2] != (self.gid,):
            raise Problem("PC2060", "the caller's process has changed its user or group")
        try:
            found = os.stat("exe", dir_fd=self._proc)
        except OSError:
            return fields[_START_TIME], None
        return fields[_START_TIME], (found.st_dev, found.st_ino)

    def _numbers(self, name: str) -> tuple[int, ...]:
        """A line of ``status`` that consists of numbers; empty when it is not there."""
        for line in self._text("status").splitlines():
            if line.startswith(name):
                return tuple(map(int, line.removeprefix(name).split()))
        return ()

    def _text(self, name: str) -> str:
        """A file of the process's in /proc, whole; empty when it cannot be read so."""
        try:
            handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError:
            return ""
        try:
            text = b""
            while len(text) <= _MAX_TEXT and (piece := os.read(handle, _MAX_TEXT)):
                text += piece
        except OSError:
            return ""
        finally:
            os.close(handle)
        return "" if len(text) > _MAX_TEXT else text.decode("utf-8", "surrogateescape")


def _pidfd(connection: socket.socket, pid: int) -> int:
    """A handle on the peer: from the socket itself where the kernel can (6.5), else by number.

    By number, a process could in theory have died and its number been given out again between
    its connecting and our accepting; from the socket it cannot.
    """
    try:
        return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        try:
            return os.pidfd_open(pid)
        except OSError:
            raise Problem("PC2060", "the caller's process is gone") from None


def _key(found: os.stat_result) -> _FileKey:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size

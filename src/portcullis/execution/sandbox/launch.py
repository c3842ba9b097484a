"""Starting the process that stands for a box: limits and control groups first, then the sandbox.

Each box has one thread of ours, from its start to its end: the kernel's "die with the parent" means
the thread that started it, and what root mounts for it is in that thread's mount namespace.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from portcullis.core.sandbox import Mount, Streams
from portcullis.execution.sandbox import kernel
from portcullis.execution.sandbox.staging import stage

# Joining the control groups comes first: what follows is counted. The privileges go last, because
# only root may join. A shell because it takes a millisecond, and does each of these by itself.
_SCRIPT: Final = """
groups=$1 files=$2 blocks=$3 place=$4
for file in $groups; do echo 0 > "$file" || exit 125; done
ulimit -c 0 && ulimit -n "$files" && ulimit -f "$blocks" || exit 125
exec 3> "$place/ready" 4<> "$place/go" || exit 125
shift 4
exec "$@"
"""
_DROP: Final = ("/usr/bin/setpriv", "--reuid={uid}", "--regid={uid}", "--clear-groups",
                "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--")  # fmt: skip


_SLICE: Final = 100_000
"""Nanoseconds that a process of a box runs before its neighbours get a turn, the least there is."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What is set before the sandbox itself runs: control groups, open files, bytes of a file.

    ``uid`` is what root becomes; an ordinary user stays what it is.
    """

    joins: tuple[Path, ...] = ()
    files: int
    file_bytes: int
    uid: int
    drops: bool = True
    """Whether the sandbox is to run without root's privileges (an OCI runtime needs them)."""


class Launched:
    """A process that was started and is waited for in a thread of its own."""

    def __init__(
        self,
        command: Callable[[Sequence[Path]], Sequence[str]],
        limits: Limits,
        streams: Streams,
        *,
        mounts: Sequence[Mount] = (),
        place: Path,
        descriptors: Sequence[int] = (),
    ) -> None:
        """``command`` is told where each of ``mounts`` is and returns what to run.

        ``place`` is a directory of this launch: in it the named pipes ``ready`` and ``go``, which
        become the descriptors 3 and 4, and an empty directory ``mounts``. ``descriptors`` are 10
        or more.
        """
        self._command, self._limits, self._streams = command, limits, streams
        self._mounts, self._descriptors = tuple(mounts), tuple(descriptors)
        self._place = place
        self.started: Future[int] = Future()
        """The process id, or the OSError why there is none."""
        self.status: Future[int] = Future()
        """How it ended: its exit status, negative for a signal."""
        for future in (self.started, self.status):
            # Whoever stops waiting for it does not take it away from the thread.
            future.set_running_or_notify_cancel()
        self._pid: int | None = None
        self._reaping = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="box", daemon=True)

    def start(self) -> None:
        """Start it; ``started`` tells."""
        self._thread.start()

    def kill(self) -> None:
        """Kill the process, unless it has been waited for: its id is then somebody else's."""
        with self._reaping:
            if self._pid is not None:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(self._pid, signal.SIGKILL)

    def _run(self) -> None:
        try:
            kernel.slices(_SLICE)
            process = self._spawn()
        except (OSError, ValueError) as error:
            self.started.set_exception(error)
            self.status.set_exception(error)
            return
        self._pid = process.pid
        self.started.set_result(process.pid)
        # Waits without reaping, so that the id stays its own until ``kill`` cannot use it.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._reaping:
            self._pid = None
            status = process.wait()
        self.status.set_result(status)

    def _spawn(self) -> subprocess.Popen[bytes]:
        root = os.geteuid() == 0
        places: Sequence[Path] = [one.source for one in self._mounts]
        if root and self._mounts:
            places = stage(self._mounts, self._limits.uid, self._place / "mounts")
        limits = self._limits
        drop = [one.format(uid=limits.uid) for one in _DROP] if root and limits.drops else []
        joins = " ".join(str(one) for one in limits.joins)
        blocks = str(limits.file_bytes // 512)
        line = ("/bin/sh", "-c", _SCRIPT, "box", joins, str(limits.files), blocks,
                str(self._place))  # fmt: skip
        return subprocess.Popen(  # noqa: S603 - what runs is the sandbox, given as a list
            (*line, *drop, *self._command(places)),
            stdin=self._streams.stdin,
            stdout=self._streams.stdout,
            stderr=self._streams.stderr,
            env={},
            pass_fds=self._descriptors,
            cwd="/",
            start_new_session=True,
        )

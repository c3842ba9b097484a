"""What root mounts for a box that runs as nobody: each source where nobody can reach it.

A box of root's runs as a user of its own, which cannot walk into root's directories. So each mount
is first bound below a directory in a mount namespace that only the box's starting thread has. There
its owner is also seen as the box's user (an idmapped mount, where the file system can): the box
then has of a mount what its owner has, read-only unless the order says otherwise.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from portcullis.core.sandbox import Mount
from portcullis.execution.sandbox import kernel, users

_USUAL: Final = 65536
_WAIT_SECONDS: Final = 10.0
_maps: dict[tuple[int, int, int], int] = {}
_mapping = threading.Lock()


def stage(mounts: Sequence[Mount], uid: int, place: Path) -> tuple[Path, ...]:
    """Bind every mount below ``place`` (an empty directory that ``uid`` can walk to) and say where.

    For a thread of its own, as root. OSError on failure.
    """
    kernel.own_mounts()
    copies: list[tuple[int, bool]] = []
    try:
        for one in mounts:
            copies.append(_copy(one, uid))  # noqa: PERF401 - one at a time, to be closed
        kernel.mount(
            "portcullis", str(place), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755"
        )
        found = []
        for index, (copy, directory) in enumerate(copies):
            target = place / str(index)
            target.mkdir() if directory else target.touch()
            kernel.attach(copy, str(target))
            found.append(target)
        return tuple(found)
    finally:
        for copy, _ in copies:
            os.close(copy)


def _copy(mount: Mount, uid: int) -> tuple[int, bool]:
    """A copy of what is at the source, and whether it is a directory.

    No link is followed: the source was resolved when the order was checked, and one that is there
    now was put there since.
    """
    place = kernel.open_plain(str(mount.source))
    try:
        status = os.fstat(place)
        copy = kernel.clone_tree(place)
    finally:
        os.close(place)
    try:
        if not mount.writable:
            # Also what is mounted below it, which not every runtime sees to. Linux 5.12.
            _able(lambda: kernel.read_only(copy))
        if status.st_uid != uid:
            # Not every file system can; the box then has what others have.
            with suppress(OSError):
                kernel.map_owners(copy, _map(status.st_uid, status.st_gid, uid))
    except BaseException:
        os.close(copy)
        raise
    return copy, stat.S_ISDIR(status.st_mode)


def _able(call: Callable[[], None]) -> None:
    """Make a system call, unless this kernel does not have it."""
    try:
        call()
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise


def _map(owner: int, group: int, uid: int) -> int:
    """A user namespace in which ``owner`` and ``group`` are ``uid``; kept, there are few."""
    with _mapping:
        if (owner, group, uid) not in _maps:
            _maps[owner, group, uid] = _made(owner, group, uid)
        return _maps[owner, group, uid]


def _made(owner: int, group: int, uid: int) -> int:
    maps = (_lines(owner, uid), _lines(group, uid))
    with ExitStack() as holding:
        pid = namespace(holding, maps)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def namespace(stack: ExitStack, maps: tuple[str, str], maker: int | None = None) -> int:
    """The id of a process in a user namespace of its own with those maps, until ``stack`` closes.

    ``maker`` is the user that makes it, and whose share of what is counted by user it has.
    """
    become = () if maker is None else (
        "/usr/bin/setpriv", f"--reuid={maker}", f"--regid={maker}", "--clear-groups", "--",
    )  # fmt: skip
    holder = subprocess.Popen(  # noqa: S603 - a fixed command
        (*become, "/usr/bin/unshare", "--user", "/bin/sh", "-c", "echo; exec sleep 60"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
    )
    stack.callback(holder.wait, _WAIT_SECONDS)
    stack.callback(holder.kill)
    with holder.stdout or open(os.devnull, "rb") as said:  # noqa: PTH123 - there is one
        if not said.read(1):
            raise OSError(errno.EPERM, "no user namespace can be made")
    for name, text in zip(("uid_map", "gid_map"), maps, strict=True):
        Path(f"/proc/{holder.pid}/{name}").write_text(text)
    return holder.pid


def _lines(owner: int, uid: int) -> str:
    """The owner is the box's user; every other id of the usual ones is itself."""
    taken = sorted({owner, uid})
    starts = [0, *(one + 1 for one in taken)]
    spans = [(start, min(end, _USUAL)) for start, end in zip(starts, [*taken, _USUAL], strict=True)]
    others = [f"{start} {start} {end - start}" for start, end in spans if end > start]
    # As itself: as whom a runtime makes a file before it gives that to the box's user.
    maker = f"{uid + users.ROOTS} {uid + users.ROOTS} 1"
    return "\n".join((f"{owner} {uid} 1", *others, maker)) + "\n"

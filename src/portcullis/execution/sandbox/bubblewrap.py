"""Boxes by bubblewrap: namespaces without privileges, our seccomp list, control groups of ours.

What a box sees: ``/usr`` and what belongs to it read-only, a few files of ``/etc``, ``/proc`` and
``/dev`` of its own, ``/tmp`` and ``/scratch`` in memory, and the mounts of its order. bubblewrap's
own arguments go through a descriptor: they hold the environment, and command lines are public.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec

from portcullis.core.sandbox import Ability, Network, Order, Streams
from portcullis.execution.sandbox import (
    cgroups,
    making,
    ports,
    probing,
    root,
    seccomp,
    users,
)
from portcullis.execution.sandbox.launch import Launched, Limits
from portcullis.execution.sandbox.processes import ProcessSandbox

_APART: Final = (
    "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
    "--unshare-cgroup-try", "--disable-userns", "--assert-userns-disabled",
    "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv",
)  # fmt: skip
_FIRST: Final = "/proc/1"


class Bubblewrap(ProcessSandbox):
    """A ``core.sandbox_ports.Sandbox``; ``program`` is bwrap, ``tree`` where groups are made."""

    name = "bubblewrap"

    def __init__(self, program: str = "bwrap", tree: cgroups.Tree | None = None) -> None:
        self._program = shutil.which(program)
        self._tree = tree
        self._ability: Ability | None = None

    def probe(self) -> Ability:
        """Say what is enforced here; the first time it makes a box to see."""
        if self._ability is None:
            if self._tree is None:
                self._tree = cgroups.find()
            self._ability = probing.probe(self.name, self._program, self._tree, self.make)
        return self._ability

    def make(self, order: Order, streams: Streams) -> making.Made:
        """Make it, and return when everything holds; Problem PC5031 when that cannot be."""
        tree = self._tree
        group = cgroups.make(tree, order.profile) if tree is not None and tree.places else None
        with ExitStack() as cleaning:
            uid = users.take(cleaning)
            if group is not None:
                cleaning.callback(group.remove)
                cleaning.callback(group.kill)
            launched, first, scratch = self._launched(order, streams, group, uid)
            sweep = cleaning.pop_all().close
        return making.Made(
            launched=launched, group=group, first=first, scratch=scratch, sweep=sweep
        )

    def _launched(
        self, order: Order, streams: Streams, group: cgroups.Group | None, uid: int
    ) -> tuple[Launched, int | None, int | None]:
        with ExitStack() as ours:
            place = making.place(ours)
            told, informing = _pipe(ours)
            with ExitStack() as theirs:
                informing = _passed(theirs, informing)
                made = {
                    target: _memory(theirs, text)
                    for target, text in root.made_files(order.profile).items()
                }
                files = {"filter": _memory(theirs, seccomp.program()), "info": informing}
                arguments = _memory(theirs, b"")

                def command(places: Sequence[Path]) -> Sequence[str]:
                    lines = _arguments(order, places, made, files)
                    os.write(arguments, b"".join(os.fsencode(one) + b"\0" for one in lines))
                    os.lseek(arguments, 0, os.SEEK_SET)
                    bwrap = (self._program or "bwrap", "--args", str(arguments), "--")
                    return (*bwrap, *making.first(), *order.argv)

                launched = Launched(
                    command,
                    _limits(order, group, uid),
                    streams,
                    mounts=order.mounts,
                    place=place.directory,
                    descriptors=(informing, arguments, files["filter"], *made.values()),
                )
                making.begin(launched, self.name)
            making.wait(place, launched, self.name)
            pid = _named(told)
            if pid is not None and order.profile.network is Network.GATE:
                ports.opened(pid)
            return (launched, *making.go(place, pid))


def _limits(order: Order, group: cgroups.Group | None, uid: int) -> Limits:
    profile = order.profile
    return Limits(
        joins=() if group is None else group.joins(),
        files=profile.files,
        file_bytes=max(profile.scratch, profile.tmp),
        uid=uid,
    )


def _arguments(
    order: Order, places: Sequence[Path], made: Mapping[str, int], files: Mapping[str, int]
) -> list[str]:
    """Return bubblewrap's arguments; the order matters, later mounts lie over earlier ones."""
    profile = order.profile
    lines = [*_APART, "--uid", str(profile.uid), "--gid", str(profile.uid)]
    lines += ["--hostname", root.NAME, "--info-fd", str(files["info"])]
    for name, value in order.environ.items():
        lines += ["--setenv", name, value]
    for path in root.shared():
        lines += ["--ro-bind", path, path]
    for path, target in root.links().items():
        lines += ["--symlink", target, path]
    for path, descriptor in made.items():
        lines += ["--ro-bind-data", str(descriptor), path]
    lines += ["--proc", "/proc", "--dev", "/dev"]
    for path in root.masked():
        lines += ["--ro-bind", "/dev/null", path]
    # The box's first process is bubblewrap, as the same user: whoever can open its memory can take
    # back that it dies with us.
    lines += ["--size", "4096", "--perms", "0555", "--tmpfs", _FIRST, "--remount-ro", _FIRST]
    for path, size in (
        (root.TMP, profile.tmp),
        (root.SHM, root.SHARED),
        (root.SCRATCH, profile.scratch),
    ):
        lines += ["--size", str(size), "--perms", "1777", "--tmpfs", path]
    for mount, place in zip(order.mounts, places, strict=True):
        lines += ["--bind" if mount.writable else "--ro-bind", str(place), mount.target]
    lines += ["--chdir", order.cwd, "--remount-ro", "/dev", "--remount-ro", "/"]
    return [*lines, "--seccomp", str(files["filter"])]


def _pipe(stack: ExitStack) -> tuple[int, int]:
    """A pipe whose end to read is closed with ``stack``; the other is the caller's."""
    read, write = os.pipe2(os.O_CLOEXEC)
    stack.callback(os.close, read)
    return read, write


def _memory(stack: ExitStack, text: bytes) -> int:
    """A file in memory that holds ``text``, to be read from its beginning."""
    descriptor = _passed(stack, os.memfd_create("box", os.MFD_CLOEXEC))
    os.write(descriptor, text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _passed(stack: ExitStack, descriptor: int) -> int:
    """Move a descriptor out of the way of those below ten, which a shell uses."""
    try:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    finally:
        os.close(descriptor)
    stack.callback(os.close, moved)
    return moved


def _named(told: int) -> int | None:
    """The box's first process, which bubblewrap named before it made anything."""
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(os.read(told, 4096), type=dict[str, int])["child-pid"]
    return None

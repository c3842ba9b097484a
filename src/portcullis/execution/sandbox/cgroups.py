"""Control groups for boxes: memory, processors and processes, on version 1 and version 2.

Both are described in the kernel's documentation (admin-guide/cgroup-v1, admin-guide/cgroup-v2).
Version 2 needs a subtree that was delegated to us, in which we are the only process. A group lies
below our own, so that what bounds us bounds the boxes too.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Hold, Profile

_PERIOD: Final = 100_000
"""Microseconds in which a group may use its share of a processor."""
_NAME: Final = re.compile(r"portcullis-(\d+)-\d+(-runtime)?")
_GONE_SECONDS: Final = 5.0
_HOLDS: Final = {"memory": Hold.MEMORY, "cpu": Hold.CPU, "pids": Hold.PIDS}
_counter = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Tree:
    """Where groups can be made: per controller the directory of ours, and its version."""

    places: Mapping[str, Path]
    version: int
    lacking: Mapping[Hold, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """The control group of one box: one directory per controller (version 2: one for all)."""

    directories: tuple[Path, ...]
    version: int
    holds: frozenset[Hold]

    def joins(self) -> tuple[Path, ...]:
        """The files to which a process of one thread writes ``0`` to be in it.

        On version 1 that is the thread's own file: for ``cgroup.procs`` the kernel has every
        process of the machine wait (some ten milliseconds), lest the writer's threads change.
        """
        name = "tasks" if self.version == 1 else "cgroup.procs"
        return tuple(one / name for one in self.directories)

    def processes(self) -> set[int]:
        """Every process that is in it."""
        found: set[int] = set()
        for file in (one / "cgroup.procs" for one in self.directories):
            with suppress(OSError, ValueError):
                found |= {int(line) for line in file.read_text().split()}
        return found

    def out_of_memory(self) -> int:
        """How many of its processes the kernel killed because its memory was used up."""
        for directory in self.directories:
            for name in ("memory.events", "memory.oom_control"):
                with suppress(OSError, ValueError):
                    for line in (directory / name).read_text().splitlines():
                        key, _, value = line.partition(" ")
                        if key == "oom_kill":
                            return int(value)
        return 0

    def kill(self) -> None:
        """Kill all that is in it and return when nothing is left, or after five seconds."""
        until = time.monotonic() + _GONE_SECONDS
        pause = 0.0002
        while True:
            for directory in self.directories if self.version == 2 else ():  # noqa: PLR2004
                with suppress(OSError):
                    (directory / "cgroup.kill").write_text("1")
            left = self.processes() - {os.getpid()}
            if not left or time.monotonic() > until:
                return
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(pause)
            pause = min(2 * pause, 0.01)

    def remove(self) -> None:
        """Take it away; the kernel may need a moment after the last process is gone."""
        until = time.monotonic() + _GONE_SECONDS
        for directory in self.directories:
            while directory.exists():
                with suppress(OSError):
                    directory.rmdir()
                    break
                if time.monotonic() > until:
                    break
                time.sleep(0.005)


def find(proc: Path = Path("/proc/self")) -> Tree:
    """Say where we may make groups: below our own, on either version.

    ``lacking`` says of each of MEMORY, CPU and PIDS that cannot be had why not. It writes nothing
    but, on version 2, moves this process one level down so that the level can have children.
    """
    ours = _ours((proc / "cgroup").read_text())
    places: dict[str, Path] = {}
    version, unified = 1, None
    for mounted, root, kind, options in _mounts((proc / "mountinfo").read_text()):
        if kind == "cgroup2":
            unified = _below(mounted, root, ours.get("", "/"))
        for name in _HOLDS:
            if kind == "cgroup" and name in options:
                places[name] = _below(mounted, root, ours.get(name, "/"))
    lacking: dict[Hold, str] = {}
    if not places and unified is not None:
        places, version = _unified(unified), 2
    for name, hold in _HOLDS.items():
        place = places.get(name)
        if place is None:
            lacking[hold] = _NONE[version].format(name=name)
        elif not os.access(place, os.W_OK):
            lacking[hold] = f"no right to make a control group in {place}"
            del places[name]
    for place in set(places.values()):
        _sweep(place)
    return Tree(places=places, version=version, lacking=lacking)


_NONE: Final = {
    1: "there is no {name} controller on this machine",
    2: "no {name} controller was delegated to this process (systemd: Delegate=yes)",
}


def make(tree: Tree, profile: Profile, *, name: str | None = None) -> Group:
    """Make the group that holds a box to its profile; Problem PC5031 where the kernel refuses."""
    name = name or new_name()
    directories = {controller: place / name for controller, place in tree.places.items()}
    unique = tuple(dict.fromkeys(directories.values()))
    holds = frozenset(_HOLDS[controller] for controller in directories)
    group = Group(directories=unique, version=tree.version, holds=holds)
    try:
        for directory in unique:
            directory.mkdir()
        for controller, directory in directories.items():
            _BOUNDS[tree.version, controller](directory, profile)
    except OSError as error:
        group.remove()
        raise Problem("PC5031", f"its control group cannot be made: {error.strerror}") from None
    return group


def new_name() -> str:
    """A name that no other group of this machine has."""
    return f"portcullis-{os.getpid()}-{next(_counter)}"


def top(proc: Path = Path("/proc/self")) -> Tree:
    """The roots of all hierarchies, where an OCI runtime makes its groups."""
    places: dict[str, Path] = {}
    unified = None
    for mounted, _, kind, options in _mounts((proc / "mountinfo").read_text()):
        unified = mounted if kind == "cgroup2" else unified
        places |= {name: mounted for name in _HOLDS if kind == "cgroup" and name in options}
        _sweep(mounted)
    version = 1 if places else 2
    if not places and unified is not None:
        places = dict.fromkeys(_HOLDS, unified)
    lacking = {
        hold: _NONE[version].format(name=name)
        for name, hold in _HOLDS.items()
        if name not in places or not os.access(places[name], os.W_OK)
    }
    return Tree(places=places, version=version, lacking=lacking)


def named(name: str, proc: Path = Path("/proc/self")) -> Group:
    """The group of this name that a runtime makes at the root of every hierarchy."""
    tree = top(proc)
    mounted = [place for place, *_ in _mounts((proc / "mountinfo").read_text())]
    directories = tuple(place / name for place in dict.fromkeys(mounted))
    return Group(directories=directories, version=tree.version, holds=frozenset(_HOLDS.values()))


def _memory_1(directory: Path, profile: Profile) -> None:
    (directory / "memory.limit_in_bytes").write_text(str(profile.memory))
    swap = directory / "memory.memsw.limit_in_bytes"
    if swap.exists():
        swap.write_text(str(profile.memory))
    else:
        # Swap is not counted here: then there is none for the box, as long as there is memory.
        (directory / "memory.swappiness").write_text("0")


def _memory_2(directory: Path, profile: Profile) -> None:
    (directory / "memory.max").write_text(str(profile.memory))
    for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
        if (directory / name).exists():
            (directory / name).write_text(value)


def _cpu_1(directory: Path, profile: Profile) -> None:
    (directory / "cpu.cfs_period_us").write_text(str(_PERIOD))
    (directory / "cpu.cfs_quota_us").write_text(str(int(profile.cpu * _PERIOD)))


def _cpu_2(directory: Path, profile: Profile) -> None:
    (directory / "cpu.max").write_text(f"{int(profile.cpu * _PERIOD)} {_PERIOD}")


def _pids(directory: Path, profile: Profile) -> None:
    (directory / "pids.max").write_text(str(profile.pids))


_BOUNDS: Final[dict[tuple[int, str], Callable[[Path, Profile], None]]] = {
    (1, "memory"): _memory_1,
    (2, "memory"): _memory_2,
    (1, "cpu"): _cpu_1,
    (2, "cpu"): _cpu_2,
    (1, "pids"): _pids,
    (2, "pids"): _pids,
}


def _ours(text: str) -> dict[str, str]:
    """Our group by controller; that of version 2 under the empty name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        found |= dict.fromkeys(controllers.split(","), path)
    return found


def _mounts(text: str) -> list[tuple[Path, str, str, set[str]]]:
    """Where control groups are mounted: directory, root, file system, super options."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, _, options, *_) = left.split(), right.split()
        if kind in {"cgroup", "cgroup2"}:
            found.append((Path(fields[4]), fields[3], kind, set(options.split(","))))
    return found


def _below(mounted: Path, root: str, ours: str) -> Path:
    """The directory of our own group, seen through a mount that may begin below the root."""
    if root != "/" and ours.startswith(root):
        ours = ours[len(root) :]
    place = mounted / ours.lstrip("/")
    return place if place.is_dir() else mounted


def _unified(place: Path) -> dict[str, Path]:
    """Version 2: make our own group one that can have children with controllers."""
    try:
        offered = set((place / "cgroup.controllers").read_text().split())
    except OSError:
        return {}
    wanted = [name for name in _HOLDS if name in offered]
    inside = place / "portcullis-self"
    with suppress(OSError):
        enabled = set((place / "cgroup.subtree_control").read_text().split())
        if not set(wanted) <= enabled:
            # A group with processes of its own cannot hand controllers on.
            inside.mkdir(exist_ok=True)
            (inside / "cgroup.procs").write_text("0")
            (place / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in wanted))
        enabled = set((place / "cgroup.subtree_control").read_text().split())
        return {name: place for name in wanted if name in enabled}
    return {}


def _sweep(place: Path) -> None:
    """Take away the groups of a process that is no more; one that is in use stays."""
    for directory in place.glob("portcullis-*-*"):
        named = _NAME.fullmatch(directory.name)
        if named and not Path("/proc", named[1]).exists():
            with suppress(OSError):
                directory.rmdir()

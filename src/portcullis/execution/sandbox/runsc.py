"""Boxes by gVisor's runsc: a kernel of their own, in user space, between them and ours.

The same bundle as for runc. What differs: the box's system calls never reach this machine's kernel.
They are answered by the Sentry, a process that is held by a list of its own; our list is loaded in
the Sentry as well. The start is by the OCI life cycle (``runsc_life``), as no descriptor can be
passed in. Control groups are ours, joined before the runtime: the Sentry's own memory, processes
and threads are counted with the box's.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ability, Hold, Network, Order, Profile, Streams
from portcullis.execution.sandbox import cgroups, making, oci, probing, root, users
from portcullis.execution.sandbox.launch import Launched, Limits
from portcullis.execution.sandbox.processes import ProcessSandbox

_LIFE: Final = Path(__file__).with_name("runsc_life.py")
_OWN: Final = 128
_EACH: Final = 8
"""Processes and threads of this machine for the runtime itself, and for each of the box's: the
Sentry counts the box's own, the control group bounds all of them."""
_FILES: Final = 8192
_FILE_BYTES: Final = 2**45
_APART: Final = ("user", "net", "ipc", "uts", "mnt")
_CLOSED: Final = ("/dev/fuse", "/dev/net/tun", "/dev/tty", "/proc/cmdline")
"""What the Sentry has by itself and a box is not to have: a file that nobody may open is there."""
# A directory for /scratch that can be read from outside, in a mount namespace of the launch.
_HELD: Final = (
    *("/usr/bin/setpriv", "--pdeathsig", "KILL", "--", "/usr/bin/unshare", "--mount", "--"),
    *("/bin/sh", "-c"),
    'mount -t tmpfs -o "nosuid,nodev,mode=1777,size=$2" portcullis "$1" && shift 2 && exec "$@"',
    "box",
)
_ALONE: Final = (
    *("/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
)
_FIRST: Final = (
    *("/bin/sh", "-c"),
    'cd "$2" || exit 1; unset OLDPWD; [ -z "$1" ] || unset HOME; shift 2; "$@"; exit $?',
    "box",
)


class Runsc(ProcessSandbox):
    """A ``core.sandbox_ports.Sandbox`` for root, on the platform ``ptrace``."""

    def __init__(self) -> None:
        self.name = "runsc"
        self._program = shutil.which(self.name)
        self._tree: cgroups.Tree | None = None
        self._ability: Ability | None = None
        self._filtered = False

    def probe(self) -> Ability:
        """Say what is enforced here; the first time it makes a box to see."""
        if self._ability is None:
            self._tree = cgroups.find()
            if os.geteuid() != 0:
                why = dict.fromkeys(Hold, "runsc is run by root only")
                self._ability = Ability(
                    adapter=self.name, version="", enforces=frozenset(), lacking=why
                )
            else:
                self._ability = probing.probe(
                    self.name, self._program, self._tree, self._seen, judge=self._judge
                )
        return self._ability

    def _seen(self, order: Order, streams: Streams) -> making.Made:
        """Make the box of ``probe`` and see whether its Sentry, started by now, is filtered."""
        made = self.make(order, streams)
        until = time.monotonic() + making.SECONDS
        while not self._filtered and not made.launched.status.done() and time.monotonic() < until:
            self._filtered = made.group is not None and _filtered(made.group)
            time.sleep(0.002)
        return made

    def _judge(self, seen: dict[str, str]) -> set[Hold]:
        return held(seen) if self._filtered else set()

    def make(self, order: Order, streams: Streams) -> making.Made:
        """Make it, and return when everything holds; Problem PC5031 when that cannot be."""
        name = cgroups.new_name()
        if order.terminal:
            raise Problem("PC5032", "boxes of runsc have no terminal: give it pipes")
        _there(order)
        counted = _OWN + _EACH * order.profile.pids
        with ExitStack() as cleaning:
            place = making.place(cleaning)
            group = cgroups.make(
                self._tree or cgroups.find(),
                msgspec.structs.replace(order.profile, pids=counted),
                name=name,
            )
            cleaning.callback(group.remove)
            cleaning.callback(group.kill)
            uid = users.take(cleaning)
            oci.make_root(place.directory / "bundle/rootfs", order.profile, uid)
            (place.directory / "bundle/closed").touch(0)
            (place.directory / "scratch").mkdir()
            ids = oci.mapped(order.profile.uid, uid)
            bundled = oci.Bundle(order, name, place.directory, 0, ids)
            launched = self._launch(bundled, streams, group)
            making.wait(place, launched, self.name)
            with ExitStack() as opened:
                first = _sentry(group)
                opened.callback(os.close, first)
                scratch = _scratch(launched, place.directory)
                making.go(place, None)
                # The runtime mounts, and takes its own list, when it starts the command.
                making.wait(place, launched, self.name)
                opened.pop_all()
            sweep = cleaning.pop_all().close
        return making.Made(
            launched=launched, group=group, first=first, scratch=scratch, sweep=sweep
        )

    def _launch(self, bundled: oci.Bundle, streams: Streams, group: cgroups.Group) -> Launched:
        place, order = bundled.place, bundled.order

        def command(places: Sequence[Path]) -> Sequence[str]:
            config = _document(bundled, places)
            making.keep(place / "bundle/config.json", msgspec.json.encode(config))
            runtime = [self._program or self.name, "--root", str(place / "state")]
            runtime += ["--platform=ptrace", "--network=none", "--ignore-cgroups", "--oci-seccomp"]
            # Sockets of ours can be connected to only where the order names one.
            sockets = any(one.source.is_socket() for one in order.mounts)
            sockets = sockets or order.profile.network is Network.GATE
            runtime += ["--host-uds=open"] if sockets else []
            life = [sys.executable, "-I", "-S", str(_LIFE), bundled.name, str(place / "bundle")]
            shown = (str(place / "scratch"), str(order.profile.scratch))
            return (*_HELD, *shown, *_ALONE, *life, str(place / "pid"), *runtime)

        # Of the runtime itself; the box's own are in the bundle.
        limits = Limits(
            joins=group.joins(),
            files=_FILES,
            file_bytes=_FILE_BYTES,
            uid=bundled.ids[1]["hostID"],
            drops=False,
        )
        launched = Launched(command, limits, streams, mounts=order.mounts, place=place)
        making.begin(launched, self.name)
        return launched


def held(seen: dict[str, str]) -> set[Hold]:
    """Which holds are proven by what a box saw, and by ``make``, which looks at its Sentry."""
    _, uid, host, *_ = (*seen.get("Here", "").split(), "", "", "")
    sets = {seen.get(f"Cap{one}", "?").strip("0") for one in ("Inh", "Prm", "Eff", "Bnd")}
    # The Sentry has no ambient set, no set-user-id programs, and names no namespaces.
    proven = {
        Hold.USER: uid == str(Profile().uid),
        Hold.CAPABILITIES: sets == {""},
        Hold.PROCESSES: int(seen.get("Seen") or 99) < 12,  # noqa: PLR2004
        Hold.NETWORK: seen.get("Interfaces") == "lo",
        Hold.HOSTNAME: host == root.NAME,
    }
    always = {Hold.KERNEL, Hold.IPC, Hold.NO_NEW_PRIVILEGES}
    alike = {Hold.READ_ONLY_ROOT, Hold.SYSCALLS, Hold.TMP, Hold.SCRATCH, Hold.TERMINAL}
    return {one for one, yes in proven.items() if yes} | always | (probing.held(seen) & alike)


def _document(bundled: oci.Bundle, places: Sequence[Path]) -> dict[str, Any]:
    """The bundle's description: runc's, with what the runtime cannot be told otherwise."""
    order, profile = bundled.order, bundled.order.profile
    found = oci.document(bundled, places)
    for one in found["linux"]["namespaces"]:
        # Its own: a program in Go cannot join one that is there.
        one.pop("path", None)
    for one in found["mounts"]:
        if one["destination"] == root.SCRATCH:
            one |= {"type": "bind", "source": str(bundled.place / "scratch")}
            one["options"] = ["rbind", "rw", "nosuid", "nodev"]
    closed = str(bundled.place / "bundle/closed")
    for path in _CLOSED:
        found["mounts"].append(
            {"destination": path, "type": "bind", "source": closed, "options": ["bind", "ro"]}
        )
    _listed(found["linux"]["seccomp"]["syscalls"])
    home = "" if "HOME" in order.environ else "HOME"
    bounds = {
        "RLIMIT_NOFILE": profile.files,
        "RLIMIT_FSIZE": max(profile.scratch, profile.tmp),
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": profile.pids,
    }
    found["process"] |= {
        "args": [*_FIRST, home, order.cwd, *order.argv],
        "rlimits": [{"type": one, "soft": to, "hard": to} for one, to in bounds.items()],
    }
    return found


def _listed(calls: list[dict[str, Any]]) -> None:
    """Our list, as the Sentry takes it: every refusal is EPERM, and it has names of its own."""
    for one in calls:
        names = set(one["names"])
        if one["action"] == "SCMP_ACT_ERRNO":
            # What programs do without only where it is not there (ENOSYS) is its own to answer.
            one["action"] = "SCMP_ACT_ALLOW"
            del one["errnoRet"]
            names = {name for name in names if not name.startswith("io_uring")}
        # What it grants to everybody, and to no effect.
        names -= {"setpriority", "sched_setscheduler", "sched_setparam", "sched_setattr"}
        names |= {"pselect"} if "pselect6" in names else set()
        one["names"] = sorted(names)
    calls[:] = [one for one in calls if one["names"]]


def _there(order: Order) -> None:
    """Problem PC5031 for a working directory that will not be there, as far as can be told."""
    path = PurePosixPath(order.cwd)
    inside = [one for one in order.mounts if path.is_relative_to(one.target)]
    if inside:
        mount = max(inside, key=lambda one: len(one.target))
        there = (mount.source / path.relative_to(mount.target)).is_dir()
    else:
        own = {"/", "/proc", "/dev", "/etc", root.TMP, root.SHM, root.SCRATCH}
        above = {str(one) for mount in order.mounts for one in PurePosixPath(mount.target).parents}
        shared = any(path.is_relative_to(one) for one in root.shared())
        there = order.cwd in own | above or (shared and Path(order.cwd).is_dir())
    if not there:
        raise Problem("PC5031", "its working directory is not there")


def _sentry(group: cgroups.Group) -> int:
    """A descriptor of the box's kernel, when that is held; Problem PC5031 when it is not."""
    for pid in _sentries(group):
        with suppress(OSError):
            first = os.pidfd_open(pid)
            if _confined(pid):
                return first
            os.close(first)
    raise Problem("PC5031", "its kernel does not run as it has to")


def _sentries(group: cgroups.Group) -> list[int]:
    found = []
    for pid in group.processes():
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"runsc-sandbox\0"):
                found.append(pid)
    return found


def _confined(pid: int) -> bool:
    """Whether a Sentry is nobody and apart from us; the rest it takes when it starts the box."""
    status = _status(pid)
    spaces = [(Path(f"/proc/{pid}/ns/{one}"), Path(f"/proc/self/ns/{one}")) for one in _APART]
    return "0" not in status.get("Uid", ["0"]) and all(
        theirs.readlink() != ours.readlink() for theirs, ours in spaces
    )


def _filtered(group: cgroups.Group) -> bool:
    """Whether a Sentry runs under a list of system calls and without new privileges."""
    with suppress(OSError):
        found = [_status(pid) for pid in _sentries(group)]
        wanted = (["2"], ["1"])
        return any((one.get("Seccomp"), one.get("NoNewPrivs")) == wanted for one in found)
    return False


def _status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def _scratch(launched: Launched, place: Path) -> int:
    """A descriptor of its /scratch, in the mount namespace of its launch."""
    path = f"/proc/{launched.started.result(0)}/root{place / 'scratch'}"
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)

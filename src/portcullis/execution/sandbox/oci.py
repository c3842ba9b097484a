"""Boxes by an OCI runtime: runc, crun or runsc (Open Container Initiative, runtime-spec 1.0).

The same box as bubblewrap's, written as a bundle: same files, same list of system calls, same
limits. The runtime runs as root, in a process namespace of its own that dies with us: a runtime
that is killed would leave its container behind. Its control groups are its own, by our name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ability, Hold, Network, Order, Profile, Streams
from portcullis.execution.sandbox import (
    apparmor,
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
from portcullis.execution.sandbox.staging import namespace

_APART: Final = ("ipc", "pid", "network", "uts", "mount", "cgroup")
_READ_ONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_SETS: Final = ("bounding", "effective", "inheritable", "permitted", "ambient")
_HIDDEN: Final = ("/proc/acpi", "/proc/scsi", "/sys/firmware")
# What dies with us: a process namespace whose first process is the shell that runs the runtime.
# crun does not know what to do with a version 2 tree that is mounted beside version 1.
_HELD: Final = (
    *("/usr/bin/setpriv", "--pdeathsig", "KILL", "--", "/usr/bin/unshare", "--mount", "--"),
    *("/bin/sh", "-c", ': > "$2" && mount --bind "$1" "$2" && shift 2 && exec "$@"', "box"),
)
_RUN: Final = """
if [ -d /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified 2> /dev/null; fi
"$@"
"""
_ALONE: Final = (
    *("/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
    *("/bin/sh", "-c", _RUN, "box"),
)


class Bundle(msgspec.Struct, frozen=True):
    """What of a box is written down: its order, name, directory, namespace's owner and ids."""

    order: Order
    name: str
    place: Path
    owner: int
    ids: list[dict[str, int]]


# The container's first process: a runtime makes up a HOME, and a working directory that is not
# there; and whoever is the first of its namespace has no use for most signals.
FIRST: Final = (
    "/bin/sh",
    "-c",
    """cd "$2" || exit 1; unset OLDPWD; [ -z "$1" ] || unset HOME; shift 2
    echo >&3; read -r _ <&4; exec 3>&- 4>&-; "$@"; exit $?""",
    "box",
)


class Oci(ProcessSandbox):
    """A ``core.sandbox_ports.Sandbox``; ``runtime`` is the program and the adapter's name.

    ``groups``: the runtime makes the control groups itself. One that can do without is started in
    groups of ours, below those that bound us.
    """

    def __init__(self, runtime: str, *, groups: bool = True) -> None:
        self.name = runtime
        self._program = shutil.which(runtime)
        self._groups = groups
        self._tree: cgroups.Tree | None = None
        self._ability: Ability | None = None

    def probe(self) -> Ability:
        """Say what is enforced here; the first time it makes a box to see."""
        if self._ability is None:
            self._tree = cgroups.top() if self._groups else cgroups.find()
            if os.geteuid() != 0:
                why = f"{self.name} is run by root only"
                self._ability = Ability(
                    adapter=self.name,
                    version="",
                    enforces=frozenset(),
                    lacking=dict.fromkeys(Hold, why),
                )
            else:
                self._ability = probing.probe(self.name, self._program, self._tree, self.make)
        return self._ability

    def make(self, order: Order, streams: Streams) -> making.Made:
        """Make it, and return when everything holds; Problem PC5031 when that cannot be."""
        name = cgroups.new_name()
        with ExitStack() as cleaning:
            place = making.place(cleaning)
            if self._groups:
                group = _watched(cgroups.named(name), self._tree or cgroups.top(), name)
            else:
                group = cgroups.make(self._tree or cgroups.find(), order.profile, name=name)
            cleaning.callback(group.remove)
            cleaning.callback(group.kill)
            bundle = place.directory / "bundle"
            uid = users.take(cleaning)
            make_root(bundle / "rootfs", order.profile, uid)
            with ExitStack() as holding:
                ids = mapped(order.profile.uid, uid)
                maps = "".join(f"{one['containerID']} {one['hostID']} 1\n" for one in ids)
                owner = namespace(holding, (maps, maps), uid)
                bundled = Bundle(order, name, place.directory, owner, ids)
                launched = self._launch(bundled, streams, group)
                making.wait(place, launched, self.name)
            first, scratch = making.go(place, _number_one(group))
            sweep = cleaning.pop_all().close
        return making.Made(
            launched=launched, group=group, first=first, scratch=scratch, sweep=sweep
        )

    def _launch(self, bundled: Bundle, streams: Streams, group: cgroups.Group) -> Launched:
        place, order = bundled.place, bundled.order

        def command(places: Sequence[Path]) -> Sequence[str]:
            config = document(bundled, places)
            if self._groups:
                config["linux"] |= _counted(order.profile, bundled.name)
            making.keep(place / "bundle/config.json", msgspec.json.encode(config))
            options = ["--root", str(place / "state")]
            options += [] if self._groups else ["--cgroup-manager=disabled"]
            run = ["run", *(["--keep"] if self._groups else []), "--preserve-fds", "2"]
            run += ["--bundle", str(place / "bundle"), bundled.name]
            shown = (f"/proc/{bundled.owner}/ns/user", str(place / "users"))
            return (*_HELD, *shown, *_ALONE, self._program or self.name, *options, *run)

        limits = Limits(
            # Where the runtime makes the groups of the box, it is itself in the first only.
            joins=group.joins()[:1] if self._groups else group.joins(),
            # Not in the configuration: runc cannot set them in a namespace that it did not make.
            files=order.profile.files,
            file_bytes=max(order.profile.scratch, order.profile.tmp),
            uid=bundled.ids[1]["hostID"],
            drops=False,
        )
        launched = Launched(command, limits, streams, mounts=order.mounts, place=place)
        making.begin(launched, self.name)
        return launched


def _watched(group: cgroups.Group, tree: cgroups.Tree, name: str) -> cgroups.Group:
    """With a group of ours in front, in which the runtime is, so that nothing of it is left."""
    outer = tree.places["pids"] / f"{name}-runtime"
    try:
        outer.mkdir()
    except OSError as error:
        raise Problem("PC5031", f"its control group cannot be made: {error.strerror}") from None
    directories = (outer, *group.directories)
    return cgroups.Group(directories=directories, version=group.version, holds=group.holds)


def mapped(inside: int, outside: int) -> list[dict[str, int]]:
    """The box's user, and the first of its namespace, as which the runtime makes it."""
    return [
        {"containerID": 0, "hostID": outside + users.ROOTS, "size": 1},
        {"containerID": inside, "hostID": outside, "size": 1},
    ]


def make_root(tree: Path, profile: Profile, uid: int) -> None:
    """An empty tree with the places where things are mounted, and the files that are its own."""
    for name in ("proc", "dev", "sys", "etc", "usr"):
        (tree / name).mkdir(parents=True)
    for name in (root.TMP, root.SCRATCH):
        # runc gives a tmpfs the mode of the directory that it is mounted on.
        (tree / name.lstrip("/")).mkdir()
        (tree / name.lstrip("/")).chmod(0o1777)
    for path, target in root.links().items():
        (tree / path.lstrip("/")).symlink_to(target)
    for path, text in root.made_files(profile).items():
        (tree / path.lstrip("/")).write_bytes(text)
        (tree / path.lstrip("/")).chmod(0o644)
    tree.parent.chmod(0o711)
    # The runtime makes the places of mounts as the first user of the box's own namespace.
    for one in (tree, *tree.rglob("*")):
        os.chown(one, uid + users.ROOTS, uid + users.ROOTS, follow_symlinks=False)


def document(bundled: Bundle, places: Sequence[Path]) -> dict[str, Any]:
    """config.json of a bundle, as it is for every OCI runtime; ``places`` are the mounts'."""
    order, profile = bundled.order, bundled.order.profile
    environ = [f"{key}={value}" for key, value in order.environ.items()]
    uid = profile.uid
    # The user namespace is one that the box's own user made: what the kernel counts by user is
    # counted for whoever made a namespace as well.
    namespaces: list[dict[str, str]] = [{"type": one} for one in _APART]
    namespaces.append({"type": "user", "path": str(bundled.place / "users")})
    return {
        "ociVersion": "1.0.2",
        "hostname": root.NAME,
        "root": {"path": "rootfs", "readonly": True},
        "process": {
            "terminal": False,
            "user": {"uid": uid, "gid": uid, "additionalGids": []},
            "args": [*FIRST, "" if "HOME" in order.environ else "HOME", order.cwd, *order.argv],
            "env": environ,
            "cwd": "/",
            "capabilities": {one: [] for one in _SETS},
            "noNewPrivileges": True,
            **({"apparmorProfile": name} if (name := apparmor.loaded()) else {}),
        },
        "mounts": [*_mounts(profile), *_ordered(order, places)],
        "linux": {
            "namespaces": namespaces,
            "uidMappings": bundled.ids,
            "gidMappings": bundled.ids,
            "seccomp": seccomp.oci(),
            "maskedPaths": [*root.masked(), *_HIDDEN],
            "readonlyPaths": list(_READ_ONLY),
            **({"sysctl": {ports.SYSCTL: "0"}} if profile.network is Network.GATE else {}),
        },
    }


def _counted(profile: Profile, name: str) -> dict[str, Any]:
    """The control group of a box, and its bounds."""
    period = 100_000
    return {
        "cgroupsPath": f"/{name}",
        "resources": {
            "memory": {"limit": profile.memory, "swap": profile.memory},
            "cpu": {"quota": int(profile.cpu * period), "period": period},
            "pids": {"limit": profile.pids},
            "devices": [{"allow": False, "access": "rwm"}],
        },
    }


def _mounts(profile: Profile) -> list[dict[str, Any]]:
    """What every box has."""
    plain = ["nosuid", "nodev"]
    shared = [
        {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro", *plain]}
        for path in root.shared()
    ]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["noexec", *plain]},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "mode=755", "size=65536"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
        *shared,
        *(
            {
                "destination": path,
                "type": "tmpfs",
                "source": "tmpfs",
                "options": [*plain, "mode=1777", f"size={size}"],
            }
            for path, size in (
                (root.SHM, root.SHARED),
                (root.TMP, profile.tmp),
                (root.SCRATCH, profile.scratch),
            )
        ),
    ]


def _ordered(order: Order, places: Sequence[Path]) -> list[dict[str, Any]]:
    """The mounts of an order, where they are staged."""
    return [
        {
            "destination": mount.target,
            "type": "bind",
            "source": str(place),
            "options": ["rbind", "rw" if mount.writable else "ro", "nosuid", "nodev"],
        }
        for mount, place in zip(order.mounts, places, strict=True)
    ]


def _number_one(group: cgroups.Group) -> int | None:
    """The first process of a container: number one in the innermost of the most namespaces."""
    deepest: tuple[int, int] | None = None
    for pid in group.processes():
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                key, *numbers = line.split()
                if key == "NSpid:" and numbers[-1] == "1":
                    deepest = max(deepest or (0, 0), (len(numbers), pid))
    return deepest[1] if deepest else None

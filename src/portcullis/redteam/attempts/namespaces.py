"""Namespaces and mounts: making new ones, joining others', changing what is mounted."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
from pathlib import Path

from .kit import NO, REGISTER, Plan, Try, attempt, call, text
from .numbers import number

_NEW = {
    "user": 0x10000000,
    "mount": 0x00020000,
    "network": 0x40000000,
    "pid": 0x20000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "cgroup": 0x02000000,
    "time": 0x00000080,
}
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 32, 4096, 16384
_MS_SHARED = 1 << 20
_AT_FDCWD = -100


def _unshares(flags: int) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        call(number("unshare"), flags)
        return "it has one of its own"

    return run


for _name, _flag in _NEW.items():
    REGISTER.add(
        f"namespaces.unshare_{_name}", f"make a {_name} namespace", _unshares(_flag), stops=NO
    )
REGISTER.add(
    "namespaces.unshare_both",
    "make a user and a mount namespace at once",
    _unshares(_NEW["user"] | _NEW["mount"]),
)


def _reap(child: int) -> str:
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0x40000000)  # __WALL
    return "a process was made in one"


@attempt("namespaces.clone_user", "clone into a new user namespace", stops=NO)
def clone_user(plan: Plan) -> str | None:
    """The old call, raw."""
    del plan
    return _reap(call(number("clone"), _NEW["user"] | signal.SIGCHLD, 0, 0, 0, 0))


@attempt("namespaces.clone_high", "clone with the flags' high half set", stops=NO)
def clone_high(plan: Plan) -> str | None:
    """A filter that compares 64 bits lets by what the kernel reads as 32."""
    del plan
    flags = (1 << 40) | _NEW["user"] | signal.SIGCHLD
    return _reap(call(number("clone"), flags, 0, 0, 0, 0))


def _clone3(flags: int) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        arguments = struct.pack("<8Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
        return _reap(call(number("clone3"), ctypes.create_string_buffer(arguments, 64), 64))

    return run


REGISTER.add(
    "namespaces.clone3_user",
    "clone3 into a new user namespace: flags that a filter cannot see",
    _clone3(_NEW["user"]),
)
REGISTER.add(
    "namespaces.clone3_network",
    "clone3 into new user and network namespaces",
    _clone3(_NEW["user"] | _NEW["network"]),
)


@attempt("namespaces.tool", "become root in a namespace with unshare(1)")
def tool(plan: Plan) -> str | None:
    """Whoever is 0 there may mount."""
    del plan
    done = subprocess.run(
        ["/usr/bin/unshare", "--user", "--map-root-user", "/usr/bin/id", "-u"],
        capture_output=True,
        timeout=4,
        check=False,
    )
    return "it is root" if done.stdout.strip() == b"0" else None


def _joins(path: str) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        descriptor = os.open(path, os.O_RDONLY)
        try:
            call(number("setns"), descriptor, 0)
        finally:
            os.close(descriptor)
        return "it was joined"

    return run


for _kind in ("mnt", "net", "pid", "ipc", "uts", "cgroup"):
    REGISTER.add(
        f"namespaces.join_{_kind}",
        f"join a {_kind} namespace (setns)",
        _joins(f"/proc/1/ns/{_kind}"),
    )


@attempt("namespaces.join_by_pid", "join the namespaces of process 1 by a pidfd")
def join_by_pid(plan: Plan) -> str | None:
    """All at once."""
    del plan
    descriptor = call(number("pidfd_open"), 1, 0)
    call(number("setns"), descriptor, _NEW["mount"] | _NEW["network"] | _NEW["ipc"])
    return "they were joined"


@attempt("namespaces.join_parent", "ask for the user namespace above (NS_GET_PARENT)")
def parent(plan: Plan) -> str | None:
    """And the one that owns its network (NS_GET_USERNS)."""
    del plan
    for name, request in (("user", 0xB702), ("net", 0xB701), ("pid", 0xB702)):
        descriptor = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
        try:
            above = call(number("ioctl"), descriptor, request, 0)
        except OSError:
            continue
        try:
            call(number("setns"), above, 0)
        except OSError:
            continue
        return f"the one above its {name} namespace was joined"
    return None


def _mounts(source: str, target: str, kind: str, flags: int, data: str = "") -> Try:
    def run(plan: Plan) -> str | None:
        source_ = source.replace("FILE", plan.file)
        call(number("mount"), text(source_), text(target), text(kind), flags, text(data))
        return "it was mounted"

    return run


for _name, _what, _run in (
    ("tmpfs", "mount a tmpfs", _mounts("none", "/tmp", "tmpfs", 0)),
    ("proc", "mount another /proc", _mounts("none", "/tmp", "proc", 0)),
    ("sysfs", "mount /sys", _mounts("none", "/tmp", "sysfs", 0)),
    ("cgroup", "mount the control groups", _mounts("none", "/tmp", "cgroup2", 0)),
    (
        "cgroup1",
        "mount a hierarchy of control groups for its release agent",
        _mounts("none", "/tmp", "cgroup", 0, "memory"),
    ),
    ("debugfs", "mount the kernel's debug files", _mounts("none", "/tmp", "debugfs", 0)),
    ("devpts", "mount terminals", _mounts("none", "/tmp", "devpts", 0)),
    ("mqueue", "mount message queues", _mounts("none", "/tmp", "mqueue", 0)),
    ("disk", "mount a disk", _mounts("/dev/vda", "/tmp", "ext4", _MS_RDONLY)),
    (
        "overlay",
        "mount an overlay over the programs",
        _mounts("none", "/tmp", "overlay", 0, "lowerdir=/usr:/etc"),
    ),
    (
        "fuse",
        "mount a file system of its own (FUSE)",
        _mounts("none", "/tmp", "fuse", 0, "fd=0,rootmode=40000,user_id=0,group_id=0"),
    ),
    ("bind", "bind a directory elsewhere", _mounts("/usr", "/tmp", "none", _MS_BIND)),
    ("remount", "make the root writable", _mounts("none", "/", "none", _MS_REMOUNT | _MS_BIND)),
    (
        "remount_usr",
        "make the programs writable",
        _mounts("none", "/usr", "none", _MS_REMOUNT | _MS_BIND),
    ),
    ("shared", "share its mounts with others", _mounts("none", "/", "none", _MS_SHARED | _MS_REC)),
    (
        "magic",
        "mount with the old magic number in the flags' high half",
        _mounts("none", "/tmp", "tmpfs", 0xC0ED0000),
    ),
):
    REGISTER.add(f"namespaces.mount_{_name}", _what, _run, stops=NO)


@attempt("namespaces.umount_proc", "unmount what hides something in /proc", stops=NO, alone=True)
def umount(plan: Plan) -> str | None:
    """Lazily."""
    del plan
    call(number("umount2"), text("/proc"), 2)
    return "it was unmounted"


@attempt("namespaces.pivot_root", "change the root (pivot_root)", stops=NO)
def pivot(plan: Plan) -> str | None:
    """Onto itself."""
    del plan
    os.chdir("/")
    call(number("pivot_root"), text("."), text("."))
    return "it was changed"


@attempt("namespaces.chroot", "change the root and climb out of it (chroot)", stops=NO)
def chroot(plan: Plan) -> str | None:
    """The classic."""
    Path("/scratch/below").mkdir(exist_ok=True)
    call(number("chroot"), text("/scratch/below"))
    for _ in range(32):
        os.chdir("..")
    call(number("chroot"), text("."))
    return "outside" if Path(plan.file).exists() else "chroot is let"


@attempt("namespaces.fsopen", "make a file system with the new calls (fsopen)", stops=NO)
def fsopen(plan: Plan) -> str | None:
    """Nothing is attached."""
    del plan
    os.close(call(number("fsopen"), text("tmpfs"), 0))
    return "it was made"


@attempt("namespaces.fspick", "change a mount with the new calls (fspick)", stops=NO)
def fspick(plan: Plan) -> str | None:
    """The root's."""
    del plan
    os.close(call(number("fspick"), _AT_FDCWD, text("/"), 0))
    return "it was picked"


@attempt("namespaces.open_tree", "copy a tree of mounts (open_tree)", stops=NO)
def open_tree(plan: Plan) -> str | None:
    """OPEN_TREE_CLONE: a copy that nothing covers."""
    del plan
    os.close(call(number("open_tree"), _AT_FDCWD, text("/"), 1 | 0x8000))
    return "it was copied"


@attempt("namespaces.move_mount", "move a mount (move_mount)", stops=NO)
def move_mount(plan: Plan) -> str | None:
    """The programs away from where they are."""
    del plan
    call(number("move_mount"), _AT_FDCWD, text("/proc"), _AT_FDCWD, text("/scratch"), 0)
    return "it was moved"


@attempt("namespaces.mount_setattr", "make a mount writable (mount_setattr)", stops=NO)
def mount_setattr(plan: Plan) -> str | None:
    """MOUNT_ATTR_RDONLY cleared on the root."""
    del plan
    attributes = ctypes.create_string_buffer(struct.pack("<4Q", 0, 1, 0, 0), 32)
    call(number("mount_setattr"), _AT_FDCWD, text("/"), 0, attributes, 32)
    return "it is writable"


def _names(which: str) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        name = os.uname().nodename.encode()
        call(number(which), ctypes.c_char_p(name), len(name))
        return "it was set"

    return run


REGISTER.add("namespaces.hostname", "name the machine", _names("sethostname"))
REGISTER.add("namespaces.domainname", "name the machine's domain", _names("setdomainname"))


@attempt("namespaces.map_root", "map the machine's root into its user namespace")
def map_root(plan: Plan) -> str | None:
    """Once written, a map stays: in the box only."""
    del plan
    Path("/proc/self/uid_map").write_text("0 0 1\n")
    return "it was mapped"

"""System calls that Python has no name for; OSError on failure, descriptors close on exec."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Final

MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_REC: Final = 16384
MS_SLAVE: Final = 1 << 19

_CLONE_NEWNS: Final = 0x00020000
_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_OPENAT2: Final = 437
_MOUNT_SETATTR: Final = 442
_SCHED_SETATTR: Final = 314 if platform.machine() == "x86_64" else 274
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_MOUNT_ATTR_RDONLY: Final = 1
_MOUNT_ATTR_IDMAP: Final = 0x00100000

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08

_libc: Final = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _SchedulingAttributes(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _call(number: int, *arguments: object) -> int:
    return _checked(int(_libc.syscall(ctypes.c_long(number), *arguments)))


def slices(nanoseconds: int) -> None:
    """Have the calling thread, and all that it starts, run so long before others get a turn.

    Linux 6.12 and newer (``sched_setattr``, SCHED_OTHER); an older one takes no notice.
    """
    wanted = _SchedulingAttributes(runtime=nanoseconds)
    wanted.size = ctypes.sizeof(wanted)
    _call(_SCHED_SETATTR, ctypes.c_int(0), ctypes.byref(wanted), ctypes.c_uint(0))


def own_mounts() -> None:
    """Give the calling thread a mount namespace of its own that hands nothing back."""
    _checked(int(_libc.unshare(_CLONE_NEWNS)))
    mount(None, "/", None, MS_REC | MS_SLAVE)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Make one mount; ``flags`` are MS_*."""
    arguments = (os.fsencode(one) if one is not None else None for one in (source, target, kind))
    _checked(int(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode())))


def clone_tree(place: int) -> int:
    """Return a descriptor of a copy of the mounts at ``place`` that is attached nowhere."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE | _AT_EMPTY_PATH
    return _call(_OPEN_TREE, ctypes.c_int(place), b"", ctypes.c_uint(flags))


def map_owners(tree: int, namespace: int) -> None:
    """Let owners on a detached mount be seen through the maps of a user namespace (idmap)."""
    wanted = _MountAttributes(attr_set=_MOUNT_ATTR_IDMAP, userns_fd=namespace)
    flags = ctypes.c_uint(_AT_EMPTY_PATH)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    _call(_MOUNT_SETATTR, ctypes.c_int(tree), b"", flags, ctypes.byref(wanted), size)


def read_only(tree: int) -> None:
    """Make a detached copy read-only, with all that is mounted in it."""
    wanted = _MountAttributes(attr_set=_MOUNT_ATTR_RDONLY)
    flags = ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    _call(_MOUNT_SETATTR, ctypes.c_int(tree), b"", flags, ctypes.byref(wanted), size)


def attach(tree: int, target: str) -> None:
    """Mount a detached copy at ``target``."""
    place, flags = ctypes.c_int(-100), ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH)
    _call(_MOVE_MOUNT, ctypes.c_int(tree), b"", place, os.fsencode(target), flags)


def open_plain(path: str) -> int:
    """A descriptor of a place, for naming it (O_PATH); ELOOP where a link is on the way."""
    return open_beneath(-100, path, os.O_PATH, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)


def open_beneath(directory: int, path: str, flags: int, resolve: int) -> int:
    """openat2(2): open ``path`` below a directory's descriptor under ``resolve``."""
    how = _OpenHow(flags=flags | os.O_CLOEXEC, mode=0, resolve=resolve)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    name = os.fsencode(path)
    return _call(_OPENAT2, ctypes.c_int(directory), name, ctypes.byref(how), size)

"""The file system that every box begins with, before the mounts of its order."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from portcullis.core.sandbox import Network, Profile

NAME: Final = "sandbox"
"""Its host name."""
TMP: Final = "/tmp"  # noqa: S108 - in the box
SHM: Final = "/dev/shm"  # noqa: S108 - in the box
SCRATCH: Final = "/scratch"
SHARED: Final = 2**20
"""Bytes of /dev/shm."""
TOP: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""What is a link into /usr, or a directory of its own on older systems."""
ETC: Final = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "ssl/certs",
              "ca-certificates", "mime.types", "protocols", "services")  # fmt: skip
"""What of /etc a program needs that tells nothing about this machine."""
RESOLVER: Final = b"nameserver 127.0.0.1\noptions ndots:1 attempts:2\n"
"""Where a box that has a way to the gate asks for names."""
MASKED: Final = (
    *("kallsyms", "cmdline", "keys", "key-users", "timer_list", "sched_debug", "latency_stats"),
    *("kcore", "interrupts", "softirqs", "iomem", "ioports", "diskstats", "consoles"),
    *("partitions", "modules", "buddyinfo", "zoneinfo", "pagetypeinfo", "config.gz"),
    *("version_signature", "sys/kernel/random/boot_id"),
)
"""What of /proc tells about the kernel or this machine, and is empty in a box."""


def made_files(profile: Profile) -> dict[str, bytes]:
    """The files of /etc that are a box's own."""
    user = f"sandbox:x:{profile.uid}:{profile.uid}:sandbox:/scratch:/bin/sh\n"
    names = {"/etc/resolv.conf": RESOLVER} if profile.network is Network.GATE else {}
    return names | {
        "/etc/passwd": f"root:x:0:0:root:/nonexistent:/bin/false\n{user}".encode(),
        "/etc/group": f"root:x:0:\nsandbox:x:{profile.uid}:\n".encode(),
        "/etc/hosts": f"127.0.0.1 localhost {NAME}\n::1 localhost\n".encode(),
        "/etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\n",
        "/etc/hostname": f"{NAME}\n".encode(),
    }


def links(root: Path = Path("/")) -> dict[str, str]:
    """The links at the top, as they are here: ``/lib`` to ``usr/lib``."""
    return {f"/{name}": str((root / name).readlink()) for name in TOP if (root / name).is_symlink()}


def shared(root: Path = Path("/")) -> tuple[str, ...]:
    """What of this machine is in every box, read-only."""
    top = [f"/{name}" for name in TOP if (root / name).is_dir() and not (root / name).is_symlink()]
    etc = [f"/etc/{name}" for name in ETC if (root / "etc" / name).exists()]
    return ("/usr", *top, *etc)


def masked(root: Path = Path("/")) -> tuple[str, ...]:
    """What of /proc is hidden, as far as this kernel has it."""
    return tuple(f"/proc/{name}" for name in MASKED if (root / "proc" / name).exists())

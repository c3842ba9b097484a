"""Have a box's own network let its user listen at any port: what resolves names listens at 53.

Run as a program of its own (standard library only) because a process enters a user namespace with
one thread, and would lose what it may do there with an exec:

    python3 -I -S ports.py NETWORK-DESCRIPTOR

The number that is written belongs to the network namespace of the box (ip-sysctl,
``ip_unprivileged_port_start``). It is written after both namespaces were entered, and not at all
where the network is our own.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

SYSCTL: Final = "net.ipv4.ip_unprivileged_port_start"
_OWNER: Final = 0xB701
"""NS_GET_USERNS (ioctl_ns(2)): the user namespace that a namespace belongs to."""
_SECONDS: Final = 10.0
_NET: Final = "/proc/self/ns/net"


def opened(pid: int) -> bool:
    """Do it for the network of a process in a box; False where this machine does not let us."""
    with suppress(OSError, subprocess.SubprocessError):
        network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            ended = subprocess.run(  # noqa: S603 - this file
                (sys.executable, "-I", "-S", __file__, str(network)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                pass_fds=(network,),
                timeout=_SECONDS,
                check=False,
            )
        finally:
            os.close(network)
        return ended.returncode == 0
    return False


def main(network: int) -> None:
    """Enter the namespaces and write. Raises OSError when one of the steps cannot be."""
    ours = os.stat(_NET).st_ino  # noqa: PTH116 - a namespace, and not a file
    if os.fstat(network).st_ino == ours:
        raise PermissionError(_NET)
    libc = ctypes.CDLL(None, use_errno=True)
    for one in (fcntl.ioctl(network, _OWNER), network):
        if libc.setns(one, 0):
            raise OSError(ctypes.get_errno(), "setns")
    if os.stat(_NET).st_ino in {ours, 0}:  # noqa: PTH116 - the same
        raise PermissionError(_NET)
    Path("/proc/sys", *SYSCTL.split(".")).write_text("0")


if __name__ == "__main__":
    main(int(sys.argv[1]))

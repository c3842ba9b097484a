"""Device nodes: those that are there, and those that it would make."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from .kit import REFUSALS, REGISTER, Plan, Try, attempt, call, text
from .numbers import number

_AT_FDCWD = -100
_CHARACTER, _BLOCK = 0o020000, 0o060000


def _opens(*paths: str) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        for path in paths:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
            except OSError as error:
                if error.errno in REFUSALS:
                    continue
                raise
            os.close(descriptor)
            return f"{path} was opened"
        return None

    return run


for _name, _paths in {
    "memory": ("/dev/mem", "/dev/kmem", "/dev/port"),
    "messages": ("/dev/kmsg",),
    "disks": ("/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/loop0", "/dev/dm-0", "/dev/ram0"),
    "loop_control": ("/dev/loop-control", "/dev/mapper/control"),
    "kvm": ("/dev/kvm", "/dev/vhost-net", "/dev/vhost-vsock", "/dev/vfio/vfio"),
    "fuse": ("/dev/fuse", "/dev/cuse"),
    "tun": ("/dev/net/tun",),
    "vsock": ("/dev/vsock",),
    "inputs": ("/dev/uinput", "/dev/input/event0", "/dev/input/mice"),
    "consoles": ("/dev/tty0", "/dev/tty1", "/dev/ttyS0", "/dev/vcs", "/dev/vcsa1"),
    "graphics": ("/dev/dri/card0", "/dev/dri/renderD128", "/dev/fb0", "/dev/nvidia0"),
    "time": ("/dev/rtc0", "/dev/hpet", "/dev/ptp0"),
    "security": ("/dev/tpm0", "/dev/tpmrm0", "/dev/sgx_enclave", "/dev/watchdog"),
    "processors": ("/dev/cpu/0/msr", "/dev/cpu/0/cpuid", "/dev/cpu_dma_latency"),
    "binder": ("/dev/binder", "/dev/ashmem", "/dev/userfaultfd"),
}.items():
    REGISTER.add(f"devices.{_name}", f"open {', '.join(_paths)}", _opens(*_paths))


def _makes(mode: int, major: int, minor: int) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        path = f"/scratch/node-{major}-{minor}"
        device = os.makedev(major, minor)
        call(number("mknodat"), _AT_FDCWD, text(path), mode | 0o666, device)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        finally:
            Path(path).unlink()
        return "it was made and opened"

    return run


for _name, _mode, _major, _minor in (
    ("memory", _CHARACTER, 1, 1),
    ("fuse", _CHARACTER, 10, 229),
    ("disk", _BLOCK, 8, 0),
    ("virtual_disk", _BLOCK, 254, 0),
    ("null", _CHARACTER, 1, 3),
):
    REGISTER.add(
        f"devices.make_{_name}",
        f"make a device node {_major}:{_minor}",
        _makes(_mode, _major, _minor),
    )


@attempt("devices.node_by_socket", "bind a socket over a device's name")
def over(plan: Plan) -> str | None:
    """A false /dev/null would catch what others write."""
    del plan
    Path("/dev/null").unlink()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("/dev/null")
    return "it was replaced"


@attempt(
    "devices.unknown",
    "open any device but those that every program needs",
    stops=REFUSALS | {errno.EIO},
)
def unknown(plan: Plan) -> str | None:
    """Whatever else is in /dev."""
    del plan
    known = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
    for entry in os.scandir("/dev"):
        if entry.name in known or entry.is_symlink() or entry.is_dir() or entry.is_file():
            continue
        try:
            os.close(os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
        except OSError:
            continue
        return entry.path
    return None

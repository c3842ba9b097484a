"""Taking so much that others have too little. All of it bounded a little above the profile."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

from .kit import FULL, REFUSALS, REGISTER, Plan, Try, attempt

_MIB = 1 << 20
_PAGE = 4096
_SLOW = 60.0


@attempt(
    "exhaustion.processes", "make more processes than it may", stops=FULL, alone=True, seconds=20
)
def processes(plan: Plan) -> str | None:
    """As many as the profile has, and half as many more."""
    made = []
    try:
        for _ in range(plan.pids + plan.pids // 2):
            child = os.fork()
            if child == 0:
                signal.pause()
            made.append(child)
    finally:
        for child in made:
            os.kill(child, signal.SIGKILL)
    return f"{len(made)} processes"


@attempt(
    "exhaustion.fork_bomb",
    "double itself until nothing more can",
    stops=FULL,
    alone=True,
    seconds=20,
)
def fork_bomb(plan: Plan) -> str | None:
    """Eight generations, each held: 255 children, of which the profile must refuse some."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    top = os.getpid()
    for _ in range(8):
        try:
            child = os.fork()
        except OSError:
            break
        if child == 0:
            os.write(write, b".")
    if os.getpid() != top:
        signal.pause()
    time.sleep(1)
    born = len(os.read(read, 4096))
    return f"{born} children" if born >= plan.pids else None


@attempt(
    "exhaustion.threads",
    "make more threads than it may have processes",
    stops=FULL,
    alone=True,
    seconds=20,
)
def threads(plan: Plan) -> str | None:
    """They count as processes."""
    hold = threading.Event()
    for made in range(plan.pids + plan.pids // 2):
        try:
            threading.Thread(target=hold.wait, daemon=True).start()
        except RuntimeError:
            return None if made < plan.pids else f"{made} threads"
    return "half more than it may"


def _grow(plan: Plan, take: object) -> str:
    for _ in range((plan.memory // _MIB + 64) // 8):
        take()  # type: ignore[operator]
    return "64 MiB more than it may"


@attempt("exhaustion.memory", "take more memory than it may", stops=FULL, alone=True, seconds=_SLOW)
def memory(plan: Plan) -> str | None:
    """A heap that grows by 8 MiB, each page written."""
    held: list[bytearray] = []

    def take() -> None:
        part = bytearray(8 * _MIB)
        part[::_PAGE] = b"x" * (len(part) // _PAGE)
        held.append(part)

    return _grow(plan, take)


@attempt(
    "exhaustion.memory_shared",
    "take more memory than it may, as files in memory",
    stops=FULL,
    alone=True,
    seconds=_SLOW,
)
def memory_shared(plan: Plan) -> str | None:
    """memfd_create: what no heap counts."""
    chunk = b"x" * (8 * _MIB)

    def take() -> None:
        os.write(os.memfd_create("portcullis"), chunk)

    return _grow(plan, take)


@attempt(
    "exhaustion.memory_of_many",
    "take more memory than it may, by many processes",
    stops=FULL,
    alone=True,
    seconds=_SLOW,
)
def memory_of_many(plan: Plan) -> str | None:
    """Eight, each with a share that it may have alone."""
    share = (plan.memory + 64 * _MIB) // 8
    read, write = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            part = bytearray(share)
            part[::_PAGE] = b"x" * len(part[::_PAGE])
            os.write(write, b".")
            signal.pause()
        children.append(child)
    os.close(write)
    until, got = time.monotonic() + 20, 0
    os.set_blocking(read, False)
    while got < len(children) and time.monotonic() < until:
        try:
            got += len(os.read(read, 8))
        except BlockingIOError:
            time.sleep(0.05)
        if any(os.waitpid(child, os.WNOHANG)[0] for child in children):
            return None
    for child in children:
        os.kill(child, signal.SIGKILL)
    return "all of it" if got == len(children) else None


@attempt(
    "exhaustion.memory_kernel",
    "take more memory than it may, as buffers of sockets",
    stops=FULL | REFUSALS,
    alone=True,
    seconds=_SLOW,
)
def memory_kernel(plan: Plan) -> str | None:
    """Pairs of sockets that are filled and never read."""
    held: list[socket.socket] = []
    taken = 0
    while taken < plan.memory + 64 * _MIB:
        for one in socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM):
            one.setblocking(False)  # noqa: FBT003 - as the library has it
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * _MIB)
            held.append(one)
            try:
                while True:
                    taken += one.send(b"x" * 65536)
            except BlockingIOError:
                continue
    return "64 MiB more than it may"


def _fills(folder: str, limit: str) -> Try:
    def run(plan: Plan) -> str | None:
        bound = getattr(plan, limit) if limit else plan.memory
        chunk, written = b"x" * (2 * _MIB), 0
        for number in range(bound // (32 * _MIB) + 2):
            with (Path(folder) / f"fill-{number}").open("wb", buffering=0) as out:
                for _ in range(16):
                    written += out.write(chunk)
                    if written > bound + 4 * _MIB:
                        return f"{written // _MIB} MiB in {folder}"
        return None

    return run


for _name, _folder, _limit in (
    ("tmp", "/tmp", "tmp"),
    ("scratch", "/scratch", "scratch"),
    ("shm", "/dev/shm", ""),
):
    REGISTER.add(
        f"exhaustion.fill_{_name}",
        f"fill {_folder} beyond its size",
        _fills(_folder, _limit),
        stops=FULL | REFUSALS,
        alone=True,
        seconds=_SLOW,
    )


@attempt(
    "exhaustion.inodes",
    "make files of nothing until memory is full",
    stops=FULL,
    alone=True,
    seconds=_SLOW,
)
def inodes(plan: Plan) -> str | None:
    """Each costs the kernel about a kilobyte: as many as the memory that it may have."""
    for number in range(plan.memory // 1024 + 65536):
        os.close(os.open(f"/scratch/{number}", os.O_CREAT | os.O_WRONLY, 0o600))
    return f"{number + 1} files"


@attempt("exhaustion.large_file", "write a file that has no end", stops=FULL | REFUSALS)
def large_file(plan: Plan) -> str | None:
    """A hole of a tebibyte in a writable place of the machine, if there is one."""
    for place in ("/scratch", *plan.writable):
        path = Path(place) / "large"
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            os.posix_fallocate(descriptor, 0, 1 << 33)
        except OSError as error:
            if error.errno in FULL | REFUSALS:
                continue
            raise
        finally:
            os.close(descriptor)
            path.unlink()
        return f"8 GiB in {place}"
    return None


@attempt("exhaustion.descriptors", "open more than it may", stops=FULL)
def descriptors(plan: Plan) -> str | None:
    """As many as the profile has, and one more."""
    for _ in range(plan.files + 1):
        os.open("/dev/null", os.O_RDONLY)
    return f"{plan.files + 1} open"


@attempt("exhaustion.processor", "use more of the processor than it may", alone=True, seconds=20)
def processor(plan: Plan) -> str | None:
    """Two processes for two seconds; a quarter more than the share is let."""
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            until = time.monotonic() + 2
            while time.monotonic() < until:
                pass
            os._exit(0)
        children.append(child)
    start = time.monotonic()
    used = 0.0
    for child in children:
        usage = os.wait4(child, 0)[2]
        used += usage.ru_utime + usage.ru_stime
    share = used / (time.monotonic() - start)
    return f"{share:.2f} processors" if share > plan.cpu * 1.25 else None

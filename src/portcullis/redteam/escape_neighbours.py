"""Whether one box can take from another what the kernel counts per user (group ``neighbours``).

Two boxes: the first takes all that it gets and holds it, the second then needs a little of the
same. These came after the frozen list, when it was known that boxes may share a user.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Final

import msgspec

from portcullis.core.sandbox import Order, Profile, Streams
from portcullis.core.sandbox_ports import Box, Sandbox
from portcullis.redteam.escape_stage import PYTHON

GROUP: Final = "neighbours"
_SECONDS: Final = 30.0
_NEVER: Final = 77
_AGAIN: Final = (0.0, 0.3, 1.0, 2.0)
_HOLD: Final = """
import os, time
def all_of(step):
    # Several processes, as each has a bound of its own on descriptors.
    for _ in range(8):
        read, write = os.pipe()
        if os.fork() == 0:
            try:
                while True:
                    step()
            except (OSError, ValueError):
                os.write(write, b".")
            time.sleep(600)
        os.read(read, 1)
    os.write(1, b"held\\n")
    time.sleep(600)
"""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """``hold`` is one step of taking, ``need`` ends with status 0 where there is some left.

    Status 77 is for what no box may have at all: then none can be taken.
    """

    name: str
    tries: str
    hold: str
    need: str


PAIRS: Final = (
    Pair(
        name="watches",
        tries="leave other boxes no watches of files (inotify)",
        hold="""
import ctypes
libc = ctypes.CDLL(None)
def step():
    if libc.inotify_init1(0) < 0:
        raise OSError
""",
        need="""
import ctypes, errno
if ctypes.CDLL(None, use_errno=True).inotify_init1(0) < 0:
    raise SystemExit(77 if ctypes.get_errno() in (errno.ENOSYS, errno.EPERM) else 1)
""",
    ),
    Pair(
        name="pipes",
        tries="leave other boxes only the smallest pipes",
        hold="""
import fcntl, os
def step():
    read, write = os.pipe()
    fcntl.fcntl(write, 1031, 1 << 20)
""",
        need="""
import fcntl, os
raise SystemExit(fcntl.fcntl(os.pipe()[1], 1032) < 65536)
""",
    ),
    Pair(
        name="passing",
        tries="keep other boxes from passing descriptors",
        hold="""
import array, os, socket
null = os.open("/dev/null", os.O_RDONLY)
kept = []
def step():
    kept.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
    many = array.array("i", [null] * 100)
    kept[-1][0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, many)])
""",
        need="""
import socket
a, b = socket.socketpair()
for _ in range(20):
    socket.send_fds(a, [b"x"], [0, 1, 2])
""",
    ),
    Pair(
        name="signals",
        tries="leave other boxes no room for queued signals",
        hold="""
import ctypes, os, signal
libc = ctypes.CDLL(None)
signal.pthread_sigmask(signal.SIG_BLOCK, {40})
def step():
    if libc.sigqueue(os.getpid(), 40, ctypes.c_void_p(0)) < 0:
        raise OSError
""",
        need="""
import ctypes, os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {40})
raise SystemExit(ctypes.CDLL(None).sigqueue(os.getpid(), 40, ctypes.c_void_p(0)) < 0)
""",
    ),
)


async def disturbed(sandbox: Sandbox, profile: Profile, pair: Pair) -> str:
    """How a second box was disturbed; empty where it was not. ``unclear`` where it was not seen."""
    alone = await _alone(sandbox, profile, pair)
    if alone == _NEVER:
        return ""
    if alone:
        return "unclear: there is none of it even alone"
    async with _running(sandbox, profile, f"{_HOLD}{pair.hold}\nall_of(step)") as (_, said):
        held = await asyncio.wait_for(asyncio.to_thread(os.read, said, 16), _SECONDS)
        if held != b"held\n":
            return "unclear: the first box did not hold it"
        async with _running(sandbox, profile, pair.need) as (box, _):
            ended = await asyncio.wait_for(box.wait(), _SECONDS)
    return "another box had none left" if ended.status else ""


async def _alone(sandbox: Sandbox, profile: Profile, pair: Pair) -> int:
    """How a box ends that needs it, alone; what an ended one held may take a moment to go."""
    status = 0
    for wait in _AGAIN:
        await asyncio.sleep(wait)
        async with _running(sandbox, profile, pair.need) as (box, _):
            status = (await asyncio.wait_for(box.wait(), _SECONDS)).status
        if status in {0, _NEVER}:
            break
    return status


@asynccontextmanager
async def _running(sandbox: Sandbox, profile: Profile, code: str) -> AsyncIterator[tuple[Box, int]]:
    """A box that runs ``code``, and our end of its standard output."""
    order = Order(title="probe", argv=(PYTHON, "-I", "-S", "-c", code), profile=profile)
    with ExitStack() as ours:
        with ExitStack() as theirs:
            said, stdout = os.pipe()
            ours.callback(os.close, said)
            theirs.callback(os.close, stdout)
            null = os.open(os.devnull, os.O_RDWR)
            theirs.callback(os.close, null)
            box = await sandbox.start(order, Streams(stdin=null, stdout=stdout, stderr=null))
        try:
            yield box, said
        finally:
            await box.close()

"""A healthy box that is asked at an even pace, while another one takes all that it can get.

Quiet and busy rounds alternate, so that both see the same machine; a quiet round has the other box
too, which sleeps. Times count from when a question was due.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Final

from portcullis.bench.load import percentile
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Order, Profile, Streams
from portcullis.core.sandbox_ports import Box, Sandbox

_EVERY: Final = 0.005
_BEGIN: Final = 0.3
"""Until a bad box does its worst."""
_HEALTHY: Final = """
import hashlib, os
while os.read(0, 1):
    for n in range(200):
        hashlib.sha256(b"%d" % n).digest()
    os.write(1, b".")
"""
_SLEEPS: Final = "import time; time.sleep(600)"
BAD: Final[Mapping[str, str]] = {
    "fork_bomb": """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
    "memory_hog": """
import os
while True:
    child = os.fork()
    if child == 0:
        held = []
        while True:
            held.append(bytearray(b"x") * (1 << 22))
    os.waitpid(child, 0)
""",
    "cpu_hog": """
import os
for _ in range(8):
    if os.fork() == 0:
        break
while True:
    pass
""",
}

Say = Callable[[str], None]


async def measure_neighbour(
    sandbox: Sandbox, seconds: float, rounds: int, say: Say
) -> dict[str, float]:
    """p50 and p99 in milliseconds, alone and beside each bad box, and the ratio of the p99s.

    Problem PC7007 when the healthy box does not answer.
    """
    figures: dict[str, float] = {}
    async with _running(sandbox, _HEALTHY) as (_, asked, answers):
        for name, code in BAD.items():
            taken: dict[str, list[float]] = {"quiet": [], "busy": []}
            for number in range(rounds):
                say(f"beside a {name.replace('_', ' ')}, round {number + 1} of {rounds}")
                for kind, what in (("quiet", _SLEEPS), ("busy", code)):
                    async with _running(sandbox, what):
                        await asyncio.sleep(_BEGIN)
                        taken[kind] += await asyncio.to_thread(_asked, asked, answers, seconds)
            for kind, times in taken.items():
                times.sort()
                for share, part in (("p50", 0.5), ("p99", 0.99)):
                    figures[f"{name}_{kind}_{share}_ms"] = percentile(times, part) * 1000
            for share in ("p50", "p99"):
                quiet, busy = (figures[f"{name}_{kind}_{share}_ms"] for kind in taken)
                figures[f"{name}_neighbour_{share}_ratio"] = busy / quiet
    return figures


def _asked(asked: int, answers: int, seconds: float) -> list[float]:
    """Ask at an even pace; how long each answer took from when it was due, in seconds."""
    taken, due = [], time.perf_counter()
    until = due + seconds
    while due < until:
        time.sleep(max(0.0, due - time.perf_counter()))
        os.write(asked, b"?")
        if not os.read(answers, 1):
            raise Problem("PC7007", "the healthy box does not answer")
        taken.append(time.perf_counter() - due)
        due = max(due + _EVERY, time.perf_counter() - _EVERY)
    return taken


@asynccontextmanager
async def _running(sandbox: Sandbox, code: str) -> AsyncIterator[tuple[Box, int, int]]:
    """A strict box that runs ``code``, and our ends of its standard input and output."""
    argv = ("/usr/bin/python3", "-I", "-S", "-c", code)
    order = Order(title="bench", argv=argv, profile=Profile())
    with ExitStack() as ours:
        with ExitStack() as theirs:
            stdin, asked = os.pipe()
            answers, stdout = os.pipe()
            null = os.open(os.devnull, os.O_RDWR)
            for mine in (asked, answers):
                ours.callback(os.close, mine)
            for its in (stdin, stdout, null):
                theirs.callback(os.close, its)
            box = await sandbox.start(order, Streams(stdin=stdin, stdout=stdout, stderr=null))
        try:
            yield box, asked, answers
        finally:
            await box.close()

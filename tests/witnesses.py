"""Witnesses for tests: in a thread, or as the real program in a process of its own.

with witness_thread(folder, "w1.example", [verifier]) as running: ...   # .url, .vkey
with witness_process(folder, "w1.example", [vkey]) as running: ...      # .url, .vkey, .process
policy = written_policy(folder / "policy", [running], quorum="all")
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

from portcullis.audit.note import Verifier
from portcullis.bootstrap.witness import opened_witness, running_witness

PROGRAM = "from portcullis.cli import main; main()"


class Clock:
    """The machine's, or set to a time."""

    def __init__(self, at: float = 2_000_000_000.0) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


@contextlib.contextmanager
def witness_thread(
    folder: Path,
    name: str,
    logs: Sequence[Verifier],
    clock: Clock | None = None,
    listen: str = "127.0.0.1:0",
) -> Iterator[SimpleNamespace]:
    """A witness served by a thread of this process."""
    ready, stop = threading.Event(), SimpleNamespace(call=lambda: None)
    found = SimpleNamespace(name=name)

    async def serve() -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.call = lambda: loop.call_soon_threadsafe(end.set)
        with opened_witness(folder, name, logs, clock=clock) as opened:
            async with running_witness(opened, listen) as running:
                found.url, found.vkey, found.witness = running.url, running.vkey, opened
                ready.set()
                await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield found
    finally:
        stop.call()
        thread.join(20)


@contextlib.contextmanager
def witness_process(
    folder: Path, name: str, logs: Sequence[str], listen: str = "127.0.0.1:0"
) -> Iterator[SimpleNamespace]:
    """The program, as an operator starts it."""
    keys = [word for log in logs for word in ("--log", str(log))]
    words = ["audit", "witness", "--state", str(folder), "--name", name, "--listen", listen]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words, *keys, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, process.communicate(timeout=10)[1]
        yield SimpleNamespace(name=name, process=process, **json.loads(said))
    finally:
        process.terminate()
        process.communicate(timeout=20)


def written_policy(
    place: Path,
    witnesses: Sequence[SimpleNamespace],
    quorum: str = "all",
    logs: Sequence[object] = (),
) -> Path:
    """A policy file in which ``quorum`` (all, any, a number) of the witnesses are needed."""
    lines = [f"log {log}" for log in logs]
    lines += [f"witness {one.name} {one.vkey} {one.url}" for one in witnesses]
    lines += [f"group them {quorum} {' '.join(one.name for one in witnesses)}", "quorum them", ""]
    place.write_text("\n".join(lines))
    return place

"""What loads the log, and the two ways of a commit for each event that it is held against."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from portcullis.audit.log import AuditLog
from portcullis.bench.gate import AGENT
from portcullis.bench.load import percentile
from portcullis.core.call import Action, Route
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType


@dataclass(slots=True)
class Disk:
    """Counts syncs and makes each ``slower`` seconds longer: a stand-in for another disk."""

    slower: float = 0.0
    syncs: int = 0

    def sync(self, file: int) -> None:
        """Return when what was written to ``file`` would survive a power cut."""
        os.fdatasync(file)
        self.synced()

    def synced(self) -> None:
        """Count a sync that somebody else did, and wait as long as another disk would."""
        self.syncs += 1
        if self.slower:
            time.sleep(self.slower)


@dataclass(frozen=True, slots=True)
class Cell:
    """Seconds that each event took to be durable, ascending; what the log refused; the time."""

    taken: list[float]
    refused: int
    seconds: float

    def figures(self, name: str) -> dict[str, float]:
        """Events made durable in a second, and their latencies."""
        return {
            f"{name}_per_s": len(self.taken) / self.seconds,
            f"{name}_p50_ms": percentile(self.taken, 0.5) * 1000,
            f"{name}_p99_ms": percentile(self.taken, 0.99) * 1000,
        }


def events() -> Iterator[Event]:
    """Decisions about a tool call as a gate records them, each with an id of its own."""
    for number in itertools.count():
        yield Event(
            v=1,
            id=f"{number:032x}",
            time=datetime.now(UTC),
            type=EventType.TOOL_CALL,
            gateway="gate",
            trace_id="0" * 32,
            principal_kind="agent",
            principal=AGENT,
            credential="bench",
            source="127.0.0.1:5000",
            route=Route.MCP_HTTP,
            action=Action.TOOL,
            server="desk",
            name="search_records_0_0",
            commitments={"request": "hmac-sha256:" + "0" * 64},
            request_bytes=1000,
            risk="read",
            verdict="allow",
            rule="roles.role_0.permissions[0] read:records_0_0 @ main.yaml:300",
            policy="sha256:" + "0" * 64,
        )


async def closed_loop(log: AuditLog, made: Iterator[Event], writers: int, seconds: float) -> Cell:
    """So many writers, each of which goes on when its event is durable."""
    taken: list[float] = []
    began = time.perf_counter()

    async def write() -> None:
        while (before := time.perf_counter()) < began + seconds:
            await log.durable(next(made))
            taken.append(time.perf_counter() - before)

    await asyncio.gather(*(write() for _ in range(writers)))
    return Cell(sorted(taken), 0, time.perf_counter() - began)


async def open_loop(log: AuditLog, made: Iterator[Event], rate: float, seconds: float) -> Cell:
    """``rate`` events per second at random moments, however long the last ones take.

    Latency counts from the moment when an event was due, which a timer that ticks in
    milliseconds finds out late. The time runs until the last is durable or refused.
    """
    chance = random.Random(1)  # noqa: S311 - a schedule, not a secret
    taken: list[float] = []
    refused = 0
    running: set[asyncio.Task[None]] = set()

    async def write(due: float) -> None:
        nonlocal refused
        try:
            await log.durable(next(made))
        except Problem:
            refused += 1
        else:
            taken.append(time.perf_counter() - due)

    began = due = time.perf_counter()
    while due < began + seconds:
        while due <= time.perf_counter():
            task = asyncio.create_task(write(due))
            running.add(task)
            task.add_done_callback(running.discard)
            due += chance.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await asyncio.gather(*running)
    return Cell(sorted(taken), refused, time.perf_counter() - began)


def sqlite_commits(place: Path, entry: bytes, seconds: float, disk: Disk) -> Cell:
    """One INSERT and one COMMIT for each event: SQLite in WAL mode with synchronous=FULL."""
    with closing(sqlite3.connect(place / "commits.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, entry BLOB)")

        def commit() -> None:
            database.execute("BEGIN")
            database.execute("INSERT INTO event (entry) VALUES (?)", (entry,))
            database.execute("COMMIT")
            disk.synced()

        return _one_by_one(commit, seconds)


def file_commits(place: Path, entry: bytes, seconds: float, disk: Disk) -> Cell:
    """One append to a file and one fdatasync for each event."""
    with (place / "commits").open("ab", buffering=0) as file:

        def commit() -> None:
            file.write(entry)
            disk.sync(file.fileno())

        return _one_by_one(commit, seconds)


def _one_by_one(commit: Callable[[], None], seconds: float) -> Cell:
    taken = []
    began = time.perf_counter()
    while (before := time.perf_counter()) < began + seconds:
        commit()
        taken.append(time.perf_counter() - before)
    return Cell(sorted(taken), 0, time.perf_counter() - began)


TURNS: Final = {"commit_sqlite": sqlite_commits, "commit_file": file_commits}
"""Both ways of a commit for each event, by the names of their figures."""

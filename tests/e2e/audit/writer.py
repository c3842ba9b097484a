"""A process that writes events as fast as it can and prints the id of each acknowledged one.

Arguments: the state folder, a number to start from, and ``file-limit=BYTES`` to meet a full disk
or ``witnesses=POLICY`` to have the log witnessed: then an event is acknowledged when a published
checkpoint covers it, too.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from portcullis.audit.feeder import Feeder
from portcullis.audit.log import AuditLog, open_log
from portcullis.audit.quorum import load_quorum
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope


class SystemClock:
    """The machine's."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def make(number: int) -> Event:
    return Event(
        v=1,
        id=f"event-{number}",
        time=datetime.now(UTC),
        type=EventType.TOOL_CALL,
        gateway="gw",
        reason="x" * (number % 700),
    )


async def write(log: AuditLog, numbers: count) -> None:
    while True:
        number = next(numbers)
        log.enqueue(make(-number))
        await log.durable(make(number))
        if log.witnesses:
            await log.witnessed()
        os.write(1, f"{number}\n".encode())


async def main(root: Path, start: int, policy: str) -> None:
    sealer = Envelope(FileKeyManager(root / "master.key", create=True))
    place = root / "log", root / "keys", "example.org/gate"
    witnesses = None
    if policy:
        quorum = load_quorum(Path(policy))
        witnesses = Feeder(place[0], quorum, clock=SystemClock(), seconds=10)
    log = open_log(*place, sealer=sealer, checkpoint_seconds=0.01, witnesses=witnesses)
    numbers = count(start)
    results = await asyncio.gather(
        *(write(log, numbers) for _ in range(20)), return_exceptions=True
    )
    codes = {r.code if isinstance(r, Problem) else repr(r) for r in results}
    sys.exit(f"stopped: {sorted(codes)} {log.failure}")


if __name__ == "__main__":
    options = dict(option.split("=", 1) for option in sys.argv[3:])
    if "file-limit" in options:
        limit = int(options["file-limit"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), options.get("witnesses", "")))

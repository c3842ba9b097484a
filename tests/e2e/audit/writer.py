"""A process that writes events as fast as it can and prints the id of each acknowledged one.

Arguments: the state folder, a number to start from, and ``file-limit=BYTES`` to meet a full disk.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from portcullis.audit.log import AuditLog, open_log
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope


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
        os.write(1, f"{number}\n".encode())


async def main(root: Path, start: int) -> None:
    sealer = Envelope(FileKeyManager(root / "master.key", create=True))
    place = root / "log", root / "keys", "example.org/gate"
    log = open_log(*place, sealer=sealer, checkpoint_seconds=0.01)
    numbers = count(start)
    results = await asyncio.gather(
        *(write(log, numbers) for _ in range(20)), return_exceptions=True
    )
    codes = {r.code if isinstance(r, Problem) else repr(r) for r in results}
    sys.exit(f"stopped: {sorted(codes)} {log.failure}")


if __name__ == "__main__":
    for option in sys.argv[3:]:
        limit = int(option.removeprefix("file-limit="))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))

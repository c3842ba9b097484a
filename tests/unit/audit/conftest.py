"""Logs to read, break and verify."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from portcullis.audit.log import AuditLog, open_log
from portcullis.audit.note import Verifier
from portcullis.audit.verify import own_verifier
from portcullis.core.event import Event, EventType
from sealers import sealer_at

ORIGIN = "example.org/gate"
START = datetime(2030, 1, 1, tzinfo=UTC)


def make_event(number: int, **fields: Any) -> Event:
    given = {
        "type": EventType.TOOL_CALL,
        "principal": "agent-1",
        "server": "orders",
        "name": "search",
        "verdict": "allow",
        **fields,
    }
    return Event(
        v=1,
        id=f"{number:032x}",
        time=START + timedelta(seconds=number),
        gateway="gw",
        **given,
    )


class Place:
    """Where a test's log lives, and how to open and fill it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        self.keys = root / "keys"
        self.sealer = sealer_at(root)

    def open(self, **options: Any) -> AuditLog:
        return open_log(self.log, self.keys, ORIGIN, sealer=self.sealer, **options)

    def fill(self, count: int, start: int = 0, **fields: Any) -> None:
        with self.open() as log:
            for number in range(start, start + count):
                log.enqueue(make_event(number, **fields))

    @property
    def verifier(self) -> Verifier:
        return own_verifier(self.log)

    @property
    def checkpoint(self) -> bytes:
        return (self.log / "checkpoint").read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def event() -> Callable[..., Event]:
    return make_event

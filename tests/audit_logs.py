"""A log in a folder that grows when a test tells it to, and what ships it."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from portcullis.audit.log import AuditLog, open_log
from portcullis.audit.note import Verifier
from portcullis.audit.replica.ship import Shipper
from portcullis.audit.replica.worker import Notice
from portcullis.audit.verify import own_verifier
from portcullis.core.event import Event, EventType
from portcullis.store.objects import StoreSettings, open_objects
from sealers import sealer_at

ORIGIN = "example.org/gate"
TIME = datetime(2030, 1, 1, tzinfo=UTC)


def event(name: str) -> Event:
    """A small event with this id."""
    return Event(v=1, id=name, time=TIME, type=EventType.ADMIN, gateway="gw")


class Log:
    """The log in ``root/log``, its keys in ``root/keys``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "log"

    def open(self, **options: Any) -> AuditLog:
        """Open it for writing."""
        place = self.directory, self.root / "keys", ORIGIN
        return open_log(*place, sealer=sealer_at(self.root), queue=10**6, **options)

    def grow(self, count: int, mark: str = "") -> None:
        """Add events and publish them."""
        with self.open() as log:
            for number in range(count):
                log.enqueue(event(f"{log.size}-{mark}{number}"))

    def begin_anew(self) -> None:
        """Forget the log and keep its key: what its holder could do."""
        shutil.rmtree(self.directory)
        (self.directory / "journal").mkdir(parents=True)

    @property
    def verifier(self) -> Verifier:
        """Its public key."""
        return own_verifier(self.directory)


class SystemClock:
    """The machine's."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def shipper_to(far: Path, log: Log, notice: Notice) -> Shipper:
    """What ships a log to a folder."""
    store = open_objects(StoreSettings(url=far.as_uri()))
    return Shipper(
        "far",
        log.directory,
        log.verifier,
        store,
        clock=SystemClock(),
        notice=notice,
        lag_seconds=60,
    )

"""A log of a few events, for evaluations and packages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from portcullis.audit.log import open_log
from portcullis.audit.note import Verifier
from portcullis.audit.verify import own_verifier
from portcullis.core.event import Event
from portcullis.review.logs import Log, Logs
from sealers import sealer_at
from unit.review.making import ORIGIN


class Place:
    """Where a test's log lies."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        self.facts = root / "evidence" / "facts.json"

    def write(self, events: Iterable[Event]) -> None:
        with open_log(self.log, self.root / "keys", ORIGIN, sealer=sealer_at(self.root)) as log:
            for event in events:
                log.enqueue(event)

    @property
    def verifier(self) -> Verifier:
        return own_verifier(self.log)

    @property
    def logs(self) -> Logs:
        return Logs(Log("gate", self.log, self.verifier))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)

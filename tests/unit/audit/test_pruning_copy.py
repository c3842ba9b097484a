"""If these fail, a copy keeps what is past its time, or loses what is not, and verifies no more."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from portcullis.audit import query
from portcullis.audit.pruned import PRUNE, parameters
from portcullis.audit.pruning_copy import PrunedCopy
from portcullis.audit.retention_holds import Hold
from portcullis.audit.tiles import ENTRIES, tile_path
from portcullis.audit.verify import verify
from portcullis.core.errors import Problem
from portcullis.core.event import EventType

START = 1893456000.0
LATE = {"tool_call": START + 5000.0}
ALL = 10**9


class Copied:
    """A log of another host that says twice what it pruned, and the copy of it."""

    def __init__(self, place: Any, event: Any) -> None:
        with place.open(checkpoint_seconds=0.01) as log:
            for number in range(600):
                log.enqueue(event(number, session="kept" if number == 7 else ""))
            self.say(log, event, 5001, range(300))
            for number in range(600, 1200):
                log.enqueue(event(number))
        self.folder, self.verifier = place.root / "copy", place.verifier
        shutil.copytree(place.log, self.folder)
        shutil.rmtree(self.folder / "journal")
        self.forgotten: list[int] = []
        self.act = PrunedCopy(self.folder, self.verifier, self.forgotten.extend)

    @staticmethod
    def say(log: Any, event: Any, number: int, numbers: Any) -> None:
        said = parameters(list(numbers), {"tool_call": START + 400.0}, {"tool_call": 0.0})
        log.append_now(event(number, type=EventType.ADMIN, method=PRUNE, parameters=said))

    def left(self) -> int:
        return sum(1 for _ in query.records(self.folder, self.verifier))

    def holds(self) -> bool:
        return verify(self.folder, self.verifier).ok


@pytest.fixture
def copied(place: Any, event: Any) -> Copied:
    return Copied(place, event)


def test_what_the_log_says_it_pruned_goes_from_the_copy_which_goes_on_to_verify(copied) -> None:
    whole = copied.left()
    assert copied.act.step(LATE, (), ALL) == 300
    assert set(copied.forgotten) == set(range(300))
    assert copied.left() == whole - 300
    assert copied.holds()
    assert copied.act.step(LATE, (), ALL) == 0


def test_what_is_to_be_kept_here_stays_whatever_the_log_says(copied) -> None:
    assert copied.act.step({}, (), ALL) == 0, "for ever"
    assert copied.act.step({"tool_call": START - 1.0}, (), ALL) == 0, "younger"
    assert copied.act.step(LATE, (), 255) == 0, "not read by all"
    hold = Hold(id="h", kind="session", target="kept", tags={}, reason="r", by="o", since=0.0)
    assert copied.act.step(LATE, (hold,), ALL) == 299
    assert 7 not in copied.forgotten
    assert copied.holds()


def test_what_is_not_the_logs_is_evidence_and_stays(copied) -> None:
    path = copied.folder / tile_path(ENTRIES, 0)
    path.write_bytes(path.read_bytes().replace(b"tool_call", b"tool_calm", 1))
    with pytest.raises(Problem, match="PC6005"):
        copied.act.step(LATE, (), ALL)
    assert not copied.forgotten

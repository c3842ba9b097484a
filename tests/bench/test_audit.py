"""What the figures of the log say, and what they must not hide."""

import asyncio
import itertools
import time

import pytest

from portcullis.audit.log import open_log
from portcullis.bench.audit import OFFERED, WRITERS, measure_audit
from portcullis.bench.audit_load import TURNS, Disk, closed_loop, events, open_loop
from sealers import sealer_at

SLOW = 0.04


@pytest.fixture
def opened(tmp_path):
    def run(**options):
        place = tmp_path / "log", tmp_path / "keys", "bench.local/gate"
        return open_log(*place, sealer=sealer_at(tmp_path), **options)

    return run


def counted(made, seen):
    for event in made:
        seen.append(event)
        yield event


def test_an_open_loop_counts_the_time_that_events_wait_for_a_slow_disk(opened):
    with opened(sync=Disk(SLOW).sync) as log:
        cell = asyncio.run(open_loop(log, events(), 500, 0.5))
    assert cell.taken == sorted(cell.taken)
    # an event waits for the commit before its own, and that takes SLOW
    assert SLOW < cell.figures("x")["x_p50_ms"] / 1000 < 1
    assert cell.figures("x")["x_p99_ms"] / 1000 > 1.5 * SLOW


def test_an_open_loop_offers_its_rate_and_many_events_share_a_sync(opened):
    disk = Disk(SLOW)
    seen = []
    with opened(sync=disk.sync) as log:
        before = disk.syncs
        cell = asyncio.run(open_loop(log, counted(events(), seen), 1000, 0.5))
    assert 400 < len(seen) < 600
    assert len(cell.taken) == len(seen)
    assert len(cell.taken) > 10 * (disk.syncs - before)


def test_events_that_the_log_refuses_are_counted_and_never_pass_for_fast(opened):
    seen = []
    with opened(queue=4, sync=Disk(SLOW).sync) as log:
        cell = asyncio.run(open_loop(log, counted(events(), seen), 1000, 0.3))
    assert cell.refused > 10
    assert cell.refused + len(cell.taken) == len(seen)


def test_a_closed_loop_goes_on_when_its_event_is_durable(opened):
    with opened(sync=Disk(SLOW).sync) as log:
        cell = asyncio.run(closed_loop(log, events(), 3, 0.3))
        assert log.size == len(cell.taken) <= 3 * (0.3 / SLOW + 1)
    assert cell.taken[0] >= SLOW


@pytest.mark.parametrize("way", TURNS)
def test_a_commit_for_each_event_waits_for_the_disk_each_time(tmp_path, way):
    disk = Disk(SLOW)
    began = time.perf_counter()
    cell = TURNS[way](tmp_path, b"{}", 0.2, disk)
    assert disk.syncs == len(cell.taken)
    assert cell.taken[0] >= SLOW
    assert time.perf_counter() - began >= len(cell.taken) * SLOW


def test_the_events_are_different_ones():
    assert len({event.id for event in itertools.islice(events(), 100)}) == 100


def test_the_promise_is_held_against_commits_in_the_same_run(tmp_path):
    result = measure_audit(0.1, tmp_path, slower_ms=5)
    figures = result.figures
    assert figures["fdatasync_slower_ms"] == 5
    assert figures["commit_sqlite_per_s"] < 200
    assert figures["commit_file_p50_ms"] > 5
    best = max(figures[f"durable_c{writers}_per_s"] for writers in WRITERS)
    ratio = best / figures["commit_sqlite_per_s"]
    assert figures["commit_sqlite_ratio"] == pytest.approx(ratio, rel=0.01)
    promise = result.targets["commit_sqlite_ratio"]
    assert (promise.op, promise.value) == (">=", 50)
    assert promise.met == (figures["commit_sqlite_ratio"] >= 50)
    for rate in OFFERED:
        assert figures[f"offered_{rate}_p99_ms"] >= figures[f"offered_{rate}_p50_ms"] > 5
    assert figures["verified_per_s_and_core"] > 0
    assert list(tmp_path.iterdir()) == []

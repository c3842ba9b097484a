from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections import Counter

import pytest

from portcullis.audit.checkpoint import open_checkpoint
from portcullis.audit.journal import Journal, Tail, segment_path
from portcullis.audit.pruned import leaves
from portcullis.audit.query import records
from portcullis.audit.recovery import seal, sealed
from portcullis.audit.shrink import encode
from portcullis.audit.verify import verify
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio


def ids(place) -> list[str]:
    return [record.event.id for record in records(place.log, place.verifier)]


async def becomes(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the log's thread has no event for this
            await asyncio.sleep(0.001)


async def test_an_event_is_on_disk_when_durable_returns(place, event) -> None:
    log = place.open()
    await log.durable(event(1))
    assert ids(place) == [event(1).id]
    log.close()


async def test_order_is_kept_between_awaited_and_queued_events(place, event) -> None:
    with place.open() as log:
        for number in range(0, 300, 3):
            log.enqueue(event(number))
            log.enqueue(event(number + 1))
            await log.durable(event(number + 2))
    assert ids(place) == [event(n).id for n in range(300)]


async def test_many_waiters_share_one_commit_and_one_wake_up(place, event, monkeypatch) -> None:
    log = place.open()
    loop = asyncio.get_running_loop()
    wakes = []
    threadsafe = loop.call_soon_threadsafe
    monkeypatch.setattr(
        loop, "call_soon_threadsafe", lambda *a: (wakes.append(a), threadsafe(*a))[1]
    )
    await asyncio.gather(*(log.durable(event(n)) for n in range(500)))
    assert len(wakes) <= 3
    assert log.size == 500
    log.close()


async def test_who_watches_gets_every_commit_once_it_is_durable_and_in_order(place, event) -> None:
    seen: list[tuple[bytes, int]] = []
    with place.open() as log:
        log.append_now(event(0))
        log.watch(lambda entries: seen.extend((entry, log.size) for entry in entries))
        for number in range(1, 50, 2):
            log.enqueue(event(number))
            await log.durable(event(number + 1))
        await becomes(lambda: len(seen) == 50)
        log.watch(None)
        await log.durable(event(99))
    assert len(seen) == 50
    assert [entry for entry, _ in seen] == [encode(event(number)) for number in range(1, 51)]
    assert all(size >= number for number, (_, size) in enumerate(seen, 2))


async def test_events_that_nobody_awaits_are_written_all_the_same(place, event) -> None:
    log = place.open()
    log.enqueue(event(1))
    await becomes(lambda: log.size == 1)
    log.close()


async def test_a_full_queue_denies_and_recovers(place, event) -> None:
    gate = threading.Event()

    def slow(file: int) -> None:
        gate.wait(10)
        os.fdatasync(file)

    gate.set()
    log = place.open(queue=4, sync=slow)
    gate.clear()
    first = asyncio.ensure_future(log.durable(event(0)))
    await asyncio.sleep(0)
    await becomes(lambda: not log.queued)
    for number in range(1, 5):
        log.enqueue(event(number))
    assert not first.done()  # the disk has not answered yet
    with pytest.raises(Problem) as caught:
        log.enqueue(event(5))
    assert caught.value.code == "PC6001"
    with pytest.raises(Problem):
        await log.durable(event(6))
    gate.set()
    await first
    await becomes(lambda: not log.queued)
    await log.durable(event(7))
    log.close()
    assert ids(place) == [event(n).id for n in (0, 1, 2, 3, 4, 7)]


async def test_memory_is_bounded_whatever_the_size_of_the_events(place, event, monkeypatch) -> None:
    monkeypatch.setattr("portcullis.audit.log.QUEUE_BYTES", 50_000)
    stopped = threading.Event()

    def slow(file: int) -> None:
        stopped.wait(10)
        os.fdatasync(file)

    stopped.set()
    with place.open(sync=slow) as log:
        stopped.clear()
        log.enqueue(event(0))
        await becomes(lambda: not log.queued)
        log.enqueue(event(1, reason="x" * 30_000))
        with pytest.raises(Problem, match="full"):
            log.enqueue(event(2, reason="x" * 30_000))
        stopped.set()


async def test_a_failing_disk_denies_everyone_and_nothing_hangs(place, event) -> None:
    broken = threading.Event()

    def sync(file: int) -> None:
        if broken.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fdatasync(file)

    log = place.open(sync=sync)
    await log.durable(event(1))
    broken.set()
    async with asyncio.timeout(5):
        results = await asyncio.gather(
            *(log.durable(event(n)) for n in range(2, 50)), return_exceptions=True
        )
    assert {getattr(result, "code", None) for result in results} == {"PC6001"}
    broken.clear()
    with pytest.raises(Problem) as caught:
        log.enqueue(event(60))
    assert caught.value.code == "PC6001"
    with pytest.raises(Problem):
        await log.durable(event(61))
    with pytest.raises(Problem):
        log.append_now(event(62))
    assert "Input/output error" in log.failure
    with pytest.raises(Problem):
        log.close()
    place.open().close()
    assert ids(place)[0] == event(1).id


async def test_tiles_that_cannot_be_written_fail_the_log(place, event) -> None:
    log = place.open(checkpoint_seconds=0.01)
    (place.log / "tile").write_text("in the way")
    await log.durable(event(1))
    await becomes(lambda: log.failure)
    with pytest.raises(Problem) as caught:
        await log.durable(event(2))
    assert caught.value.code == "PC6001"
    with pytest.raises(Problem):
        log.close()


async def test_a_cancelled_caller_harms_nobody(place, event) -> None:
    with place.open() as log:
        task = asyncio.ensure_future(log.durable(event(1)))
        await asyncio.sleep(0)
        task.cancel()
        await log.durable(event(2))
    assert event(2).id in ids(place)


async def test_checkpoints_follow_within_their_period(place, event) -> None:
    log = place.open(checkpoint_seconds=0.05)
    verifier = place.verifier
    for number in range(3):
        await log.durable(event(number))
        await asyncio.sleep(0.15)
        assert open_checkpoint(place.checkpoint, verifier).size == number + 1
        assert verify(place.log, verifier).ok
    log.close()


def test_closing_writes_signs_and_releases_everything(place, event) -> None:
    log = place.open(checkpoint_seconds=60)
    for number in range(1000):
        log.enqueue(event(number))
    log.close()
    report = verify(place.log, place.verifier)
    assert (report.ok, report.size, report.unpublished) == (True, 1000, 0)
    with pytest.raises(Problem) as caught:
        log.enqueue(event(1))
    assert caught.value.code == "PC6001"
    log.close()
    place.open().close()


def test_a_command_line_can_append_without_an_event_loop(place, event) -> None:
    with place.open() as log:
        log.append_now(event(1))
        assert log.size == 1


def test_threads_and_loops_can_share_a_log(place, event) -> None:
    with place.open() as log:

        def work(base: int) -> None:
            async def main() -> None:
                for number in range(50):
                    await log.durable(event(base + number))

            asyncio.run(main())
            for number in range(50, 100):
                log.append_now(event(base + number))

        threads = [threading.Thread(target=work, args=(n * 1000,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(set(ids(place))) == 400


def test_a_second_gate_on_the_same_log_is_refused(place) -> None:
    with place.open(), pytest.raises(Problem) as caught:
        place.open()
    assert caught.value.code == "PC6003"


def test_reopening_goes_on_where_it_stopped(place, event) -> None:
    for start in (0, 300, 600):
        place.fill(300, start)
    report = verify(place.log, place.verifier)
    assert (report.ok, report.size) == (True, 900)
    assert ids(place) == [event(n).id for n in range(900)]


def test_a_journal_shorter_than_what_was_signed_refuses_to_open(place) -> None:
    place.fill(10)
    place.fill(5, 10)
    path = segment_path(place.log / "journal", 0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    shorter = path.read_bytes()
    with pytest.raises(Problem) as caught:
        place.open()
    assert caught.value.code == "PC6002"
    assert path.read_bytes() == shorter


def test_an_emptied_journal_a_lost_checkpoint_and_a_lost_log_refuse_to_open(place) -> None:
    place.fill(10)
    path = segment_path(place.log / "journal", 0)
    for victim in (path, place.log / "checkpoint", place.log):
        away = victim.rename(place.root / "away")
        for _ in range(2):
            with pytest.raises(Problem) as caught:
                place.open()
            assert caught.value.code == "PC6002"
        away.rename(victim)
    place.open().close()


def test_a_place_where_no_log_can_be_is_named(place) -> None:
    place.log.write_text("in the way")
    with pytest.raises(Problem) as caught:
        place.open()
    assert caught.value.code == "PC6001"


def test_a_first_start_that_died_half_way_can_be_repeated(place) -> None:
    place.open().close()
    (place.log / "checkpoint").unlink()
    segment_path(place.log / "journal", 0).unlink()
    (place.keys / "subjects.key").unlink()
    place.fill(3)
    assert verify(place.log, place.verifier).size == 3


def test_a_journal_rewritten_before_the_signed_end_refuses_to_open(place, event) -> None:
    place.fill(10)
    path = segment_path(place.log / "journal", 0)
    path.unlink()
    journal = Journal(place.log / "journal", Tail(0, 0, 0))
    journal.append([encode(event(n, verdict="deny")) for n in range(10)])
    journal.close()
    with pytest.raises(Problem, match="root"):
        place.open()


def test_a_log_is_not_continued_under_another_key(place) -> None:
    place.fill(3)
    (place.keys / "log.key").unlink()
    with pytest.raises(Problem) as caught:
        place.open()
    assert caught.value.code == "PC6002"


def test_lost_tiles_are_made_again_from_the_journal(place) -> None:
    place.fill(600)
    for path in (place.log / "tile").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    assert not verify(place.log, place.verifier).ok
    place.open().close()
    assert verify(place.log, place.verifier).ok


def test_a_long_log_opens_from_its_seal_and_without_it(place, event, monkeypatch) -> None:
    for module in ("journal", "recovery", "log"):
        monkeypatch.setattr(f"portcullis.audit.{module}.SEGMENT", 256)
    place.fill(1000)
    mark = place.log / "journal" / "sealed"
    seal(place.log, 768)
    replayed = []
    monkeypatch.setattr(
        "portcullis.audit.recovery.leaves",
        lambda entries, kept: replayed.extend(entries) or leaves(entries, kept),
    )
    place.open().close()
    assert set(Counter(replayed).values()) == {2}  # proven first, derived from then
    assert len(replayed) == 2 * (1000 - 768)
    for text in ("512", "1024", "99999936", "x", "-256"):
        mark.write_text(text)
        place.open().close()
        assert verify(place.log, place.verifier).ok
    mark.unlink()
    (place.log / "tile" / "0" / "000").unlink()
    place.fill(100, 1000)
    report = verify(place.log, place.verifier)
    assert (report.ok, report.size) == (True, 1100)


def test_a_running_log_seals_its_whole_segments(place, event, monkeypatch) -> None:
    for module in ("journal", "recovery", "log"):
        monkeypatch.setattr(f"portcullis.audit.{module}.SEGMENT", 256)
    deadline = time.monotonic() + 20
    number = 0
    with place.open(checkpoint_seconds=0.01) as log:
        while sealed(place.log) < 512 and time.monotonic() < deadline:
            log.append_now(event(number := number + 1))
    assert sealed(place.log) >= 512
    assert verify(place.log, place.verifier).ok


def test_an_idle_log_costs_no_cpu(place, event) -> None:
    with place.open() as log:
        log.append_now(event(1))
        time.sleep(0.6)
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.05

"""If these fail, events are lost, sent for ever, or held up without anybody's knowing."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exported import event
from portcullis.audit.export import cursor as files
from portcullis.audit.export.cursor import Cursor, DeadLetters
from portcullis.audit.export.deliver import Exporter
from portcullis.audit.export.formats import format_of
from portcullis.audit.export.source import Position, Source
from portcullis.audit.export.target import Batch, Refused, Rejected, Unavailable
from portcullis.audit.export.thread import ExportThread
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio


class Peer:
    """A target that answers as it is told, and remembers what it acknowledged."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.batches: list[Batch] = []
        self.answers: list[Exception] = []
        self.bad: set[int] = set()
        self.partly = False
        self.down = False
        self.closed = False

    async def send(self, batch: Batch) -> None:
        self.batches.append(batch)
        if self.down:
            raise Unavailable("down")
        if self.answers:
            raise self.answers.pop(0)
        numbers = [json.loads(line)["index"] for line in batch.body.splitlines()]
        if self.bad & set(numbers):
            raise Rejected("2 of these") if self.partly else Refused("the peer answered 400")
        self.seen += numbers

    async def close(self) -> None:
        self.closed = True


class Clock:
    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Bench:
    """A log, a peer, and exporters between them that share one cursor."""

    def __init__(self, place: Any) -> None:
        self.place = place
        self.peer = Peer()
        self.folder: Path = place.root / "export"
        self.folder.mkdir()
        self.said: list[tuple[str, dict[str, str]]] = []
        self.slept: list[float] = []
        self.clock = Clock(1893456000.0)  # when the first event was written

    def exporter(self, *, dead_bytes: int = 2**20, **options: Any) -> Exporter:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            await asyncio.sleep(0)

        return Exporter(
            "siem",
            Source(self.place.log, self.place.verifier),
            self.peer,
            options.pop("form", format_of("json", "1")),
            cursor=Cursor(self.folder, "siem"),
            dead=DeadLetters(self.folder, "siem", limit=dead_bytes),
            clock=self.clock,
            notice=lambda method, parameters: self.said.append((method, parameters)),
            sleep=sleep,
            **options,
        )

    async def drained(self, **options: Any) -> Exporter:
        exporter = self.exporter(**options)
        try:
            await exporter.drain()
        finally:
            await exporter.close()
        return exporter

    @property
    def dead(self) -> list[dict[str, Any]]:
        path = self.folder / "siem.dead.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def cursor(self) -> int:
        return json.loads((self.folder / "siem.json").read_text())["next"]


async def until(wanted: Callable[[], bool]) -> None:
    for _ in range(500):
        if wanted():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


@pytest.fixture
def bench(place: Any) -> Bench:
    return Bench(place)


async def test_every_event_arrives_once_and_in_order_and_the_next_run_goes_on(bench: Bench) -> None:
    bench.place.fill(600)
    assert (await bench.drained()).state.delivered == 600
    assert bench.peer.seen == [*range(600)]
    bench.place.fill(10, 600)
    assert (await bench.drained()).state.delivered == 10
    assert bench.peer.seen == [*range(610)]
    assert (await bench.drained()).state.delivered == 0


async def test_batches_are_bounded_in_count_and_bytes(bench: Bench) -> None:
    bench.place.fill(40, reason="x" * 40_000)
    await bench.drained()
    assert bench.peer.seen == [*range(40)]
    assert max(len(batch.body) for batch in bench.peer.batches) < 2**20
    assert len(bench.peer.batches) >= 3


async def test_the_cursor_does_not_pass_what_the_peer_has_not_acknowledged(bench: Bench) -> None:
    bench.place.fill(20)
    bench.peer.answers = [Unavailable("busy")] * 3
    with pytest.raises(Problem) as caught:
        await bench.drained(attempts=3)
    assert (caught.value.code, caught.value.detail) == ("PC6031", "busy")
    assert not (bench.folder / "siem.json").exists()
    await bench.drained(attempts=3)
    assert bench.peer.seen == [*range(20)]
    assert {batch.id for batch in bench.peer.batches} == {bench.peer.batches[0].id}


async def test_a_peer_that_is_away_is_asked_later_and_later_and_when_it_said(bench: Bench) -> None:
    bench.place.fill(1)
    bench.peer.answers = [*[Unavailable("busy")] * 5, Unavailable("busy", after=7)]
    await bench.drained(backoff=(1.0, 10.0))
    assert bench.peer.seen == [0]
    waits = bench.slept[:6]
    for number, wait in enumerate(waits[:5]):
        longest = min(10.0, 2.0**number)
        assert longest / 2 <= wait <= longest
    assert waits[5] >= 7
    assert len(set(waits)) > 1


@pytest.mark.parametrize("bad", [{0}, {3, 4, 255}])
async def test_a_refused_event_is_found_and_kept_and_the_others_arrive(
    bench: Bench, bad: set[int]
) -> None:
    bench.place.fill(256)
    bench.peer.bad = bad
    exporter = await bench.drained()
    assert bench.peer.seen == [n for n in range(256) if n not in bad]
    assert {one["index"] for one in bench.dead} == bad
    assert bench.dead[0]["reason"] == "the peer answered 400"
    assert bench.dead[0]["event"]["id"] == f"{min(bad):032x}"
    assert exporter.state.dead == len(bad)
    assert bench.cursor == 256
    assert len(bench.peer.batches) <= 2 + 2 * 8 * len(bad)


async def test_a_batch_that_was_taken_in_part_is_kept_whole(bench: Bench) -> None:
    bench.place.fill(5)
    bench.peer.bad, bench.peer.partly = {2}, True
    await bench.drained()
    assert [one["index"] for one in bench.dead] == [*range(5)]
    assert len(bench.peer.batches) == 1


async def test_an_event_without_a_form_is_kept_and_does_not_hold_up_the_rest(bench: Bench) -> None:
    form = format_of("json", "1")

    def encode(index: int, event: Any, entry: bytes) -> bytes:
        if index == 1:
            raise ValueError("no")
        return form.encode(index, event, entry)

    bench.place.fill(3)
    await bench.drained(form=type(form)(content_type="x", encode=encode, join=form.join))
    assert bench.peer.seen == [0, 2]
    assert [one["reason"] for one in bench.dead] == ["it cannot be encoded: ValueError"]


async def test_full_dead_letters_stop_the_exporter_and_lose_nothing(bench: Bench) -> None:
    bench.place.fill(4)
    bench.peer.bad = {0, 1, 2, 3}
    with pytest.raises(Problem) as caught:
        await bench.drained(dead_bytes=900)
    assert caught.value.code == "PC6031"
    kept = [one["index"] for one in bench.dead]
    assert kept == [*range(len(kept))]
    assert 0 < len(kept) < 4
    assert bench.cursor == len(kept)
    (bench.folder / "siem.dead.jsonl").unlink()
    bench.peer.bad = set()
    await bench.drained()
    assert bench.peer.seen == [*range(len(kept), 4)]


async def test_only_the_wanted_types_are_sent(bench: Bench) -> None:
    bench.place.fill(5)
    bench.place.fill(5, 5, type="error")
    await bench.drained(types=frozenset({"error"}))
    assert bench.peer.seen == [*range(5, 10)]
    assert bench.cursor == 10


async def test_another_log_in_its_place_is_delivered_from_its_beginning(bench: Bench) -> None:
    bench.place.fill(9)
    await bench.drained()
    position = Position(next=9, root="00" * 32)
    Cursor(bench.folder, "siem").save(position)
    await bench.drained()
    assert bench.peer.seen == [*range(9), *range(9)]
    Cursor(bench.folder, "siem").save(Position(next=10, root="00" * 32))
    await bench.drained()
    assert bench.peer.seen == [*range(9)] * 3
    restart = ("audit.export.restart", {"exporter": "siem"})
    assert [one for one in bench.said if one == restart] == [restart] * 2


async def test_delivering_again_from_an_entry_leaves_the_cursor_alone(bench: Bench) -> None:
    bench.place.fill(300)
    await bench.drained()
    exporter = bench.exporter()
    assert await exporter.drain(280) == 20
    assert bench.peer.seen[300:] == [*range(280, 300)]
    assert bench.cursor == 300


async def test_one_process_delivers_for_one_exporter(bench: Bench) -> None:
    bench.place.fill(1)
    first = bench.exporter()
    await first.drain()
    with pytest.raises(Problem) as caught:
        await bench.exporter().drain()
    assert caught.value.code == "PC6030"
    await first.close()
    await bench.drained()


async def test_the_log_says_when_an_exporter_falls_behind_and_when_it_is_back(bench: Bench) -> None:
    bench.place.fill(3)
    bench.clock.time += 1000
    bench.peer.answers = [Unavailable("busy")] * 3
    exporter = await bench.drained(behind_seconds=300)
    assert [method for method, _ in bench.said] == ["audit.export.behind", "audit.export.recovered"]
    assert bench.said[0][1] == {"exporter": "siem", "entries": "3", "seconds": "1000"}
    assert (exporter.state.lag_entries, exporter.state.lag_seconds(1e12)) == (0, 0)


async def test_lag_is_known_while_the_peer_is_away(bench: Bench) -> None:
    bench.place.fill(7)
    bench.peer.down = True
    exporter = bench.exporter()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(exporter.run(), 0.3)
    await exporter.close()
    assert exporter.state.lag_entries == 7
    assert exporter.state.lag_seconds(bench.clock.time + 60) == 60
    assert exporter.state.problem == "down"
    assert exporter.state.failures > 1


async def test_an_unreadable_log_or_cursor_is_waited_for_and_not_skipped(bench: Bench) -> None:
    bench.place.fill(2)
    (bench.folder / "siem.json").write_text("{")
    exporter = bench.exporter()
    work = asyncio.ensure_future(exporter.run())
    await until(lambda: exporter.state.failures > 1)
    assert bench.peer.seen == []
    (bench.folder / "siem.json").unlink()
    await until(lambda: len(bench.peer.seen) == 2)
    work.cancel()
    assert bench.peer.seen == [0, 1]


async def test_a_fault_of_our_own_ends_no_exporter(bench: Bench) -> None:
    bench.place.fill(1)
    bench.peer.answers = [ZeroDivisionError(), KeyError("x")]
    exporter = bench.exporter()
    work = asyncio.ensure_future(exporter.run())
    await until(lambda: bench.peer.seen == [0])
    work.cancel()
    assert exporter.state.failures == 2


async def test_a_thread_delivers_what_is_published_while_it_runs_and_stops(bench: Bench) -> None:
    with bench.place.open(checkpoint_seconds=0.02) as log:
        exporter = Exporter(
            "siem",
            Source(bench.place.log, bench.place.verifier),
            bench.peer,
            format_of("json", "1"),
            cursor=Cursor(bench.folder, "siem"),
            dead=DeadLetters(bench.folder, "siem"),
            clock=bench.clock,
            notice=lambda *_: None,
        )
        thread = ExportThread([exporter])
        for number in range(3):
            await asyncio.to_thread(log.append_now, event(number))
            await until(lambda: len(bench.peer.seen) > number)  # noqa: B023 - at once
        thread.close()
    assert bench.peer.seen == [0, 1, 2]
    assert bench.peer.closed


async def test_a_cursor_that_cannot_be_had_does_not_hide_how_far_behind_it_is(bench: Bench) -> None:
    bench.place.fill(7)
    bench.clock.time += 1000
    held = Cursor(bench.folder, "siem")
    held.load()
    first = bench.exporter()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(first.run(), 0.2)
    held.close()
    (bench.folder / "siem.json").write_bytes(b"\xff")
    second = bench.exporter()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(second.run(), 0.2)
    for exporter in (first, second):
        assert (exporter.state.lag_entries, exporter.state.behind) == (7, True)
        await exporter.close()
    assert [method for method, _ in bench.said] == ["audit.export.behind"] * 2


async def test_a_log_that_takes_nothing_is_delivered_all_the_same(bench: Bench) -> None:
    bench.place.fill(3)
    bench.clock.time += 1000
    taking = False

    def notice(method: str, _: dict[str, str]) -> None:
        if not taking:
            raise Problem("PC6001", "the disk is full")
        bench.said.append((method, {}))

    exporter = bench.exporter()
    exporter._notice = notice
    await exporter.drain()
    assert bench.peer.seen == [0, 1, 2]
    taking = True
    await exporter.drain()
    exporter._look()
    await exporter.close()
    assert [method for method, _ in bench.said] == ["audit.export.behind", "audit.export.recovered"]


async def test_a_peer_that_refuses_everything_takes_no_time_from_the_gate(bench: Bench) -> None:
    bench.place.fill(4)
    bench.peer.bad = {0, 1, 2, 3}
    await bench.drained()
    assert len(bench.slept) == len(bench.peer.batches) == 7


@pytest.mark.parametrize("position", [-5, 10**30])
async def test_a_position_that_no_log_has_is_the_beginning(bench: Bench, position: int) -> None:
    bench.place.fill(2)
    (bench.folder / "siem.json").write_text(json.dumps({"next": position, "root": ""}))
    await bench.drained()
    assert bench.peer.seen == [0, 1]


async def test_dead_letters_of_two_processes_do_not_take_each_others_away(bench: Bench) -> None:
    with pytest.MonkeyPatch.context() as patch:
        one, two = (DeadLetters(bench.folder, "siem") for _ in range(2))
        meeting(patch, lambda: two.add(1, b"{}", "refused"))
        one.add(0, b"{}", "refused")
    two.add(1, b"{}", "refused")
    assert [one["index"] for one in bench.dead] == [0, 1]


def meeting(patch: pytest.MonkeyPatch, other: Callable[[], object]) -> None:
    """Have another come along while the end of a file is looked for."""
    looked = os.fstat
    patch.setattr(files, "_LOCK_SECONDS", 0.05)

    def during(file: int) -> os.stat_result:
        found = looked(file)
        patch.setattr(os, "fstat", looked)
        with pytest.raises(OSError, match="another process"):
            other()
        return found

    whole = files.whole_lines

    def then(file: int) -> int:
        patch.setattr(os, "fstat", during)
        return whole(file)

    patch.setattr(files, "whole_lines", then)


def change(bench: Bench, path: str, old: bytes, new: bytes) -> Path:
    """Change a file of the log in its place; the last one below ``path``."""
    file = max(one for one in (bench.place.log / path).rglob("*") if one.is_file())
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new, 1))
    return file


async def test_an_entry_that_was_changed_on_the_disk_is_not_exported_as_true(bench: Bench) -> None:
    bench.place.fill(3)
    file = change(bench, "tile/entries", b"search", b"deleta")
    exporter = bench.exporter()
    work = asyncio.ensure_future(exporter.run())
    await until(lambda: exporter.state.failures > 2)
    assert bench.peer.batches == []
    assert exporter.state.damaged
    assert "PC6005 tile/entries/000.p/3: not what was signed" in exporter.state.problem
    file.write_bytes(file.read_bytes().replace(b"deleta", b"search"))
    await until(lambda: bench.peer.seen == [0, 1, 2])
    await until(lambda: not exporter.state.damaged)
    work.cancel()
    (damaged, said), mended = bench.said
    assert (damaged, mended[0]) == ("audit.export.damaged", "audit.export.mended")
    assert said == {"exporter": "siem", "reason": "tile/entries/000.p/3: not what was signed"}


@pytest.mark.parametrize("row", ["tile/0/000", "tile/0/001.p", "tile/1"])
async def test_hashes_that_were_changed_with_the_entry_are_noticed_too(
    bench: Bench, row: str
) -> None:
    bench.place.fill(300)
    file = max(
        one for one in [bench.place.log / row, *(bench.place.log / row).rglob("*")] if one.is_file()
    )
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.write_bytes(data)
    with pytest.raises(Problem) as caught:
        await bench.drained()
    assert caught.value.code == "PC6005"
    assert bench.peer.batches == []


async def test_changed_hashes_are_not_taken_for_another_log_and_all_sent_again(
    bench: Bench,
) -> None:
    bench.place.fill(300)
    await bench.drained()
    bench.place.fill(300, 300)
    file = bench.place.log / "tile/0/001"
    kept = file.read_bytes()
    file.write_bytes(bytes(32) + kept[32:])
    with pytest.raises(Problem, match="PC6005"):
        await bench.drained()
    file.write_bytes(kept)
    await bench.drained()
    assert bench.peer.seen == [*range(600)]
    assert bench.said == []


async def test_a_batch_that_was_taken_in_part_is_not_sent_again_while_dead_letters_are_full(
    bench: Bench,
) -> None:
    bench.place.fill(5)
    bench.peer.bad, bench.peer.partly = {2}, True
    exporter = bench.exporter(dead_bytes=900)
    work = asyncio.ensure_future(exporter.run())
    await until(lambda: exporter.state.failures > 5)
    assert len(bench.peer.batches) == 1
    kept = len(bench.dead)
    assert 0 < kept < 5
    assert bench.cursor == kept  # after a crash only the others are sent again
    assert min(bench.slept) >= 0.25  # it does not run hot
    assert exporter.state.lag_entries == 5 - kept
    moved = (bench.folder / "siem.dead.jsonl").rename(bench.folder / "moved")
    await until(lambda: exporter.state.lag_entries == 0)
    work.cancel()
    letters = moved.read_text().splitlines()
    assert [json.loads(one)["index"] for one in letters] == [*range(kept)]
    assert {one["index"] for one in bench.dead} <= {*range(kept, 5)}
    assert len(bench.peer.batches) == 1


async def test_what_comes_before_an_event_without_a_form_is_not_held_up_by_full_dead_letters(
    bench: Bench,
) -> None:
    form = format_of("json", "1")

    def encode(index: int, event: Any, entry: bytes) -> bytes:
        if index in {1, 3}:
            raise ValueError("no")
        return form.encode(index, event, entry)

    bench.place.fill(5)
    shape = type(form)(content_type="x", encode=encode, join=form.join)
    for _ in range(3):
        with pytest.raises(Problem, match="PC6031"):
            await bench.drained(form=shape, dead_bytes=550)
    assert bench.peer.seen == [0, 2]
    assert [one["index"] for one in bench.dead] == [1]


async def test_a_peer_that_answers_nothing_does_not_hold_up_the_stop(bench: Bench) -> None:
    class Blocking(Peer):
        async def send(self, batch: Batch) -> None:
            self.batches.append(batch)
            await asyncio.to_thread(released.wait, 20)

    released = threading.Event()
    bench.place.fill(1)
    bench.peer = Blocking()
    thread = ExportThread([bench.exporter()])
    await until(lambda: bool(bench.peer.batches))
    began = time.monotonic()
    thread.close()
    assert time.monotonic() - began < 1
    assert bench.peer.closed
    assert not (bench.folder / "siem.json").exists()
    blocked = [one for one in threading.enumerate() if one.name == "audit-export-work"]
    assert [one.daemon for one in blocked] == [True]  # the process' exit does not wait either
    released.set()


async def test_a_log_that_is_damaged_at_the_start_does_not_look_as_if_nothing_was_delivered(
    bench: Bench,
) -> None:
    bench.place.fill(300)
    await bench.drained()
    bench.place.fill(300, 300)
    file = bench.place.log / "tile/0/001"
    file.write_bytes(bytes(32) + file.read_bytes()[32:])
    exporter = bench.exporter()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(exporter.run(), 0.2)
    await exporter.close()
    assert exporter.state.damaged
    assert exporter.state.lag_entries == 300

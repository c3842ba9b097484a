"""A replica is at any moment a log that verifies, and what is wrong with it is noticed."""

from __future__ import annotations

import shutil

import obstore
import pytest

from portcullis.audit.checkpoint import open_checkpoint
from portcullis.audit.tiles import pack, tile_path, unpack
from portcullis.core.errors import Problem

LAG, DIFFERS = "audit.replica.lag", "audit.replica.differs"


def size_of(store, log) -> int:
    note = store.get("checkpoint", 10**6)
    return open_checkpoint(note, log.verifier).size if note else 0


def fails(shipper, code: str) -> Problem:
    with pytest.raises(Problem) as raised:
        shipper.step()
    assert raised.value.code == code
    shipper.failed(raised.value)
    return raised.value


def test_a_replica_holds_what_was_published_and_grows_with_it(log, store, shipper, checked) -> None:
    ship = None
    for count in (0, 3, 252, 1, 1, 300, 256):
        log.grow(count)
        ship = ship or shipper()
        ship.step()
        report = checked()
        assert report.ok, report.reasons
        assert report.size == size_of(store, log) == ship.shipped
    assert ship.lag_entries() == ship.lag_seconds() == 0
    wanted = {p.relative_to(log.directory).as_posix() for p in log.directory.glob("tile/*/*")}
    kept = set(store.list("tile"))
    assert {path for path in wanted if not path.endswith(".p")} <= kept
    partial = {path for path in kept if ".p/" in path and not path.startswith("tile/1/")}
    assert partial == {"tile/entries/003.p/45", "tile/0/003.p/45"}


def test_a_tree_of_three_levels_is_shipped_whole(log, store, shipper, checked) -> None:
    log.grow(65_536 + 300)
    shipper().step()
    assert tile_path(1, 0) in set(store.list("tile/1"))
    assert checked().ok


def test_the_checkpoint_comes_last_so_that_a_broken_off_copy_still_verifies(
    log, store, shipper, checked
) -> None:
    log.grow(300)
    shipper().step()
    log.grow(500, "more")
    store.written.clear()
    for puts in range(8):
        store.puts_left = puts
        fails(shipper(), "PC6021")
        assert checked().ok
        assert size_of(store, log) == 300
    store.puts_left = 100
    shipper().step()
    assert size_of(store, log) == 800
    assert checked().ok
    assert store.written[-1] == "checkpoint"
    assert len(set(store.written)) == len(store.written)


def test_a_store_that_was_away_catches_up_and_the_lag_is_noticed_once(
    log, store, shipper, clock, notices, checked
) -> None:
    log.grow(10)
    ship = shipper()
    ship.step()
    log.grow(400, "b")
    store.away = True
    for _ in range(5):
        fails(ship, "PC6021")
        clock.time += 30
    ship.watch()
    assert ship.lag_entries() == 400
    assert ship.lag_seconds() == 150
    assert notices.states(LAG) == ["raised"]
    store.away = False
    ship.step()
    assert notices.states(LAG) == ["raised", "cleared"]
    assert not ship.lag_seconds()
    assert ship.failures == 5
    assert checked().size == 410


def test_nothing_is_behind_while_nothing_is_new_however_long(log, shipper, clock, notices) -> None:
    log.grow(10)
    ship = shipper()
    ship.step()
    clock.time += 10_000
    ship.watch()
    assert not ship.lag_seconds()
    assert not notices


@pytest.mark.parametrize("path", [tile_path("entries", 1), tile_path(0, 1)])
def test_another_object_in_the_way_is_noticed_and_not_overwritten(
    log, store, shipper, notices, path
) -> None:
    log.grow(10)
    shipper().step()
    store.put(path, b"forged")
    log.grow(600, "b")
    ship = shipper()
    problem = fails(ship, "PC6020")
    assert path in problem.detail
    fails(ship, "PC6020")
    assert ship.differs
    assert notices.states(DIFFERS) == ["raised"]
    assert store.get(path, 100) == b"forged"
    assert size_of(store, log) == 10


def test_a_log_that_was_put_back_does_not_overwrite_its_replica(
    log, store, shipper, notices, tmp_path
) -> None:
    log.grow(100)
    shutil.copytree(log.directory, tmp_path / "earlier")
    log.grow(100, "b")
    shipper().step()
    before = store.get("checkpoint", 10**6)
    shutil.rmtree(log.directory)
    (tmp_path / "earlier").rename(log.directory)
    ship = shipper()
    fails(ship, "PC6020")
    log.grow(150, "another history")
    fails(ship, "PC6020")
    assert store.get("checkpoint", 10**6) == before
    assert notices.states(DIFFERS) == ["raised"]


def test_a_replica_that_was_put_back_is_noticed_and_brought_up_again(
    log, store, shipper, notices, checked
) -> None:
    log.grow(100)
    ship = shipper()
    ship.step()
    earlier = store.get("checkpoint", 10**6)
    log.grow(500, "b")
    ship.step()
    store.put("checkpoint", earlier, replace=True)
    store.delete(tile_path("entries", 1))
    log.grow(1, "c")
    shipper().step()
    assert notices.states(DIFFERS) == ["raised", "cleared"]
    assert "had 600 entries" in notices[0][1]["reason"]
    report = checked()
    assert report.ok, report.reasons
    assert report.size == 601


@pytest.mark.parametrize("note", [b"not a note", b"a\n1\nAAAA\n\n\xe2\x80\x94 x AAAAAAAA\n"])
def test_a_checkpoint_that_is_not_the_logs_stays_and_is_noticed(
    log, store, shipper, notices, note
) -> None:
    log.grow(10)
    store.put("checkpoint", note)
    fails(shipper(), "PC6020")
    assert store.get("checkpoint", 10**6) == note
    assert notices.states(DIFFERS) == ["raised"]


def test_a_damaged_log_is_not_shipped(log, store, shipper, notices) -> None:
    log.grow(300)
    bundle = log.directory / tile_path("entries", 0)
    data = bytearray(bundle.read_bytes())
    data[40] ^= 1
    bundle.write_bytes(data)
    fails(shipper(), "PC6005")
    assert not store.written
    assert notices.states(DIFFERS) == ["raised"]


def test_timestamps_are_shipped_once_each(log, store, shipper) -> None:
    log.grow(1)
    folder = log.directory / "timestamps"
    folder.mkdir()
    name = "0000000000000000001-tsa"
    for suffix in ("checkpoint", "tsr", "tsr.new"):
        (folder / f"{name}.{suffix}").write_bytes(suffix.encode())
    for _ in range(2):
        shipper().step()
    assert set(store.list("timestamps")) == {
        f"timestamps/{name}.checkpoint",
        f"timestamps/{name}.tsr",
    }
    assert store.get(f"timestamps/{name}.tsr", 10) == b"tsr"


def test_a_notice_that_the_log_refused_is_said_later(log, store, shipper, clock, notices) -> None:
    refused = []

    def full(method, parameters) -> None:
        refused.append(method)
        raise Problem("PC6001", "the audit queue is full")

    log.grow(1)
    ship = shipper()
    ship._lag._notice = full
    store.away = True
    clock.time += 100
    fails(ship, "PC6021")
    assert refused == [LAG]
    ship._lag._notice = notices
    ship.watch()
    assert notices.states(LAG) == ["raised"]


def test_nothing_of_a_store_is_deleted_but_what_full_files_replaced(log, store, shipper) -> None:
    log.grow(200)
    shipper().step()
    obstore.put(store._backend, "tile/entries/001.p/7", b"")
    log.grow(100, "b")
    shipper().step()
    left = set(store.list("tile/entries"))
    assert left == {"tile/entries/000", "tile/entries/001.p/44", "tile/entries/001.p/7"}


def test_a_store_from_which_nothing_may_be_deleted_is_as_good(
    log, store, shipper, checked, monkeypatch
) -> None:
    def denied(path: str) -> None:
        raise Problem("PC6021", f"{path}: denied")

    monkeypatch.setattr(store, "delete", denied)
    log.grow(10)
    shipper().step()
    log.grow(300, "b")
    shipper().step()
    assert checked().ok
    assert store.get("tile/entries/000.p/10", 10**6)


def test_figures_are_shown_while_the_log_cannot_be_read(log, shipper, clock, notices) -> None:
    log.grow(10)
    ship = shipper()
    ship.step()
    (log.directory / "checkpoint").rename(log.directory / "kept")
    clock.time += 100
    fails(ship, "PC7005")
    assert (ship.lag_entries(), ship.lag_seconds()) == (0, 100)
    assert notices.states(LAG) == ["raised"]
    (log.directory / "kept").rename(log.directory / "checkpoint")
    ship.step()
    assert notices.states(LAG) == ["raised", "cleared"]


def test_a_bundle_that_was_shipped_before_it_was_pruned_here_is_no_other_object(
    log, store, shipper, checked
) -> None:
    log.grow(600)
    path = tile_path("entries", 0)
    whole = (log.directory / path).read_bytes()
    store.put(path, whole)  # and then the power went
    (log.directory / path).write_bytes(pack([b"", *unpack(whole)[1:]]))
    made = shipper()
    made.step()
    assert not made.differs
    assert store.get(path, 10**7) == whole
    assert checked().ok

"""A mirror stores what it has verified, cosigns it, and follows no fork and no way back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from audit_logs import ORIGIN, Log
from portcullis.audit.cosignature import Cosigner, WitnessSigner
from portcullis.audit.merkle import TILE_WIDTH
from portcullis.audit.note import Signer, parse_note
from portcullis.audit.quorum import parse_quorum
from portcullis.audit.replica.mirror import Mirror
from portcullis.audit.replica.source import folder
from portcullis.audit.tiles import pack, tile_path
from portcullis.audit.witness import open_witness
from portcullis.core.errors import Problem
from sealers import sealer_at


@pytest.fixture
def opened(log, store, clock, tmp_path: Path):
    witnesses = []

    def again(**options) -> Mirror:
        while witnesses:
            witnesses.pop().close()
        log.open().close()
        verifier = log.verifier
        witnesses.append(
            open_witness(
                tmp_path / "mirror",
                "mirror.example",
                {ORIGIN: [verifier]},
                sealer=sealer_at(tmp_path),
                clock=clock,
            )
        )
        again.vkey = witnesses[0].vkey
        source = options.pop("source", None) or folder(log.directory)
        return Mirror(source, store, witnesses[0], verifier, clock=clock, **options)

    yield again
    for witness in witnesses:
        witness.close()


def cosigned(store, vkey: str) -> int | None:
    return Cosigner.parse(vkey).cosigned(parse_note(store.get("checkpoint", 10**6)))


def refused(mirror: Mirror, store, code: str = "PC6005") -> Problem:
    before = store.get("checkpoint", 10**6)
    with pytest.raises(Problem) as raised:
        mirror.step()
    assert raised.value.code == code
    assert store.get("checkpoint", 10**6) == before
    return raised.value


def test_a_mirror_grows_with_its_source_and_cosigns_it(log, store, opened, clock, checked) -> None:
    mirror, size = opened(), 0
    for count in (0, 1, 255, 300, 7, 0):
        log.grow(count, f"{size}-")
        clock.time += 10
        done = mirror.step()
        assert (done.added, done.size) == (count, size + count)
        size += count
        report = checked()
        assert report.ok, report.reasons
        assert report.size == size
        assert cosigned(store, opened.vkey) == clock.now() == done.cosigned_at


def test_a_mirror_goes_on_after_a_restart_wherever_it_was_cut(log, store, opened, checked) -> None:
    log.grow(400)
    opened().step()
    log.grow(400, "b")
    for puts in range(1, 10):
        store.puts_left = puts
        mirror = opened()
        try:
            mirror.step()
        except Problem as problem:
            assert problem.code == "PC6021"  # noqa: PT017 - it breaks off, sooner or later not
        assert checked().ok
    store.puts_left = 10**9
    assert opened().step().size == 800
    assert checked().size == 800
    assert cosigned(store, opened.vkey)


def test_a_source_that_went_back_is_refused_and_the_mirror_stays(
    log, store, opened, tmp_path, checked
) -> None:
    log.grow(100)
    shutil.copytree(log.directory, tmp_path / "earlier")
    log.grow(100, "b")
    opened().step()
    shutil.rmtree(log.directory)
    (tmp_path / "earlier").rename(log.directory)
    assert "200 were mirrored" in refused(opened(), store).detail
    assert checked().size == 200


@pytest.mark.parametrize("count", [300, 512, 600, 1000])
def test_a_source_that_forked_is_refused_under_its_own_key(log, store, opened, count) -> None:
    log.grow(512 if count == 512 else 300)
    opened().step()
    log.begin_anew()
    log.grow(count, "another history")
    before = set(store.list(""))
    assert "continuation" in refused(opened(), store).detail
    assert set(store.list("")) == before


def flip(place: Path) -> None:
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(data)


@pytest.mark.parametrize("path", [tile_path("entries", 1), tile_path(0, 1)])
@pytest.mark.parametrize("act", [flip, Path.unlink, lambda place: place.write_bytes(b"")])
def test_what_does_not_verify_is_not_stored(
    log, store, opened, path: str, act: Callable[[Path], None]
) -> None:
    log.grow(300)
    mirror = opened()
    mirror.step()
    log.grow(300, "b")
    act(log.directory / path)
    refused(mirror, store)
    assert store.get(path, 10**6) is None


def test_a_mirror_whose_own_copy_was_changed_does_not_go_on(log, store, opened) -> None:
    log.grow(300)
    mirror = opened()
    mirror.step()
    path = tile_path(1, 0, 1)
    tile = bytearray(store.get(path, 10**6))
    tile[5] ^= 1
    store.put(path, bytes(tile), replace=True)
    log.grow(1, "c")
    assert "what it cosigned" in refused(mirror, store).detail


def test_only_what_a_quorum_cosigned_is_mirrored(log, store, opened, clock, checked) -> None:
    witness = WitnessSigner("w.example", b"w" * 32)
    policy = f"witness w {witness.verifier}\nquorum w\n"
    log.grow(10)
    notes = {}

    def source(path: str, limit: int) -> bytes | None:
        return notes.get(path) or folder(log.directory)(path, limit)

    mirror = opened(source=source, quorum=parse_quorum(policy.encode()))
    refused(mirror, store, "PC6007")
    note = parse_note((log.directory / "checkpoint").read_bytes())
    signature = witness.cosign(note.text, int(clock.now()))
    notes["checkpoint"] = bytes(note._replace(signatures=(*note.signatures, signature)))
    assert mirror.step().size == 10
    stored = parse_note(store.get("checkpoint", 10**6))
    assert witness.verifier.cosigned(stored)
    assert cosigned(store, opened.vkey)
    assert checked().ok


def test_a_policy_for_other_logs_vouches_for_nothing_that_is_mirrored(log, opened) -> None:
    log.grow(10)
    other = Signer("other.example/log", bytes(32)).verifier
    witness = WitnessSigner("w.example", b"w" * 32).verifier
    policy = parse_quorum(f"log {other}\nwitness w {witness}\nquorum w\n".encode())
    with pytest.raises(Problem) as raised:
        opened(quorum=policy)
    assert raised.value.code == "PC6006"


def test_a_mirror_publishes_nothing_that_its_readers_could_not_open(
    log, store, opened, checked
) -> None:
    log.grow(10)
    mirror = opened()
    mirror.step()
    log.grow(10, "b")
    note = parse_note((log.directory / "checkpoint").read_bytes())
    junk = note.signatures[0]._replace(name="junk")
    full = bytes(note._replace(signatures=(*note.signatures, *[junk] * 99)))
    (log.directory / "checkpoint").write_bytes(full)
    assert "no room" in refused(mirror, store).detail
    report = checked()
    assert (report.ok, report.size) == (True, 10)


def test_a_checkpoint_of_another_key_or_none_is_refused(log, store, opened, tmp_path) -> None:
    log.grow(10)
    mirror = opened()
    mirror.step()
    other = Log(tmp_path / "other")
    other.grow(20)
    shutil.copy(other.directory / "checkpoint", log.directory)
    refused(mirror, store)
    (log.directory / "checkpoint").unlink()
    refused(mirror, store, "PC7005")


def test_a_mirror_that_was_cut_off_goes_on_when_its_source_was_pruned_meanwhile(
    log, store, opened
) -> None:
    log.grow(600)
    path = tile_path("entries", 1)
    whole = (log.directory / path).read_bytes()
    store.put(path, whole)
    mirror = opened()
    (log.directory / path).write_bytes(pack([b""] * TILE_WIDTH))
    mirror.step()
    assert cosigned(store, opened.vkey)
    assert store.get(path, 10**7) == whole

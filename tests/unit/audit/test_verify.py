"""Every way of tampering is found; each test says which one a user would otherwise not see."""

from __future__ import annotations

import os
import secrets
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.journal import Journal, Tail, encode_frame, segment_path
from portcullis.audit.keys import load_keys
from portcullis.audit.merkle import Tree
from portcullis.audit.note import Signer
from portcullis.audit.publish import Publisher
from portcullis.audit.shrink import encode
from portcullis.audit.tiles import pack, unpack
from portcullis.audit.verify import Outcome, Report, load_verifier, verify
from portcullis.core.errors import Problem

SIZE = 600


@pytest.fixture
def log(place) -> Path:
    place.fill(SIZE)
    return place.log


@pytest.fixture
def check(place) -> Callable[..., Report]:
    def run(held: bytes | None = None) -> Report:
        return verify(place.log, place.verifier, held)

    return run


def rewrite(log: Path, signer: Signer, entries: list[bytes]) -> None:
    """What the holder of the key can do: a new tree, new tiles, a new signature, a new journal."""
    shutil.rmtree(log / "tile")
    publisher = Publisher(log, signer, Tree())
    publisher.add(entries)
    publisher.publish()
    segment_path(log / "journal", 0).unlink()
    journal = Journal(log / "journal", Tail(0, 0, 0))
    if entries:
        journal.append(entries)
    journal.close()


def refused(report: Report, *reasons: str) -> None:
    assert not report.ok
    for reason in reasons:
        assert any(reason in given for given in report.reasons), report.reasons


def test_an_untouched_log_is_verified_and_says_what_was_not_checked(log, check) -> None:
    report = check()
    assert report.ok
    assert (report.size, report.unpublished, report.reasons) == (SIZE, 0, ())
    assert report.integrity is Outcome.PASSED
    assert report.journal is Outcome.PASSED
    assert report.completeness is Outcome.UNCHECKED
    assert report.last_entry == "2030-01-01T00:09:59Z"


def test_a_copy_without_its_journal_is_verified(log, check) -> None:
    shutil.rmtree(log / "journal")
    report = check()
    assert report.ok
    assert report.journal is Outcome.UNCHECKED


def test_growth_is_complete_against_a_checkpoint_held(log, place, check) -> None:
    held = place.checkpoint
    place.fill(300, SIZE)
    report = check(held)
    assert (report.ok, report.completeness, report.size) == (True, Outcome.PASSED, SIZE + 300)
    assert check(place.checkpoint).ok


def test_a_checkpoint_held_is_met_beside_another_that_is_published_and_a_newer_head(
    place, check
) -> None:
    place.fill(40)
    held = place.checkpoint
    place.fill(80, 40)
    published = place.checkpoint
    place.fill(2, 120)
    (place.log / "head").write_bytes(place.checkpoint)
    (place.log / "checkpoint").write_bytes(published)
    report = check(held)  # all three end within one bundle
    assert (report.ok, report.completeness, report.size) == (True, Outcome.PASSED, 122)


def test_an_empty_log_is_verified(place, check) -> None:
    place.open().close()
    report = check(place.checkpoint)
    assert (report.ok, report.size, report.last_entry) == (True, 0, "")


def test_an_edited_entry_is_found(log, check) -> None:
    bundle = log / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b'"allow"', b'"denyX"', 1))
    refused(check(), "root that was signed", "tile/0/000", "journal")


def test_an_edit_with_recomputed_tiles_and_journal_is_found(log, place, check) -> None:
    note = place.checkpoint
    entries = [e for name in ("000", "001", "002.p/88") for e in bundle(log, name)]
    entries[17] = entries[17].replace(b'"allow"', b'"denyX"')
    rewrite(
        log,
        load_keys(place.keys, "example.org/gate", create=False, sealer=place.sealer).signer,
        entries,
    )
    (log / "checkpoint").write_bytes(note)
    refused(check(), "root that was signed")


def bundle(log: Path, name: str) -> list[bytes]:
    return unpack((log / "tile/entries" / name).read_bytes())


def test_an_edited_hash_tile_is_found(log, check) -> None:
    for name in ("0/000", "0/002.p/88", "1/000.p/2"):
        tile = log / "tile" / name
        whole = tile.read_bytes()
        tile.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        refused(check(), f"tile/{name}: not the hashes")
        tile.write_bytes(whole)
    assert check().ok


def test_a_truncated_bundle_is_found(log, check) -> None:
    last = log / "tile/entries/002.p/88"
    last.write_bytes(pack(unpack(last.read_bytes())[:-1]))
    refused(check(), "not 88 entries")


@pytest.mark.parametrize("name", ["entries/000", "entries/002.p/88", "0/001", "1/000.p/2"])
def test_a_deleted_file_is_found(log, check, name) -> None:
    (log / "tile" / name).unlink()
    refused(check(), "missing")


def test_an_edited_size_is_found(log, check) -> None:
    checkpoint = log / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"\n600\n", b"\n599\n"))
    refused(check(), "signature does not verify")


def test_a_deleted_checkpoint_is_found(log, check) -> None:
    (log / "checkpoint").unlink()
    refused(check(), "checkpoint")


def test_a_log_signed_by_another_key_is_found(log, place) -> None:
    verifier = place.verifier
    entries = [e for name in ("000", "001", "002.p/88") for e in bundle(log, name)]
    rewrite(log, Signer("example.org/gate", secrets.token_bytes(32)), entries)
    refused(verify(log, verifier), "not signed by the expected key")


def test_a_rewrite_by_the_holder_of_the_key_is_found_with_a_checkpoint_held(
    log, place, event, check
) -> None:
    held = place.checkpoint
    signer = load_keys(place.keys, "example.org/gate", create=False, sealer=place.sealer).signer
    entries = [e for name in ("000", "001", "002.p/88") for e in bundle(log, name)]
    entries[17] = entries[17].replace(b'"allow"', b'"denyX"')
    rewrite(log, signer, [*entries, *(encode(event(SIZE + n)) for n in range(SIZE))])
    assert check().ok
    report = check(held)
    refused(report, "the first 600 entries are not those")
    assert (report.integrity, report.completeness) == (Outcome.PASSED, Outcome.FAILED)


def test_a_truncation_signed_again_by_the_holder_of_the_key_is_found(log, place, check) -> None:
    held = place.checkpoint
    signer = load_keys(place.keys, "example.org/gate", create=False, sealer=place.sealer).signer
    rewrite(log, signer, bundle(log, "000"))
    assert check().ok
    report = check(held)
    refused(report, "covers 600 entries, the log 256")
    assert report.completeness is Outcome.FAILED


def test_a_log_put_back_whole_to_an_older_state_is_found(log, place, check) -> None:
    shutil.copytree(log, place.root / "backup")
    place.fill(50, SIZE)
    held = place.checkpoint
    shutil.rmtree(log)
    (place.root / "backup").rename(log)
    assert check().ok
    refused(check(held), "covers 650 entries, the log 600")


def test_a_log_emptied_and_signed_again_is_found(log, place, check) -> None:
    held = place.checkpoint
    rewrite(
        log, load_keys(place.keys, "example.org/gate", create=False, sealer=place.sealer).signer, []
    )
    refused(check(held), "covers 600 entries, the log 0")


def test_a_missing_bundle_does_not_pass_for_complete(log, place, check) -> None:
    held = place.checkpoint
    (log / "tile/entries/000").unlink()
    assert check(held).completeness is Outcome.UNCHECKED


def test_a_journal_that_tells_another_story_is_found(log, place, event, check) -> None:
    path = segment_path(log / "journal", 0)
    path.unlink()
    journal = Journal(log / "journal", Tail(0, 0, 0))
    journal.append([encode(event(n, verdict="deny")) for n in range(SIZE)])
    journal.close()
    refused(check(), "the journal disagree")


def test_a_truncated_or_damaged_journal_is_found(log, check) -> None:
    path = segment_path(log / "journal", 0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    refused(check(), "fewer entries")
    path.write_bytes(whole[:50] + b"\0" + whole[51:])
    refused(check(), "journal:")


def test_entries_that_are_not_yet_signed_are_counted(log, place, event, check) -> None:
    path = segment_path(log / "journal", 0)
    journal = Journal(log / "journal", Tail(0, path.stat().st_size, SIZE))
    journal.append([encode(event(1)), encode(event(2))])
    journal.close()
    report = check()
    assert (report.ok, report.unpublished) == (True, 2)


def test_a_folder_without_a_log_is_not_called_verified(place, tmp_path) -> None:
    place.fill(1)
    verifier = place.verifier
    for folder in (tmp_path / "nothing", tmp_path):
        with pytest.raises(Problem) as caught:
            verify(folder, verifier)
        assert caught.value.code == "PC7005"


def test_a_held_checkpoint_of_another_log_is_refused(log, check) -> None:
    other = Signer("example.org/gate", secrets.token_bytes(32))
    with pytest.raises(Problem) as caught:
        check(Checkpoint(other.name, 5, bytes(32)).sign(other))
    assert caught.value.code == "PC6005"


def test_keys_are_read_from_text_or_file(place, log) -> None:
    text = (log / "log.vkey").read_text().strip()
    assert str(load_verifier(text)) == str(load_verifier(str(log / "log.vkey"))) == text
    for nonsense in ("nonsense", "a+b+c", str(log / "checkpoint")):
        with pytest.raises(Problem) as caught:
            load_verifier(nonsense)
        assert caught.value.code == "PC6005"


def test_an_ill_meant_log_gives_a_verdict_not_a_crash(log, place, check) -> None:
    signer = load_keys(place.keys, "example.org/gate", create=False, sealer=place.sealer).signer
    huge = Checkpoint(signer.name, 2**62, bytes(32))
    (log / "checkpoint").write_bytes(huge.sign(signer))
    refused(check(), "missing")
    assert open_checkpoint(huge.sign(signer), signer.verifier) == huge
    (log / "tile/entries/000").unlink()
    (log / "tile/entries/000").mkdir()
    refused(check(), "tile/entries/000")


@pytest.mark.parametrize("last", [b'{"time":"\xff"}', b"[" * 20_000 + b"]" * 20_000])
def test_an_entry_that_cannot_be_read_is_a_failed_verification(log, check, last) -> None:
    bundle = log / "tile/entries/002.p/88"
    bundle.write_bytes(pack([*unpack(bundle.read_bytes())[:-1], last]))
    refused(check(), "the entries do not give the root")


def test_a_frame_whose_lengths_lie_is_a_failed_verification(log, check, place) -> None:
    payload = b"\xff\xff{}"
    lying = encode_frame(SIZE, [b"{}"]).replace(b"\x00\x02{}", payload)
    crc = zlib.crc32(payload, zlib.crc32(lying[4:20])).to_bytes(4, "big")
    segment = segment_path(log / "journal", 0)
    segment.write_bytes(lying[:20] + crc + payload + segment.read_bytes())
    refused(check(), "journal: ")
    with pytest.raises(Problem) as caught:
        place.open()
    assert caught.value.code == "PC6002"


@pytest.mark.parametrize("name", ["checkpoint", "tile/entries/001", "tile/0/001"])
def test_a_pipe_or_a_bottomless_file_in_the_log_does_not_stop_verification(
    log, check, name
) -> None:
    whole = (log / name).stat().st_size
    os.truncate(log / name, 2**33)
    refused(check())
    os.truncate(log / name, whole)
    (log / name).unlink()
    os.mkfifo(log / name)
    refused(check())


def test_a_pipe_in_place_of_the_journal_does_not_stop_verification(log, check) -> None:
    segment = segment_path(log / "journal", 0)
    segment.unlink()
    os.mkfifo(segment)
    refused(check(), "not a file")


def test_a_log_of_several_segments_is_verified_by_several_processes(tmp_path, event) -> None:
    whole = encode(event(0)).split(event(0).id.encode())
    ends = (30_000, 65_536, 65_836)
    log, signer = tmp_path / "log", Signer("example.org/gate", secrets.token_bytes(32))
    (log / "journal").mkdir(parents=True)
    publisher = Publisher(log, signer, Tree())
    journal = Journal(log / "journal", Tail(0, 0, 0), sync=lambda _: None)
    notes = []
    for end in ends:
        entries = [f"{n:032x}".encode().join(whole) for n in range(publisher.size, end)]
        journal.append(entries)
        publisher.add(entries)
        publisher.publish()
        notes.append((log / "checkpoint").read_bytes())
    journal.close()
    one = verify(log, signer.verifier, notes[0])
    assert (one.ok, one.size, one.events.in_flight.count) == (True, ends[-1], ends[-1])
    assert verify(log, signer.verifier, notes[1], processes=2).completeness is Outcome.PASSED
    bundle = log / "tile/entries/256"
    bundle.write_bytes(pack(unpack(bundle.read_bytes())[::-1]))
    other = Checkpoint(signer.name, 65_536 + 5, bytes(32)).sign(signer)
    report = verify(log, signer.verifier, other, processes=2)
    refused(report, "tile/0/256: not", "journal", "root that was", "are not those of the")
    (log / "checkpoint").write_bytes(Checkpoint(signer.name, 2**62, bytes(32)).sign(signer))
    refused(verify(log, signer.verifier, processes=2), "tile/entries/257: missing")

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from portcullis.audit import journal as journals
from portcullis.audit.journal import Journal, Tail, encode_frame, lock, read, recover, segment_path
from portcullis.core.errors import Problem

BATCHES = [[b'{"a":1}'], [b"", b"x" * 300], [b'{"b":2}', b'{"c":3}', b"y" * 65535]]


def write(folder: Path, batches=BATCHES) -> None:
    journal = Journal(folder, Tail(0, 0, 0))
    for batch in batches:
        journal.append(batch)
    journal.close()


def entries(folder: Path, start: int = 0) -> list[bytes]:
    return [entry for frame in read(folder, start) for entry in frame.entries]


def reopen(folder: Path) -> tuple[Tail, list[bytes]]:
    seen: list[bytes] = []
    return recover(folder, 0, seen.extend), seen


def test_what_was_appended_is_read_back_in_order(tmp_path) -> None:
    write(tmp_path)
    assert entries(tmp_path) == [entry for batch in BATCHES for entry in batch]


def test_one_commit_costs_one_sync(tmp_path) -> None:
    syncs: list[int] = []
    journal = Journal(tmp_path, Tail(0, 0, 0), sync=syncs.append)
    before = len(syncs)
    journal.append([b"x"] * 1000)
    journal.close()
    assert len(syncs) == before + 1


def test_a_tail_torn_at_any_byte_is_cut_and_nothing_before_it_is_lost(tmp_path) -> None:
    write(tmp_path)
    path = segment_path(tmp_path, 0)
    kept = [entry for batch in BATCHES for entry in batch]
    acknowledged = path.read_bytes()
    torn = encode_frame(len(kept), [b'{"never":"acknowledged"}', b"z" * 200])
    for cut in range(len(torn)):
        path.write_bytes(acknowledged + torn[:cut])
        tail, seen = reopen(tmp_path)
        assert seen == kept
        assert tail == Tail(0, len(acknowledged), len(kept))
    Journal(tmp_path, tail).close()
    assert path.read_bytes() == acknowledged


@pytest.mark.parametrize("blank", [0, 0xFF])
def test_a_tail_whose_pages_never_reached_the_disk_is_cut(tmp_path, blank: int) -> None:
    write(tmp_path)
    path = segment_path(tmp_path, 0)
    acknowledged = path.read_bytes()
    torn = encode_frame(6, [b"z" * 9000])
    for start in (0, 1, 24, 4096):
        path.write_bytes(acknowledged + torn[:start] + bytes([blank]) * (len(torn) - start))
        tail, seen = reopen(tmp_path)
        assert (len(seen), tail.offset) == (6, len(acknowledged))


def test_any_changed_byte_before_the_end_refuses_and_changes_nothing(tmp_path) -> None:
    write(tmp_path, [[b"first"], [b"second"], [b"last"]])
    path = segment_path(tmp_path, 0)
    whole = path.read_bytes()
    for place in range(len(whole) - len(encode_frame(2, [b"last"]))):
        broken = bytearray(whole)
        broken[place] ^= 0x01
        path.write_bytes(broken)
        with pytest.raises(Problem) as caught:
            reopen(tmp_path)
        assert caught.value.code == "PC6002"
        assert path.read_bytes() == broken


def test_a_frame_taken_out_of_the_middle_is_missed(tmp_path) -> None:
    path = segment_path(tmp_path, 0)
    path.write_bytes(encode_frame(0, [b"a"]) + encode_frame(2, [b"c"]))
    with pytest.raises(Problem) as caught:
        reopen(tmp_path)
    assert caught.value.code == "PC6002"


def test_segments_follow_each_other_and_a_missing_one_is_missed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(journals, "SEGMENT", 4)
    write(tmp_path, [[bytes([n, i]) for i in range(3)] for n in range(5)])
    whole = [bytes([n, i]) for n in range(5) for i in range(3)]
    assert [path.name for path in sorted(tmp_path.glob("*.journal"))] == [
        f"{first:016d}.journal" for first in (0, 4, 8, 12)
    ]
    assert reopen(tmp_path) == (Tail(12, segment_path(tmp_path, 12).stat().st_size, 15), whole)
    assert entries(tmp_path, 9) == whole[8:]
    for first, reason in ((8, "missing"), (4, "missing")):
        away = segment_path(tmp_path, first).rename(tmp_path / "away")
        with pytest.raises(Problem, match=reason):
            reopen(tmp_path)
        away.rename(segment_path(tmp_path, first))
    cut = segment_path(tmp_path, 4)
    cut.write_bytes(cut.read_bytes()[:-1])
    with pytest.raises(Problem) as caught:
        reopen(tmp_path)
    assert caught.value.code == "PC6002"


def test_a_reader_beside_the_writer_sees_no_damage(tmp_path) -> None:
    journal = Journal(tmp_path, Tail(0, 0, 0))
    journal.append([b"one"])
    frames = read(tmp_path)
    assert next(frames).entries == [b"one"]
    half = encode_frame(1, [b"two"])
    with segment_path(tmp_path, 0).open("ab") as file:
        file.write(half[:10])
        file.flush()
        assert list(read(tmp_path)) != []
        file.write(half[10:])
    assert entries(tmp_path) == [b"one", b"two"]
    journal.close()


def test_a_log_has_one_writer(tmp_path) -> None:
    first = lock(tmp_path)
    with pytest.raises(Problem) as caught:
        lock(tmp_path)
    assert caught.value.code == "PC6003"
    journals.os.close(first)
    journals.os.close(lock(tmp_path))


def test_a_disk_that_fails_is_not_papered_over(tmp_path) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal = Journal(tmp_path, Tail(0, 0, 0))
    journal._sync = fail
    with pytest.raises(OSError, match="Input"):
        journal.append([b"x"])
    assert journal.size == 0
    journal.close()

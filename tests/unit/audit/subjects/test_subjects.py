"""One key per subject: made in time, found again, and gone for good once destroyed."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from portcullis.audit.keys import destroy_derived, load_keys
from portcullis.audit.retention_holds import Hold, HoldBook, HoldFile
from portcullis.audit.subjects import SubjectKeys, count
from portcullis.audit.subjects_erasure import Plan, Stores, subject_name
from portcullis.audit.verify import verify
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope
from sealers import sealer_at

ADA = 'subject:{"customer_id":"C-1","email":"ada@customer.example"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "subjects.db"


@pytest.fixture
def opened(tmp_path: Path, path: Path) -> Iterator[Callable[[], SubjectKeys]]:
    handles, sealer, made = secrets.token_bytes(32), sealer_at(tmp_path), []

    def open_() -> SubjectKeys:
        made.append(SubjectKeys(path, handles, sealer))
        return made[-1]

    yield open_
    for keys in made:
        keys.close()


def test_commitments_link_equal_values_of_one_subject_only(opened) -> None:
    keys = opened()
    mine = keys.commitment("user:anna", b"anna@example.org")
    assert mine.startswith("hmac-sha256:")
    assert len(mine) == 12 + 64
    assert mine == keys.commitment("user:anna", b"anna@example.org")
    others = {
        keys.commitment("user:bert", b"anna@example.org"),
        keys.commitment("user:anna", b"x"),
    }
    assert mine not in others


def test_a_key_outlives_the_process_once_it_was_flushed(opened) -> None:
    keys = opened()
    before = keys.commitment("user:anna", b"v")
    keys.flush()
    assert opened().commitment("user:anna", b"v") == before


def test_no_event_is_acknowledged_before_its_subjects_key_is_on_disk(
    place, event, monkeypatch
) -> None:
    flush = SubjectKeys.flush

    def slowly(keys: SubjectKeys) -> None:
        time.sleep(0.05)
        flush(keys)

    monkeypatch.setattr(SubjectKeys, "flush", slowly)
    with place.open() as log:
        kept = log.commitment("user:anna", b"v")
        log.append_now(event(1, commitments={"user": kept}))
        with sqlite3.connect(place.keys / "subjects.db") as file:
            assert file.execute("SELECT count(*) FROM subject").fetchone() == (1,)
    with place.open() as log:
        assert log.commitment("user:anna", b"v") == kept


def test_a_key_that_cannot_be_written_stops_the_log(place, event) -> None:
    log = place.open()
    with sqlite3.connect(place.keys / "subjects.db") as other:
        other.execute("DROP TABLE member")
    log.commitment('subject:{"a":"b"}', b"v")
    with pytest.raises(Problem, match=r"PC6001.*the subjects' keys"):
        log.append_now(event(1))
    with pytest.raises(Problem, match="PC6001"):
        log.close()


def test_neither_names_nor_keys_are_in_the_file(opened, path) -> None:
    keys = opened()
    keys.commitment(ADA, b"v")
    keys.flush()
    content = b"".join(one.read_bytes() for one in path.parent.glob("subjects.db*"))
    for secret in (b"C-1", b"ada@customer.example", keys.subject(ADA).content):
        assert secret not in content


def test_a_destroyed_key_is_gone_from_the_file_and_from_every_process(opened, path) -> None:
    keys, elsewhere = opened(), opened()
    before = keys.commitment(ADA, b"v")
    keys.flush()
    with sqlite3.connect(path) as file:
        ((sealed,),) = file.execute("SELECT key FROM subject")
    tag = elsewhere.tag("subject:customer_id=C-1")
    assert elsewhere.erase(elsewhere.reach(tag)) == 1
    assert sealed not in b"".join(one.read_bytes() for one in path.parent.glob("subjects.db*"))
    keys.flush()  # as before the next commit
    assert keys.commitment(ADA, b"v") != before
    assert elsewhere.erase(elsewhere.reach(tag)) == 0


def test_a_key_is_destroyed_also_before_it_was_written(opened) -> None:
    keys = opened()
    before = keys.commitment("user:anna", b"v")
    assert keys.erase(keys.reach(keys.tag("user:anna"))) == 1
    keys.flush()
    assert keys.commitment("user:anna", b"v") != before


def test_a_member_leads_to_every_subject_that_has_it(opened) -> None:
    keys = opened()
    alone = 'subject:{"customer_id":"C-1"}'
    for subject in (ADA, alone, 'subject:{"customer_id":"C-2"}', 'subject:{"customer_id":1}'):
        keys.commitment(subject, b"v")
    keys.flush()
    keys.commitment('subject:{"n":2,"customer_id":"C-1"}', b"v")  # waits for the log
    assert keys.erase(keys.reach(keys.tag("subject:customer_id=C-1"))) == 3
    assert keys.erase(keys.reach(keys.tag("subject:customer_id=1"))) == 1
    assert keys.erase(keys.reach(keys.tag("subject:customer_id=C-2"))) == 1


def test_after_a_rotation_all_keys_are_under_the_new_version_and_the_same(tmp_path, path) -> None:
    manager = FileKeyManager(tmp_path / "master.key", create=True)
    keys = SubjectKeys(path, bytes(32), Envelope(manager))
    before = keys.commitment("user:anna", b"v")
    keys.flush()
    manager.rotate()
    assert count(path, Envelope(manager)) == (1, 1)
    keys.reseal()
    assert count(path, Envelope(manager)) == (1, 0)
    keys.close()
    again = SubjectKeys(path, bytes(32), Envelope(manager))
    assert again.commitment("user:anna", b"v") == before
    again.close()


def test_a_file_that_others_can_read_or_that_is_no_such_file_is_refused(path, opened) -> None:
    path.write_bytes(b"not a database" * 100)
    path.chmod(0o600)
    with pytest.raises(Problem, match="PC6002"):
        opened()
    path.unlink()
    opened()
    path.chmod(0o640)
    with pytest.raises(Problem, match="readable by others"):
        opened()


def test_a_lost_file_of_keys_is_noticed_and_not_made_anew(place) -> None:
    place.fill(1)
    for name in ("subjects.db", "subjects.key"):
        kept = (place.keys / name).read_bytes()
        (place.keys / name).unlink()
        for beside in ("-wal", "-shm"):
            (place.keys / f"{name}{beside}").unlink(missing_ok=True)
        with pytest.raises(Problem, match=f"PC6002.*{name}"):
            place.open()
        (place.keys / name).write_bytes(kept)
        (place.keys / name).chmod(0o600)
    place.fill(1, start=1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("user:ada", "user:ada"),
        ("agent:helper", "agent:helper"),
        ("subject:customer_id=C-1", "subject:customer_id=C-1"),
        ('subject:{"b": 1, "a": "x"}', 'subject:{"a":"x","b":1}'),
    ],
)
def test_a_subject_is_named_in_one_way(text: str, name: str) -> None:
    assert subject_name(text) == name


@pytest.mark.parametrize("text", ["ada", "user:", "subject:C-1", "subject:{]", "robot:x"])
def test_a_name_that_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="PC1020"):
        subject_name(text)


def test_a_name_that_no_session_can_have_is_refused_and_is_no_fault() -> None:
    deep = 'subject:{"a": ' + "[" * 100_000
    for text in ("user:\udcff", 'subject:{"a": "\udcff"}', 'subject:{"a": {"b": 1}}', deep):
        with pytest.raises(Problem, match="PC1020"):
            subject_name(text)


def test_a_subject_whose_key_somebody_damaged_can_still_be_erased(tmp_path: Path) -> None:
    sealer, folder = sealer_at(tmp_path), tmp_path / "keys"
    keys = load_keys(folder / "gate", "a.example/gate", create=True, sealer=sealer).subjects
    keys.commitment("user:anna", b"v")
    keys.flush()
    with sqlite3.connect(folder / "gate" / "subjects.db") as file:
        file.execute("UPDATE subject SET key = ?", (bytes(60),))
    stores = Stores(folder, tmp_path / "content", sealer, "gate", keys)
    plan = stores.plan("user:anna", HoldBook(tmp_path / "log"))
    assert isinstance(plan, Plan)
    assert plan.keys == {"gate": 1}
    assert stores.erase(plan) == (1, 0)
    keys.close()


def test_another_host_goes_by_the_holds_it_was_told_and_destroys_nothing_without(
    tmp_path: Path, opened
) -> None:
    keys, place = opened(), tmp_path / "holds.json"
    (tmp_path / "keys").mkdir()
    keys.commitment("user:anna", b"v")
    keys.flush()
    stores = Stores(tmp_path / "keys", tmp_path / "content", sealer_at(tmp_path), "edge", keys)
    with pytest.raises(Problem, match="PC6002"):
        stores.plan("user:anna", HoldFile(place))
    hold = Hold(id="1", kind="subject", target="", tags={}, reason="x", by="eve", since=0.0)
    place.write_bytes(msgspec.json.encode([hold]))
    assert stores.plan("user:anna", HoldFile(place)) == hold, "nobody can tell whose it is"
    place.write_bytes(b"[]")
    assert isinstance(stores.plan("user:anna", HoldFile(place)), Plan)


def test_a_hold_keeps_content_of_a_log_that_came_after_it(tmp_path: Path, opened) -> None:
    keys = opened()
    tag = keys.tag("user:anna").hex()
    hold = Hold(
        id="1", kind="subject", target="", tags={"gate": tag}, reason="x", by="eve", since=0.0
    )
    for log, everything in (("gate", False), ("mcp-files", True)):
        stores = Stores(tmp_path / "keys", tmp_path / "content", sealer_at(tmp_path), log, keys)
        assert stores.held([hold]).everything is everything
        assert stores.held([]).everything is False


def test_what_a_crash_left_of_the_older_keys_is_destroyed_with_them(tmp_path: Path) -> None:
    for name in ("commitments.key", "commitments.key.new"):
        (tmp_path / name).write_bytes(b"sealed")
    assert destroy_derived(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_log_from_before_goes_on_and_its_old_commitments_can_be_erased(
    place, event: Callable[..., Event]
) -> None:
    place.fill(3)
    for name in ("subjects.key", "subjects.db", "subjects.db-wal", "subjects.db-shm"):
        (place.keys / name).unlink(missing_ok=True)
    old = place.keys / "commitments.key"
    old.write_text(secrets.token_hex(32) + "\n")
    old.chmod(0o600)

    with place.open() as log:
        log.append_now(event(4, commitments={"user": log.commitment("user:anna", b"v")}))
    assert old.exists()
    assert destroy_derived(place.keys)
    assert not destroy_derived(place.keys)
    with place.open() as log:
        assert log.size == 4
    assert verify(place.log, place.verifier).ok


def test_an_erasure_reaches_every_log_of_the_state_directory(tmp_path) -> None:
    sealer, folder = sealer_at(tmp_path), tmp_path / "keys"
    first, second = (
        load_keys(folder / name, f"a.example/{name}", create=True, sealer=sealer).subjects
        for name in ("gate", "mcp-files")
    )
    for keys in (first, second):
        keys.commitment("user:anna", b"v")
        keys.flush()
    stores = Stores(folder, tmp_path / "content", sealer, "gate", first)
    tags = stores.tags("user:anna")
    assert set(tags) == {"gate", "mcp-files"}
    assert stores.erase(Plan(tags, {}, ())) == (2, 0)
    assert all(
        keys.find(tags[log]) is None for log, keys in (("gate", first), ("mcp-files", second))
    )
    for keys in (first, second):
        keys.close()

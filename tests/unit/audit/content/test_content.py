"""Sealed content: encrypted for its subject, bounded, and gone in time."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portcullis.audit.content import ContentStore, Held, forget
from portcullis.audit.subjects import SubjectKeys
from portcullis.config.content import Content
from portcullis.core.errors import Problem
from sealers import sealer_at

TEXT = b'"It lies at the depot"'


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[SubjectKeys]:
    opened = SubjectKeys(tmp_path / "subjects.db", bytes(32), sealer_at(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "content" / "gate.db"


@pytest.fixture
def opened(path: Path, keys: SubjectKeys) -> Iterator[Callable[..., ContentStore]]:
    made = []

    def open_(most_bytes: int = 2**20, held: Callable[[], Held] = Held) -> ContentStore:
        made.append(ContentStore(path, keys, results=True, most_bytes=most_bytes, held=held))
        return made[-1]

    yield open_
    for store in made:
        store.close()


def written(store: ContentStore, event_id: str) -> None:
    """Return when the event's content, the last one given, is on disk."""
    for _ in range(500):
        try:
            store.read(event_id)
        except Problem:
            time.sleep(0.005)
        else:
            return
    raise AssertionError("its content was not kept")


def on_disk(path: Path) -> bytes:
    """The file, with its write-ahead log."""
    return b"".join(one.read_bytes() for one in path.parent.iterdir())


def test_content_is_read_back_with_what_the_leaf_commits_to(opened, keys, event) -> None:
    store, one = opened(), event(1)
    store.keep(one, "user:anna", {"arguments.body": TEXT})
    written(store, one.id)
    (field,) = store.read(one.id)
    assert (field.name, field.value) == ("arguments.body", TEXT)
    assert field.commitment == keys.commitment("user:anna", TEXT)


def test_what_did_not_get_on_record_is_not_kept(opened, path, event) -> None:
    store = opened()
    store.keep(event(1), "user:anna", {"arguments.body": TEXT})
    written(store, event(1).id)
    store.drop(event(1).id)
    for number in (2, 3):
        store.keep(event(number), "user:anna", {"arguments.body": TEXT})
    store.drop(event(2).id)
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT DISTINCT event FROM content").fetchall() == [(event(3).id,)]
    opened()


def test_on_disk_content_is_ciphertext(opened, path, event) -> None:
    store = opened()
    store.keep(event(1), "user:anna", {"arguments.body": TEXT})
    written(store, event(1).id)
    assert TEXT not in on_disk(path)
    assert b"anna" not in on_disk(path)
    assert path.stat().st_mode & 0o077 == 0


def test_content_of_an_erased_subject_cannot_be_opened_even_from_a_copy(
    opened, keys, path, event
) -> None:
    store = opened()
    store.keep(event(1), "user:anna", {"arguments.body": TEXT})
    store.keep(event(2), "user:bert", {"arguments.body": TEXT})
    written(store, event(2).id)
    tag = keys.tag("user:anna")
    keys.erase({tag})
    with pytest.raises(Problem, match=r"PC6041.*destroyed"):
        store.read(event(1).id)  # the row is still there
    assert forget(path, {tag}) == 1
    with pytest.raises(Problem, match=r"PC6041.*no content"):
        store.read(event(1).id)
    assert store.read(event(2).id)[0].value == TEXT


@pytest.mark.parametrize("change", ["event", "field", "sealed", "handle"])
def test_content_that_was_altered_or_moved_is_not_shown(
    opened, keys, path, event, change: str
) -> None:
    store = opened()
    store.keep(event(1), "user:anna", {"arguments.body": TEXT})
    keys.commitment("user:bert", b"")
    written(store, event(1).id)
    other = {
        "event": event(2).id,
        "field": "arguments.subject",
        "sealed": bytes(60),
        "handle": keys.tag("user:bert"),
    }
    with sqlite3.connect(path) as file:
        file.execute(f"UPDATE content SET {change} = ?", (other[change],))  # noqa: S608 - ours
    with pytest.raises(Problem, match="PC6005"):
        store.read(event(2 if change == "event" else 1).id)


def test_content_goes_when_its_time_is_over_unless_it_is_held(opened, event) -> None:
    holds = [Held()]
    store = opened(held=lambda: holds[-1])
    for number, session in ((1, "s-1"), (2, "s-2")):
        store.keep(event(number, session=session), "user:anna", {"arguments.body": TEXT})
    written(store, event(2).id)
    now = event(2).time.timestamp()
    assert store.expire(Content().expired(now + 29 * 86_400)) == 0
    later = Content(keep="arguments", days={"tool_call": 7}).expired(now + 8 * 86_400)
    holds.append(Held(everything=True))
    assert store.expire(later) == 0
    holds.append(Held(sessions=("s-2",)))
    assert store.expire(later) == 1
    assert store.read(event(2).id)
    holds.append(Held())
    assert store.expire(later) == 1


def test_what_is_past_its_time_is_not_left_on_disk(opened, path, event) -> None:
    store = opened()
    store.keep(event(1), "user:anna", {"arguments.body": TEXT})
    written(store, event(1).id)
    with sqlite3.connect(path) as file:
        ((sealed,),) = file.execute("SELECT sealed FROM content")
        file.execute("PRAGMA wal_checkpoint")
    assert sealed in on_disk(path)
    assert store.expire(Content().expired(event(1).time.timestamp() + 31 * 86_400)) == 1
    assert sealed not in on_disk(path)


def test_when_the_file_is_full_the_oldest_goes_first_and_what_is_held_stays(
    opened, keys, event
) -> None:
    store = opened(100_000, lambda: Held(handles=(keys.tag("user:held").hex(),)))
    store.keep(event(0), "user:held", {"arguments.body": TEXT})
    for number in range(1, 30):
        store.keep(event(number), "user:anna", {"arguments.body": bytes(10_000)})
        written(store, event(number).id)
    assert store.read(event(0).id)
    assert store.read(event(29).id)
    with pytest.raises(Problem, match="PC6041"):
        store.read(event(1).id)


def test_while_nobody_can_say_what_is_held_nothing_goes_to_make_room(opened, event) -> None:
    readable = []

    def held() -> Held:
        if not readable:
            raise Problem("PC6005", "the log is damaged")
        return Held()

    store = opened(100_000, held)
    for number in range(1, 12):
        store.keep(event(number), "user:anna", {"arguments.body": bytes(10_000)})
        time.sleep(0.01)
    written(store, event(1).id)
    readable.append(True)
    store.keep(event(12), "user:anna", {"arguments.body": bytes(30_000)})
    written(store, event(12).id)
    with pytest.raises(Problem, match="PC6041"):
        store.read(event(1).id)


def test_what_an_erasure_took_makes_room_for_the_content_of_others(
    opened, keys, path, event
) -> None:
    store = opened(most_bytes=100_000)
    for number in (1, 2):
        store.keep(event(number), "user:anna", {"arguments.body": bytes(45_000)})
    store.keep(event(3), "user:bert", {"arguments.body": TEXT})
    written(store, event(3).id)
    assert forget(path, {keys.tag("user:anna")}) == 2
    for number in (4, 5):
        store.keep(event(number), "user:bert", {"arguments.body": bytes(45_000)})
        written(store, event(number).id)
    assert store.read(event(3).id)


def test_one_large_call_does_not_push_out_the_content_of_all_others(opened, event) -> None:
    store = opened(most_bytes=100_000)
    store.keep(event(1), "user:anna", {"arguments.body": TEXT})
    store.keep(event(2), "agent:hostile", {"arguments.body": bytes(120_000)})
    store.keep(event(3), "user:anna", {"arguments.body": TEXT})
    written(store, event(3).id)
    assert store.read(event(1).id)[0].value == TEXT


def test_what_is_too_much_is_not_kept_and_nobody_waits(opened, event, monkeypatch) -> None:
    monkeypatch.setattr("portcullis.audit.content.QUEUE_BYTES", 100)
    store = opened()
    store.keep(event(1), "user:anna", {"arguments.body": bytes(101)})
    store.keep(event(2), "user:anna", {"arguments.body": bytes(10)})
    written(store, event(2).id)
    with pytest.raises(Problem, match="PC6041"):
        store.read(event(1).id)


def test_content_survives_a_restart_and_off_is_read_as_off(opened, event) -> None:
    store = opened()
    store.keep(event(1), "user:anna", {"arguments.body": TEXT})
    written(store, event(1).id)
    assert opened().read(event(1).id)[0].value == TEXT
    assert Content.model_validate({"keep": False}).keep == "off"
    assert Content().keep == "off"

"""The sealed content of calls, off the log: what investigators need and leaves must not hold.

Each field of an event's content is encrypted with AES-256-GCM under a key derived from its
subject's, for the event and the field (additional data). Destroying the subject's key destroys
it. A leaf commits to each field under the same name, so what is shown can be held against it.
Where there are recipients, what lies under the subject's key is an envelope for them
(``audit.recipients``), and nobody here can read it; all but the name of the user, which the rule of
four eyes needs.

Keeping is best effort: a thread writes, nobody waits, and what a crash or a full queue takes is
not content of record. The file is bounded: the oldest goes first, and what is held stays.
"""

from __future__ import annotations

import os
import queue as queues
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Final

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portcullis.audit import recipients as envelopes
from portcullis.audit.recipients import Recipients
from portcullis.audit.subjects import SubjectKeys
from portcullis.core.errors import Problem
from portcullis.core.event import Event

QUEUE_BYTES: Final = 32 * 2**20
"""The most content that may wait to be written."""
USER: Final = "user"
"""The field with the name of the user for whom a call was made."""
_VERSION: Final = 1
_NONCE: Final = 12
_ROW: Final = 256
"""Bytes that a row takes beside its ciphertext, roughly; as in the statements below."""
_SCHEMA: Final = """
CREATE TABLE content (
    event TEXT, field TEXT, at REAL NOT NULL, class TEXT NOT NULL, principal TEXT NOT NULL,
    session TEXT NOT NULL, handle BLOB NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (event, field)
);
CREATE INDEX content_at ON content (at);
CREATE INDEX content_handle ON content (handle);
"""
_HELD: Final = """
    :everything = 'true'
    OR session IN (SELECT value FROM json_each(:sessions))
    OR principal IN (SELECT value FROM json_each(:principals))
    OR lower(hex(handle)) IN (SELECT value FROM json_each(:handles))
"""
_TOTAL: Final = "SELECT coalesce(sum(length(sealed) + 256), 0) FROM content"
_EXPIRE: Final = "DELETE FROM content WHERE class = :class AND at < :at AND NOT (" + _HELD + ")"  # noqa: S608 - ours
_OLDEST: Final = (
    "SELECT rowid, length(sealed) + 256 FROM content WHERE NOT (" + _HELD + ") ORDER BY at"  # noqa: S608 - ours
)

log = structlog.get_logger(__name__)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Whose content stays: sessions' ids, principals as ``KIND:NAME``, handles in hex, or all."""

    everything: bool = False
    sessions: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()
    handles: tuple[str, ...] = ()

    def parameters(self) -> dict[str, str]:
        """For a statement with ``_HELD`` in it."""
        named = msgspec.structs.asdict(self).items()
        return {name: msgspec.json.encode(values).decode() for name, values in named}


class Field(msgspec.Struct, frozen=True):
    """One field of an event's content; its ``commitment`` is made anew, from what was kept.

    Where it is ``sealed``, the value is an envelope that is not for us, and the commitment what
    was written with it.
    """

    name: str
    value: bytes
    commitment: str
    sealed: bool = False


class _Item(msgspec.Struct, frozen=True):
    event: Event
    handle: bytes
    key: bytes
    fields: Mapping[str, bytes]
    size: int


class ContentStore:
    """The ``Contents`` port over a SQLite file, of one log. For any threads.

    ``keys`` are that log's. ``most_bytes`` bounds what is kept, encrypted, but for what is
    ``held``: that is asked whenever something is to go, and while it raises a Problem nothing
    goes and what finds no room is not kept. ``recipients`` are those who alone can read it. Raises
    Problem PC7001 for a file that is not of this version or cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        keys: SubjectKeys,
        *,
        results: bool,
        most_bytes: int,
        held: Callable[[], Held] = Held,
        recipients: Recipients | None = None,
    ) -> None:
        self.results = results
        self.readers = recipients.names if recipients else ()
        self._recipients = recipients
        self._keys = keys
        self._most = most_bytes
        self._held = held
        self._connection = _connect(path)
        self._lock = Lock()
        (self._bytes,) = self._connection.execute(_TOTAL).fetchone()
        self._waiting = 0
        self._queue: queues.SimpleQueue[_Item | str | None] = queues.SimpleQueue()
        self._mutex = Lock()
        self._thread = Thread(target=self._run, name="audit-content", daemon=True)
        self._thread.start()

    def keep(self, event: Event, subject: str, fields: Mapping[str, bytes]) -> None:
        """Keep the content of an event, in time. Raises Problem PC6001 as a commitment does."""
        if not fields:
            return
        found = self._keys.subject(subject)
        size = sum(map(len, fields.values()))
        with self._mutex:
            if size > self._most // 2 or self._waiting + size > QUEUE_BYTES:
                log.warning("content_not_kept", event_id=event.id, reason="too much")
                return
            self._waiting += size
        self._queue.put(_Item(event, found.handle, found.content, fields, size))

    def drop(self, event_id: str) -> None:
        """Keep nothing of this event after all."""
        self._queue.put(event_id)

    def read(self, event_id: str) -> tuple[Field, ...]:
        """The content of an event. Raises Problem PC6041 when there is none (any more).

        Raises Problem PC6005 for content that was altered or moved. What was kept in the last
        moment may not be there yet.
        """
        with self._lock:
            found = _read(self._connection, self._keys, event_id)
        if not found:
            raise Problem("PC6041", "no content of this event is kept")
        return found

    def expire(self, before: Mapping[str, float]) -> int:
        """Destroy what is past its time: of each class (event type) what is older; the rows.

        What is held stays. Nothing of the rest is left in the file, nor in its write-ahead log
        but while another reads it. Blocks; raises the Problem of ``held``.
        """
        gone = 0
        with self._written() as connection:
            held = self._held()
            for name, at in before.items():
                gone += connection.execute(
                    _EXPIRE, {"class": name, "at": at, **held.parameters()}
                ).rowcount
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return gone

    def close(self) -> None:
        """Write what waits and close the file. Blocks."""
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    @contextmanager
    def _written(self) -> Iterator[sqlite3.Connection]:
        """A transaction after which the bound holds, by the file's own account."""
        with self._lock, self._connection as connection:
            yield connection
            (self._bytes,) = connection.execute(_TOTAL).fetchone()

    def _run(self) -> None:
        open_ = True
        while open_:
            items, open_ = self._take()
            try:
                if items:
                    self._write(items)
            except (sqlite3.Error, OSError, Problem) as error:
                log.warning("content_not_kept", reason=type(error).__name__, events=len(items))
            with self._mutex:
                self._waiting -= sum(item.size for item in items if isinstance(item, _Item))

    def _take(self) -> tuple[list[_Item | str], bool]:
        """All that waits, at least one item unless the store closes; ids are of what is dropped."""
        items: list[_Item | str] = []
        item = self._queue.get()
        while item is not None:
            items.append(item)
            if self._queue.empty():
                return items, True
            item = self._queue.get()
        return items, False

    def _write(self, items: Sequence[_Item | str]) -> None:
        dropped = {item for item in items if isinstance(item, str)}
        kept = [one for one in items if isinstance(one, _Item) and one.event.id not in dropped]
        rows = [row for item in kept for row in _rows(item, self._recipients)]
        with self._lock, self._connection as connection:
            connection.executemany("DELETE FROM content WHERE event = ?", [(e,) for e in dropped])
            connection.executemany(
                "INSERT OR REPLACE INTO content VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows
            )
            self._bytes += sum(len(row[-1]) + _ROW for row in rows)
            if self._bytes > self._most:  # unless an erasure made room
                (self._bytes,) = connection.execute(_TOTAL).fetchone()
            if self._bytes > self._most:
                self._shrink(connection)

    def _shrink(self, connection: sqlite3.Connection) -> None:
        """Destroy the oldest that is not held until a tenth is free."""
        cursor = connection.execute(_OLDEST, self._held().parameters())
        gone = []
        for row, size in cursor:
            if self._bytes <= self._most * 9 // 10:
                break
            gone.append((row,))
            self._bytes -= size
        connection.executemany("DELETE FROM content WHERE rowid = ?", gone)


def read(path: Path, keys: SubjectKeys, event_id: str) -> tuple[Field, ...]:
    """As ``ContentStore.read``, of a file that there may not be; nothing when none is kept."""
    if not path.exists():
        return ()
    try:
        with closing(_connect(path)) as connection:
            return _read(connection, keys, event_id)
    except sqlite3.Error:
        raise Problem("PC7001", f"{path} cannot be used as a content store") from None


def _read(connection: sqlite3.Connection, keys: SubjectKeys, event_id: str) -> tuple[Field, ...]:
    rows = connection.execute(
        "SELECT field, handle, sealed FROM content WHERE event = ?", (event_id,)
    ).fetchall()
    return tuple(_opened(keys, event_id, *row) for row in rows)


def _opened(keys: SubjectKeys, event_id: str, field: str, handle: bytes, sealed: bytes) -> Field:
    subject = keys.find(handle)
    if subject is None:
        raise Problem("PC6041", "the key of the event's content was destroyed")
    cipher = AESGCM(subject.content)
    try:
        value = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(event_id, field))
    except (InvalidTag, ValueError):
        raise Problem("PC6005", f"the content of {field} was altered") from None
    if field != USER and envelopes.sealed(value):  # a user is called as an application says
        return Field(field, value, envelopes.parse(value).commitment, sealed=True)
    return Field(field, value, subject.commitment(value))


def forget(path: Path, handles: Iterable[bytes]) -> int:
    """Destroy the content of subjects, in a file that there may not be; how many fields.

    Raises Problem PC6001 when it may still be there, PC7001 for a file that cannot be used.
    """
    if not path.exists():
        return 0
    try:
        return _forget(path, handles)
    except sqlite3.Error:
        raise Problem("PC6001", "the subject's content cannot be destroyed") from None


def _forget(path: Path, handles: Iterable[bytes]) -> int:
    with closing(_connect(path)) as connection:
        with connection:
            gone = 0
            for handle in handles:
                gone += connection.execute(
                    "DELETE FROM content WHERE handle = ?", (handle,)
                ).rowcount
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return gone


def _rows(
    item: _Item, recipients: Recipients | None
) -> Iterator[tuple[str, str, float, str, str, str, bytes, bytes]]:
    event, cipher = item.event, AESGCM(item.key)
    who = f"{event.principal_kind}:{event.principal}"
    fields = dict(item.fields)
    if recipients is not None:
        hidden = {name: value for name, value in fields.items() if name != USER}
        fields |= recipients.seal(event.id, hidden, event.commitments)
    for field, value in fields.items():
        nonce = os.urandom(_NONCE)
        sealed = nonce + cipher.encrypt(nonce, value, _bound(event.id, field))
        at = event.time.timestamp()
        yield event.id, field, at, event.type.value, who, event.session, item.handle, sealed


def _bound(event_id: str, field: str) -> bytes:
    return f"{event_id}\0{field}".encode()


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        if path.stat().st_mode & 0o077:
            raise Problem("PC7001", f"{path} is readable by others (chmod 600)")
        connection = sqlite3.connect(path, check_same_thread=False, timeout=5)
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = 1; COMMIT;")
    except (OSError, sqlite3.Error):
        raise Problem("PC7001", f"{path} cannot be used as a content store") from None
    if version not in {0, _VERSION}:
        connection.close()
        raise Problem("PC7001", f"{path} is of another, newer version")
    return connection

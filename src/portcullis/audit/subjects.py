"""One random key for each data subject of a log: who destroys it has erased the subject.

The keys lie in a SQLite file beside the log's other keys, each sealed for its place. A subject's
name does not: its row is found by the *handle*, an HMAC of the name under the log's handle key.
A new key is durable before the first event that uses it is acknowledged: the log's thread writes
both at a time, and waits for both.

A subject is named as ``core.principal.subject_key`` does: ``user:ada``, ``agent:helper``, or
``subject:`` and a flat JSON object, of which each member leads to the key as well.
"""

from __future__ import annotations

import errno
import hmac
import os
import secrets
import sqlite3
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer

SUBJECTS_FILE: Final = "subjects.db"
_VERSION: Final = 1
_KEY_SIZE: Final = 32
_CACHED: Final = 4096
_COMMITMENT: Final = b"portcullis/commitment/v2"
_CONTENT: Final = b"portcullis/content/v1"
_SCHEMA: Final = """
CREATE TABLE subject (handle BLOB PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE member (member BLOB, handle BLOB, PRIMARY KEY (member, handle)) WITHOUT ROWID;
"""
_SUBJECT: Final = "subject:"


class Subject(NamedTuple):
    """What is derived from a subject's key: its keyed hash, and the key of its content."""

    handle: bytes
    keyed: hmac.HMAC
    content: bytes

    def commitment(self, value: bytes) -> str:
        """``hmac-sha256:`` and 64 hex digits."""
        keyed = self.keyed.copy()  # cheaper than keying anew, and keeps the GIL
        keyed.update(value)
        return "hmac-sha256:" + keyed.hexdigest()


class SubjectKeys:
    """The keys of one log's subjects, for any threads, and for several processes.

    ``path`` is the file, made when it is missing; ``handles`` is the handle key of 32 bytes.
    Raises Problem PC6002 for a file that is not of this version or that others can read. Whatever
    cannot be read later is a Problem PC6001: then nothing is recorded.
    """

    def __init__(self, path: Path, handles: bytes, sealer: Sealer) -> None:
        self._path = path
        self._handles = hmac.new(handles, digestmod="sha256")
        self._sealer = sealer
        self._writer = _connect(path)
        self._reader = _connect(path)
        self._mutex = Lock()
        """Over the reader, ``_pending`` and ``_known``; ``_writing`` is taken before it."""
        self._writing = Lock()
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="audit-keys")
        self._pending: dict[bytes, tuple[bytes, tuple[bytes, ...]]] = {}
        self._known: dict[str, Subject] = {}
        self._seen = self._changes()

    def commitment(self, subject: str, value: bytes) -> str:
        """``hmac-sha256:`` and 64 hex digits; equal for equal values of a subject, till erased."""
        return self.subject(subject).commitment(value)

    def handle(self, name: str) -> bytes:
        """What stands for a subject, or for ``NAME=VALUE`` of one, where no name may stand."""
        keyed = self._handles.copy()
        keyed.update(name.encode("utf-8", "surrogatepass"))
        return keyed.digest()

    def subject(self, name: str) -> Subject:
        """What is derived from the key of the subject of this name; made when there is none."""
        return self._known.get(name) or self._learn(name)

    def shared(self, name: str) -> Subject:
        """The same for keys that several processes make and use at once: durable, and as it is now.

        Whoever is first makes the key; one that another process has destroyed is used no more.
        Blocks for as long as a commit takes when the key is new. Raises Problem PC6001.
        """
        try:
            with self._writing, self._mutex:
                self._look_again()
                known = self._known.get(name)
                if known is None:
                    handle = self.handle(name)
                    while (key := self._find(handle)) is None:
                        self._offer(handle, name)
                    known = _subject(handle, key)
                    self._remember(name, known)
        except sqlite3.Error:
            raise Problem("PC6001", "the subjects' keys cannot be read or written") from None
        return known

    def find(self, handle: bytes) -> Subject | None:
        """What is derived from a key that there is, or None when it was destroyed."""
        with self._mutex:
            key = self._find(handle)
        return None if key is None else _subject(handle, key)

    def has(self, handle: bytes) -> bool:
        """Whether there is a key, also one that does not open."""
        with self._mutex:
            return handle in self._pending or self._sealed(handle) is not None

    def tag(self, name: str) -> bytes:
        """What stands for ``name`` where no name may stand.

        That is a subject's handle or, for ``subject:NAME=VALUE``, one that leads to every subject
        which has this member.
        """
        member = name.removeprefix(_SUBJECT)
        whole = member == name or member.startswith("{")
        return self.handle(name if whole else _part(member))

    def reach(self, tag: bytes) -> frozenset[bytes]:
        """The handles that a tag leads to; there need not be a key under each."""
        with self._mutex:
            try:
                found = self._reader.execute(
                    "SELECT handle FROM member WHERE member = ?", (tag,)
                ).fetchall()
            except sqlite3.Error:
                raise _unreadable() from None
            waiting = {handle for handle, (_, parts) in self._pending.items() if tag in parts}
        return frozenset({tag, *waiting, *(handle for (handle,) in found)})

    def begin(self) -> Future[None] | None:
        """Begin a ``flush`` in another thread, or do it at once where no key is new. OSError."""
        if self._pending:
            return self._flusher.submit(self.flush)
        self.flush()
        return None

    def flush(self) -> None:
        """Make new keys durable, and drop those that another process destroyed. OSError."""
        with self._writing:
            with self._mutex:
                pending = dict(self._pending)
            try:
                if pending:
                    self._store(pending)
                with self._mutex:
                    for handle in pending:
                        del self._pending[handle]
                    self._look_again()
            except sqlite3.Error:
                raise OSError(errno.EIO, "the subjects' keys cannot be written") from None

    def erase(self, handles: Iterable[bytes]) -> int:
        """Destroy these keys, in the file and in memory, at once; how many there were.

        Blocks; raises Problem PC6001 when they may still be there: then do it again.
        """
        gone = 0
        try:
            with self._writing:
                with self._mutex, self._writer:
                    for handle in handles:
                        kept = self._writer.execute(
                            "DELETE FROM subject WHERE handle = ?", (handle,)
                        ).rowcount
                        self._writer.execute("DELETE FROM member WHERE handle = ?", (handle,))
                        gone += bool(kept or self._pending.pop(handle, None))
                    self._known.clear()
                _empty_wal(self._writer)
        except sqlite3.Error:
            raise Problem("PC6001", "the subjects' keys cannot be destroyed") from None
        return gone

    def reseal(self) -> None:
        """Bring all keys under the newest version of the key manager, in one transaction.

        Raises Problem PC7010, having changed nothing, for one that does not open.
        """
        with self._writing:
            with self._writer:
                for handle, sealed in self._writer.execute("SELECT * FROM subject").fetchall():
                    if not self._sealer.current(sealed):
                        purpose = self._purpose(handle)
                        fresh = self._sealer.seal(self._sealer.open(sealed, purpose), purpose)
                        self._writer.execute(
                            "UPDATE subject SET key = ? WHERE handle = ?", (fresh, handle)
                        )
            _empty_wal(self._writer)

    def close(self) -> None:
        """Close the file; keys that were not flushed are gone."""
        self._flusher.shutdown()
        with self._writing, self._mutex:
            self._reader.close()
            self._writer.close()
            self._known.clear()

    def _learn(self, subject: str) -> Subject:
        """What is derived from the subject's key, which is made when there is none."""
        handle = self.handle(subject)
        with self._mutex:
            key = self._find(handle)
            if key is None:
                key = secrets.token_bytes(_KEY_SIZE)
                self._pending[handle] = key, tuple(map(self.handle, _parts(subject)))
            known = _subject(handle, key)
            self._remember(subject, known)
        return known

    def _remember(self, subject: str, known: Subject) -> None:
        if len(self._known) >= _CACHED:
            del self._known[next(iter(self._known))]
        self._known[subject] = known

    def _find(self, handle: bytes) -> bytes | None:
        if handle in self._pending:
            return self._pending[handle][0]
        sealed = self._sealed(handle)
        return None if sealed is None else self._sealer.open(sealed, self._purpose(handle))

    def _sealed(self, handle: bytes) -> bytes | None:
        try:
            row = self._reader.execute(
                "SELECT key FROM subject WHERE handle = ?", (handle,)
            ).fetchone()
        except sqlite3.Error:
            raise _unreadable() from None
        return None if row is None else row[0]

    def _store(self, pending: dict[bytes, tuple[bytes, tuple[bytes, ...]]]) -> None:
        """In one transaction."""
        keys = [
            (handle, self._sealer.seal(key, self._purpose(handle)))
            for handle, (key, _) in pending.items()
        ]
        members = [(part, handle) for handle, (_, parts) in pending.items() for part in parts]
        with self._writer:
            self._writer.executemany("INSERT INTO subject VALUES (?, ?)", keys)
            self._writer.executemany("INSERT OR IGNORE INTO member VALUES (?, ?)", members)

    def _look_again(self) -> None:
        """Forget what is remembered when another process has changed the file."""
        changes = self._changes()
        if changes != self._seen:
            self._seen = changes
            self._known.clear()

    def _offer(self, handle: bytes, name: str) -> None:
        """Store a new key under a handle, unless another process was first."""
        sealed = self._sealer.seal(secrets.token_bytes(_KEY_SIZE), self._purpose(handle))
        members = [(self.handle(part), handle) for part in _parts(name)]
        with self._writer:
            self._writer.execute("INSERT OR IGNORE INTO subject VALUES (?, ?)", (handle, sealed))
            self._writer.executemany("INSERT OR IGNORE INTO member VALUES (?, ?)", members)

    def _changes(self) -> int:
        """A number that changes with every change by a connection other than our writer."""
        (version,) = self._writer.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _purpose(self, handle: bytes) -> str:
        return f"subjects:{self._path.parent.name}/{handle.hex()}"


def count(path: Path, sealer: Sealer) -> tuple[int, int]:
    """How many keys are in the file, if there is one, and how many under an older version."""
    if not path.exists():
        return 0, 0
    connection = _connect(path)
    try:
        rows = connection.execute("SELECT key FROM subject").fetchall()
    finally:
        connection.close()
    return len(rows), sum(not sealer.current(key) for (key,) in rows)


def create(path: Path) -> None:
    """Make the file with no key in it, if it is missing, durable but for its directory entry."""
    _connect(path).close()


def _connect(path: Path) -> sqlite3.Connection:
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        if path.stat().st_mode & 0o077:
            raise Problem("PC6002", f"{path.name} is readable by others (chmod 600)")
        connection = sqlite3.connect(path, check_same_thread=False, timeout=5)
    except (OSError, sqlite3.Error):
        raise Problem("PC6002", f"{path.name} cannot be opened") from None
    try:
        _prepare(connection)
    except sqlite3.Error:
        connection.close()
        raise Problem("PC6002", f"{path.name} is not a file of subjects' keys") from None
    except Problem:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = 1; COMMIT;")
    elif version != _VERSION:
        raise Problem("PC6002", "the subjects' keys are of another, newer version")


def _empty_wal(connection: sqlite3.Connection) -> None:
    """Empty the write-ahead log, which still holds pages as they were; sqlite3.Error if not."""
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        msg = "the write-ahead log is in use"
        raise sqlite3.OperationalError(msg)


def _subject(handle: bytes, key: bytes) -> Subject:
    keyed = hmac.new(_derived(key, _COMMITMENT), digestmod="sha256")
    return Subject(handle, keyed, _derived(key, _CONTENT))


def _derived(key: bytes, purpose: bytes) -> bytes:
    """HKDF-Expand (RFC 5869 section 2.3) to 32 bytes: the key is random."""
    return hmac.digest(key, purpose + b"\x01", "sha256")


def _parts(subject: str) -> list[str]:
    """The members by which a ``subject:`` object can be found, as ``_part`` has them."""
    if not subject.startswith(_SUBJECT):
        return []
    try:
        members = msgspec.json.decode(subject.removeprefix(_SUBJECT), type=dict[str, object])
    except msgspec.MsgspecError:
        return []
    return [_part(f"{name}={_text(value)}") for name, value in members.items()]


def _part(member: str) -> str:
    return f"member\0{member}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _unreadable() -> Problem:
    return Problem("PC6001", "the subjects' keys cannot be read")

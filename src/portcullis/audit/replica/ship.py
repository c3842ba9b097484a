"""Shipping a log to a store: what was published since, after what is there was looked at.

The store's own checkpoint is the cursor: it is put last, so everything under it is there. The
note that was shipped last is also kept here, so that a store which was put back is noticed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.files import read, replace, sync_directory
from portcullis.audit.merkle import EMPTY_ROOT
from portcullis.audit.note import MAX_NOTE, Verifier
from portcullis.audit.proven import Proven
from portcullis.audit.publish import CHECKPOINT
from portcullis.audit.replica.copy import Copy, Lock
from portcullis.audit.replica.patrol import Patrol
from portcullis.audit.replica.source import tree_at
from portcullis.audit.replica.worker import Alarm, Notice
from portcullis.audit.tiles import TileReader
from portcullis.audit.timestamps import FOLDER, MAX_FILE, is_timestamp
from portcullis.audit.verify import read_checkpoint
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.record_ports import ObjectStore

REPLICAS: Final = "replicas"
"""Below the log's directory: per replica, the checkpoint that it was last brought to."""
_ALARMING: Final = frozenset({"PC6005", "PC6020"})


class Shipper:
    """Keeps one replica. ``step`` is for one thread; the figures are for any.

    ``notice`` records ``audit.replica.lag`` when the replica has been behind for more than
    ``lag_seconds`` and when it is level again, ``audit.replica.differs`` when it is not what it
    should be, and ``audit.replica.missing`` when something that was shipped is gone from it; that
    is looked for at ``checks_per_minute`` objects.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        verifier: Verifier,
        store: ObjectStore,
        *,
        clock: Clock,
        notice: Notice,
        lag_seconds: float,
        lock: Lock = lambda: None,
        checks_per_minute: float = 0,
    ) -> None:
        self.name = name
        self._directory = directory
        self._verifier = verifier
        self._store = store
        self._clock = clock
        self._most = lag_seconds
        self._copy = Copy(store, lock=lock, progress=self.watch)
        self._cursor = directory / REPLICAS / name
        self._note = b"-"
        self._stamps: set[str] | None = None
        self._level_at = clock.monotonic()
        self._lag = Alarm(notice, "audit.replica.lag", {"replica": name})
        self._differs = Alarm(notice, "audit.replica.differs", {"replica": name})
        self.patrol: Final = Patrol(
            store,
            self._copy,
            Alarm(notice, "audit.replica.missing", {"replica": name}),
            per_minute=checks_per_minute,
            clock=clock,
        )
        self.shipped = 0
        self.failures = 0

    @property
    def differs(self) -> bool:
        """Whether the replica, or the log, is not what it should be."""
        return self._differs.on

    def lag_entries(self) -> int:
        """How many published entries are not known to be there."""
        return max(0, self._published()[0] - self.shipped)

    def lag_seconds(self) -> float:
        """For how long something that was published has not been there."""
        level = self._published()[1] == self._note
        return 0.0 if level else self._clock.monotonic() - self._level_at

    def step(self) -> None:
        """Bring the replica up to the log's checkpoint.

        Raises Problem PC6021 when the store cannot be used, PC6020 when it holds another history
        or a later one, PC6005 when the log itself does not verify, PC7005 when it cannot be read.
        """
        try:
            started = self._clock.monotonic()
            signed, note = read_checkpoint(self._directory, self._verifier)
            if note != self._note:
                self._ship(signed, note)
            self._ship_timestamps()
            self._level_at = started
            self._look_again(signed)
            if wrong := self.patrol.wrong:
                self._differs.begin(code="PC6020", reason=wrong[0])
            else:
                self._differs.end()
        except OSError as error:
            raise Problem("PC7005", f"the log: {error.strerror}") from None
        finally:
            self.watch()

    def failed(self, problem: Problem) -> None:
        """Take note of a step that failed."""
        self.failures += 1
        if problem.code in _ALARMING:
            with contextlib.suppress(Problem):  # said with the next failure, then
                self._differs.begin(code=problem.code, reason=problem.detail)

    def watch(self) -> None:
        """Raise or clear the alarm of the lag."""
        seconds = self.lag_seconds()
        with contextlib.suppress(Problem):  # the log takes nothing; the next call says it
            if seconds > self._most:
                entries = str(self.lag_entries())
                self._lag.begin(entries=entries, seconds=f"{seconds:.0f}")
            elif not seconds:
                self._lag.end()

    def _published(self) -> tuple[int, bytes]:
        """Size and note of the log's checkpoint; as long as it cannot be read, an empty note."""
        try:
            signed, note = read_checkpoint(self._directory, self._verifier)
        except Problem:
            return self.shipped, b""
        return signed.size, note

    def _ship(self, signed: Checkpoint, note: bytes) -> None:
        there = self._there()
        reader = TileReader(self._directory, signed.size)
        if there.size > signed.size:
            raise Problem("PC6020", f"the replica has {there.size} entries, the log {signed.size}")
        tree = tree_at(reader, there.size)
        if tree.root() != there.root:
            raise Problem("PC6020", f"the first {there.size} entries are not those of the log")
        last = self._last()
        if last is not None and last.size > there.size:
            reason = f"the replica had {last.size} entries and has {there.size}"
            self._differs.begin(code="PC6020", reason=reason)
        self._copy.extend(tree, reader, signed)
        self._copy.publish(note, there.size, signed.size)
        self._cursor.parent.mkdir(mode=0o700, exist_ok=True)
        replace(self._cursor, note)
        sync_directory(self._cursor.parent)
        self._note, self.shipped = note, signed.size

    def _look_again(self, signed: Checkpoint) -> None:
        """See whether what was shipped before is still there."""
        count = self.patrol.due()
        if not count:
            return
        if self._store.get(CHECKPOINT, MAX_NOTE) != self._note:
            self._note = b"-"  # the next step says what is wrong with it, and ships from there
        self.patrol.look(count, Proven(TileReader(self._directory, signed.size), signed.root))

    def _there(self) -> Checkpoint:
        """What the replica is at now."""
        note = self._store.get(CHECKPOINT, MAX_NOTE)
        if note is None:
            return Checkpoint(self._verifier.name, 0, EMPTY_ROOT)
        try:
            return open_checkpoint(note, self._verifier)
        except Problem as problem:
            raise Problem("PC6020", f"the replica's checkpoint: {problem.detail}") from None

    def _last(self) -> Checkpoint | None:
        """What the replica was last brought to."""
        with contextlib.suppress(FileNotFoundError):
            return open_checkpoint(read(self._cursor, MAX_NOTE), self._verifier)
        return None

    def _ship_timestamps(self) -> None:
        folder = self._directory / FOLDER
        if not folder.is_dir():
            return
        if self._stamps is None:
            self._stamps = {path.rpartition("/")[2] for path in self._store.list(FOLDER)}
        here = {path.name for path in folder.iterdir() if is_timestamp(f"{FOLDER}/{path.name}")}
        for name in sorted(here - self._stamps):
            self._copy.keep(f"{FOLDER}/{name}", read(folder / name, MAX_FILE))
            self._stamps.add(name)

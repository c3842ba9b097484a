"""The audit log of a running gate: events in, durability and signed checkpoints out.

The event loop encodes events and queues them. A thread of the log's own writes whatever has
queued during its last fdatasync as one frame, wakes the loop once for all who wait, and only
then hashes. An awaited event is never held back by a timer, only by ``spacing``, the least time
between two commits; events that nobody awaits ride along with the next awaited one, or go after
``LINGER``. Under load both save thread switches, which cost more than the writing.
"""

from __future__ import annotations

import asyncio
import os
import queue as queues
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import Enum
from pathlib import Path
from threading import Lock, Thread
from typing import Final, Self, TypeAlias

from msgspec import structs

from portcullis.audit.feeder import Feeder
from portcullis.audit.files import replace, sync_directory
from portcullis.audit.journal import SEGMENT, Journal, lock
from portcullis.audit.keys import SIGNER_FILE, load_keys
from portcullis.audit.publish import VKEY, Publisher
from portcullis.audit.recovery import is_new, restore, seal, sealed
from portcullis.audit.sequence import Sequences
from portcullis.audit.shrink import fit
from portcullis.audit.subjects import SubjectKeys
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.core.ports import Sealer

QUEUE_BYTES: Final = 64 * 2**20
"""The most that may wait for the disk, beside the bound on the number of events."""

SPACING: Final = 0.002
"""Seconds from the start of one commit to that of the next, at least."""

LINGER: Final = 0.005
"""Seconds that events which nobody awaits may wait for one that somebody does."""

HURRY: Final = 0.02
"""Seconds from one head to the next, at least, when somebody waits for witnesses."""

_Waiter: TypeAlias = "asyncio.Future[None] | Future[None]"


Watcher: TypeAlias = Callable[[Sequence[bytes]], None]
"""Takes entries that are durable, on the log's thread: it returns at once and never raises."""


class _Wait(Enum):
    """What the thread is to be woken for."""

    NONE = "it is awake"
    ANY = "any event"
    AWAITED = "an event that somebody awaits"


class AuditLog:
    """The ``Recorder`` port. One per log directory; made by ``open_log``.

    ``durable`` may be awaited from any event loop; ``enqueue`` and ``append_now`` may be called
    from any thread, ``append_now`` not from an event loop's if that must not block. Once
    writing has failed every call raises Problem PC6001 until the log is opened anew.
    """

    def __init__(
        self,
        directory: Path,
        held: int,
        journal: Journal,
        publisher: Publisher,
        subjects: SubjectKeys,
        *,
        queue: int,
        checkpoint_seconds: float,
        spacing: float,
        witnesses: Feeder | None = None,
    ) -> None:
        self.witnesses = witnesses
        self._directory = directory
        self._held = held
        self._journal = journal
        self._publisher = publisher
        self._bound = queue
        self._period = checkpoint_seconds
        self._spacing = spacing
        self._sealed = sealed(directory)
        self._sealer: Thread | None = None
        self._mutex = Lock()
        self._wake: queues.SimpleQueue[None] = queues.SimpleQueue()
        self._wait = _Wait.NONE
        self._entries: list[bytes] = []
        self._bytes = 0
        self._waiters: list[_Waiter] = []
        self._refusal = ""
        self._failure = ""
        self._closing = False
        self._hurry = False
        self._sequences = Sequences()
        self._exchanges: list[tuple[int, Path, int, Future[None]]] = []
        self._watcher: Watcher | None = None
        self.subjects = subjects
        self.commitment = subjects.commitment
        self._thread = Thread(target=self._run, name="audit-log", daemon=True)
        self._thread.start()

    @property
    def size(self) -> int:
        """How many entries are durable."""
        return self._journal.size

    @property
    def queued(self) -> int:
        """How many events wait for the disk."""
        return len(self._entries)

    @property
    def failure(self) -> str:
        """Why nothing can be recorded any more, or an empty string."""
        return self._failure

    async def durable(self, event: Event) -> None:
        """Return when the event would survive a power cut, or raise Problem PC6001."""
        waiter = asyncio.get_running_loop().create_future()
        self._push(event, waiter)
        await waiter

    def enqueue(self, event: Event) -> None:
        """Queue the event for the next commit, or raise Problem PC6001."""
        self._push(event, None)

    def append_now(self, event: Event) -> None:
        """Block until the event would survive a power cut, or raise Problem PC6001."""
        waiter: Future[None] = Future()
        self._push(event, waiter)
        waiter.result()

    def exchange(self, segment: int, fresh: Path, offset: int) -> None:
        """As ``Journal.exchange``, between two commits. Blocks; Problem PC6001."""
        done: Future[None] = Future()
        with self._mutex:
            if self._refusal:
                raise Problem("PC6001", self._refusal)
            self._exchanges.append((segment, fresh, offset, done))
        self._wake.put(None)
        done.result()

    async def witnessed(self) -> None:
        """Return when a published checkpoint covers what is durable now, or raise Problem PC6007.

        That is raised at once by a log without witnesses: nobody will vouch for it.
        """
        if self.witnesses is None:
            raise Problem("PC6007", "this log has no witnesses")
        size = self.size
        if self.witnesses.published < size:
            with self._mutex:
                self._hurry = True
            self._wake.put(None)
        await self.witnesses.covered(size)

    def watch(self, watcher: Watcher | None) -> None:
        """Hand every commit to ``watcher`` from now on, in the order of the log; None: no more."""
        self._watcher = watcher

    def close(self) -> None:
        """Write what is queued, sign the last head, have it witnessed, release the log. Blocks.

        Raises Problem PC6001 when the log has failed: then something may be missing from it.
        """
        with self._mutex:
            self._closing = True
            self._refusal = self._refusal or "the audit log is closed"
        self._wake.put(None)
        self._thread.join()
        if self.witnesses:
            self.witnesses.close()
        if self._failure:
            raise Problem("PC6001", self._failure)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _push(self, event: Event, waiter: _Waiter | None) -> None:
        with self._mutex:
            if self._refusal:
                raise Problem("PC6001", self._refusal)
            number = self._sequences.following(event.session)
            numbered = structs.replace(event, sequence=number) if number else event
            entry = fit(numbered, self.commitment)
            if len(self._entries) >= self._bound or self._bytes + len(entry) > QUEUE_BYTES:
                raise Problem("PC6001", "the audit queue is full")
            self._sequences.taken(event.session, number)
            self._entries.append(entry)
            self._bytes += len(entry)
            if waiter is not None:
                self._waiters.append(waiter)
            wake = self._wait is _Wait.ANY or (self._wait is _Wait.AWAITED and self._urgent())
            if wake:
                self._wait = _Wait.NONE
        if wake:
            self._wake.put(None)

    def _urgent(self) -> bool:
        """Whether the thread should commit now: somebody waits, or the queue fills up."""
        waiting = self._waiters or self._exchanges or self._closing
        return bool(waiting) or 2 * len(self._entries) >= self._bound

    def _run(self) -> None:
        waiters: list[_Waiter] = []
        try:
            due, closing = 0.0, False
            while not closing:
                entries, waiters, closing = self._take(due)
                started = time.monotonic()
                self._exchange()
                if entries:
                    keys = self.subjects.begin()
                    self._journal.append(entries)
                    if keys:  # what is committed to under a new key waits for the key
                        keys.result()
                    _answer(waiters, "")
                    if self._watcher is not None:
                        self._watcher(entries)
                    self._publisher.add(entries)
                new = self._publisher.size != self._publisher.published
                if new and (closing or time.monotonic() >= self._due(due)):
                    self._hurry = False
                    self._publisher.publish()
                    self._seal()
                    due = started + self._period
                if entries and not closing:
                    time.sleep(max(0.0, started + self._spacing - time.monotonic()))
        except OSError as error:
            self._fail(error.strerror or "write error", waiters)
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing may hang or go on
            self._fail(type(error).__name__, waiters)
        finally:
            self._journal.close()
            os.close(self._held)
            self.subjects.close()
            if self._sealer:
                self._sealer.join()

    def _take(self, due: float) -> tuple[list[bytes], list[_Waiter], bool]:
        """Wait for events, for the time of the next checkpoint, or for the end.

        The last take is the one after ``close`` has refused further events, so that nothing
        queued is left behind.
        """
        timed_out = False
        while True:
            with self._mutex:
                if timed_out or self._urgent():
                    self._wait = _Wait.NONE
                    taken = self._entries, self._waiters, self._closing
                    self._entries, self._waiters, self._bytes = [], [], 0
                    return taken
                self._wait = _Wait.AWAITED if self._entries else _Wait.ANY
            timeout = None
            if self._wait is _Wait.AWAITED:
                timeout = LINGER
            elif self._publisher.size != self._publisher.published:
                timeout = max(0.0, self._due(due) - time.monotonic())
            try:
                self._wake.get(timeout=timeout)
            except queues.Empty:
                timed_out = True

    def _exchange(self) -> None:
        """Bring in rewritten segments. OSError: then the journal is of no further use."""
        while self._exchanges:
            segment, fresh, offset, done = self._exchanges[0]
            failure = ""
            try:
                self._journal.exchange(segment, fresh, offset)
            except OSError as error:
                if not fresh.exists():
                    raise
                failure = f"a segment cannot be rewritten: {error.strerror}"
            with self._mutex:
                self._exchanges.pop(0)
            _settle([done], failure)

    def _due(self, due: float) -> float:
        """When the next head is signed: somebody who waits for witnesses makes it sooner."""
        return due - self._period + HURRY if self._hurry else due

    def _fail(self, reason: str, waiters: list[_Waiter]) -> None:
        self._failure = f"the audit log cannot be written: {reason}"
        with self._mutex:
            self._refusal = self._failure
            waiters = waiters + self._waiters + [done for *_, done in self._exchanges]
            self._exchanges = []
            self._entries, self._waiters, self._bytes = [], [], 0
        _answer(waiters, self._failure)

    def _seal(self) -> None:
        base = self._publisher.published // SEGMENT * SEGMENT
        if base > self._sealed and not (self._sealer and self._sealer.is_alive()):
            self._sealed = base
            self._sealer = Thread(target=seal, args=(self._directory, base), daemon=True)
            self._sealer.start()


def _answer(waiters: list[_Waiter], failure: str) -> None:
    """Tell all who wait, with one wake-up per event loop."""
    loops: dict[asyncio.AbstractEventLoop | None, list[_Waiter]] = {}
    for waiter in waiters:
        loop = None if isinstance(waiter, Future) else waiter.get_loop()
        loops.setdefault(loop, []).append(waiter)
    for loop, group in loops.items():
        if loop is None:
            _settle(group, failure)
            continue
        try:
            loop.call_soon_threadsafe(_settle, group, failure)
        except RuntimeError:
            continue  # the loop is closed, and with it whoever waited


def _settle(waiters: list[_Waiter], failure: str) -> None:
    for waiter in waiters:
        if waiter.done():
            continue  # cancelled: its client is gone
        if failure:
            waiter.set_exception(Problem("PC6001", failure))
        else:
            waiter.set_result(None)


def open_log(
    directory: Path,
    keys: Path,
    origin: str,
    *,
    sealer: Sealer,
    queue: int = 8192,
    checkpoint_seconds: float = 0.5,
    spacing: float = SPACING,
    witnesses: Feeder | None = None,
    sync: Callable[[int], None] = os.fdatasync,
) -> AuditLog:
    """Open the log in ``directory`` for writing, making it (and its keys) when there is none.

    ``origin`` is the log's name in checkpoints, such as ``example.com/gate``. ``sealer`` keeps
    its keys. ``queue`` bounds the events that wait for the disk. ``witnesses`` is a feeder of this
    log that was not started. Raises Problem PC6001 (the disk refuses), PC6002 (damaged, or its
    keys are gone), PC6003 (another writer), PC6006 (its key is not that of the witness policy),
    PC6032 (put back), PC7001 (impossible origin), PC7010 (its keys do not open).
    """
    folder = directory / "journal"
    if not folder.exists() and (keys / SIGNER_FILE).exists():
        raise Problem("PC6002", "there is a key but no log: it was moved or deleted")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        held = lock(folder)
    except OSError as error:
        raise Problem("PC6001", f"the audit log cannot be opened: {error.strerror}") from None
    try:
        sync_directory(directory)
        sync_directory(directory.parent)
        loaded = load_keys(keys, origin, create=is_new(directory), sealer=sealer)
        if witnesses:
            witnesses.admits(loaded.signer.verifier)
        offer = witnesses.offer if witnesses else None
        tail, publisher = restore(directory, loaded.signer, offer)
        replace(directory / VKEY, f"{loaded.signer.verifier}\n".encode())
        if witnesses:
            witnesses.start()
        journal = Journal(folder, tail, sync=sync)
    except BaseException as error:
        if witnesses:
            witnesses.close()
        os.close(held)
        if isinstance(error, OSError):
            said = f"the audit log cannot be opened: {error.strerror}"
            raise Problem("PC6001", said) from None
        raise
    return AuditLog(
        directory,
        held,
        journal,
        publisher,
        loaded.subjects,
        queue=queue,
        checkpoint_seconds=checkpoint_seconds,
        spacing=spacing,
        witnesses=witnesses,
    )

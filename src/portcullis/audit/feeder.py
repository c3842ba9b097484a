"""Publication: a checkpoint is shown to readers when a quorum of witnesses has cosigned it.

The log's thread signs heads and offers them here; it never waits for anybody. A thread of the
feeder's own asks all witnesses for the newest head at once. With the first quorum it replaces
``checkpoint``; cosignatures that come later are added while it is the one shown. A head that
nobody has to cosign anew is cosigned again every ``refresh`` seconds all the same, so that its age
says how long ago the witnesses last saw the log.
"""

from __future__ import annotations

import asyncio
import math
import queue as queues
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Lock, Thread
from typing import Final

import msgspec
import structlog

from portcullis.audit.ask import Answer, Head, Peer
from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.files import read, replace
from portcullis.audit.note import MAX_NOTE, Note, Signature, Verifier, parse_note
from portcullis.audit.publish import CHECKPOINT
from portcullis.audit.quorum import Quorum
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock

REFRESH: Final = 60.0
_LAST_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


class WitnessState(msgspec.Struct, frozen=True):
    """One witness as the log sees it: ``reason`` is empty while it cosigns.

    ``time`` is that of its last cosignature in seconds since the epoch, None for never.
    """

    name: str
    reason: str
    time: int | None


class _Round(msgspec.Struct):
    """One head before the witnesses."""

    head: Head
    waiting: set[str]
    until: float
    found: dict[str, tuple[Signature, int]] = {}
    met: bool = False


class Feeder:
    """Feeds one log's heads to the witnesses of a policy. ``start`` it after the first offer.

    ``seconds`` bounds one witness' answer, and how long ``covered`` waits. ``check`` raises
    Problem PC6006 beforehand when a witness of the policy has no URL.
    """

    def __init__(
        self,
        directory: Path,
        quorum: Quorum,
        *,
        clock: Clock,
        seconds: float,
        refresh: float = REFRESH,
    ) -> None:
        for witness in quorum.witnesses.values():
            if not witness.url:
                raise Problem("PC6006", f"the witness {witness.name} has no URL to ask it at")
        self._directory = directory
        self._quorum = quorum
        self._clock = clock
        self._seconds = seconds
        self._refresh = refresh
        self._inbox: queues.SimpleQueue[Answer | None] = queues.SimpleQueue()
        self._head: Head | None = None
        self._peers: dict[str, Peer] = {}
        self._round: _Round | None = None
        self._covered = -1
        self._time: int | None = None
        self._asked = -math.inf
        self._retry = -math.inf
        self._resumed: dict[str, int] = {}
        self._met = -math.inf
        self._lost = False
        self._changed: Callable[[bool, str], None] | None = None
        self._mutex = Lock()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._closing = False
        self._tried: Future[str] = Future()
        self._thread = Thread(target=self._run, name="audit-witnesses", daemon=True)

    @property
    def published(self) -> int:
        """How many entries the checkpoint covers that readers see; -1 for none."""
        return self._covered

    @property
    def lost(self) -> bool:
        """Whether the last heads found no quorum."""
        return self._lost

    def age(self) -> float:
        """Seconds since a quorum last vouched for the log; infinite if it never did."""
        return math.inf if self._time is None else max(0.0, self._clock.now() - self._time)

    def states(self) -> tuple[WitnessState, ...]:
        """Each witness of the policy."""
        return tuple(
            WitnessState(name, peer.reason, peer.time) for name, peer in self._peers.items()
        )

    def admits(self, verifier: Verifier) -> None:
        """Raise Problem PC6006 for a log that is not one of the policy's or witnesses itself."""
        if not self._quorum.admits(verifier):
            raise Problem("PC6006", f"no log line has the key of {verifier.name}: {verifier}")
        if verifier.public in {one.cosigner.public for one in self._quorum.witnesses.values()}:
            raise Problem("PC6006", f"a witness has the key of {verifier.name} itself")

    def offer(self, checkpoint: Checkpoint, note: bytes) -> None:
        """There is a new head. From the log's thread; returns at once."""
        self._head = Head(checkpoint, note)
        self._inbox.put(None)

    def start(self) -> None:
        """Ask the witnesses for the first time, at most ``seconds`` long.

        Raises Problem PC6032 when one of them has seen what this log does not hold: the log and
        all that lies beside it were put back to an older state. Witnesses that cannot be reached
        do not keep the log from working: nothing is published, and ``lost`` says so.
        """
        self._resume()
        self._peers = {
            name: Peer(
                witness,
                self._directory,
                clock=self._clock,
                seconds=self._seconds,
                answered=self._inbox.put,
            )
            for name, witness in self._quorum.witnesses.items()
        }
        for name, when in self._resumed.items():
            self._peers[name].knows(self._covered, when)
        self._thread.start()
        try:
            conflict = self._tried.result(self._seconds + 1)
        except TimeoutError:
            conflict = ""
        if conflict:
            self.close()
            hint = (
                "The log was put back to an older state, or rewritten. Restore the newest one; if"
                " that is gone, `portcullis backup fence` begins a new log beside this one. If it"
                " is the witness that is wrong, take it out of the policy."
            )
            raise Problem("PC6032", f"witness {conflict}", hint=hint)

    def watch(self, changed: Callable[[bool, str], None]) -> None:
        """Have ``changed`` called, from any thread, when the quorum is lost (True) or back.

        The text names the witnesses that do not cosign. Called at once if it is lost now.
        """
        self._changed = changed
        if self._lost:
            changed(True, self._absent())  # noqa: FBT003 - see above

    async def covered(self, size: int) -> None:
        """Return when the published checkpoint covers ``size`` entries, or raise Problem PC6007."""
        future = asyncio.get_running_loop().create_future()
        with self._mutex:
            if self._covered >= size:
                return
            self._waiters.append((size, future))
        try:
            async with asyncio.timeout(self._seconds):
                await future
        except TimeoutError:
            absent = self._absent() or "their answers take too long"
            raise Problem("PC6007", f"no quorum within {self._seconds:g} s: {absent}") from None
        finally:
            with self._mutex:
                self._waiters = [one for one in self._waiters if one[1] is not future]

    def close(self) -> None:
        """Publish the last head if a quorum answers within ``seconds``, two at most, and end.

        What is not published then is with the next start.
        """
        self._closing = True
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join()
        for peer in self._peers.values():
            peer.close()

    def _resume(self) -> None:
        """Take up what is published already."""
        try:
            note = read(self._directory / CHECKPOINT, MAX_NOTE)
            cosigned = self._quorum.met(note, self._clock.now())
            size = int(parse_note(note).text.split("\n")[1])
        except (OSError, Problem, ValueError, IndexError):
            return
        if cosigned.met:
            self._covered, self._time, self._resumed = size, cosigned.time, dict(cosigned.times)

    def _run(self) -> None:
        until = math.inf
        while True:
            if self._closing and until == math.inf:
                most = 0.0 if self._lost else min(self._seconds, _LAST_SECONDS)
                until = time.monotonic() + most
            self._begin()
            if self._closing and (not self._open() or time.monotonic() >= until):
                return
            try:
                answer = self._inbox.get(timeout=self._pause(until))
            except queues.Empty:
                answer = None
            if answer is not None:
                self._take(answer)
            for peer in self._peers.values():
                if time.monotonic() >= peer.until:
                    peer.cut()
            self._judge()

    def _open(self) -> bool:
        """Whether there is a head that is not published."""
        return self._head is not None and self._covered < self._head.checkpoint.size

    def _pause(self, until: float) -> float:
        """Seconds until something is due without any message."""
        now = time.monotonic()
        active = self._active()
        if active is not None:
            due = active.until
        elif self._wanted(now):
            ready = min((peer.due for peer in self._peers.values() if not peer.busy), default=0.0)
            due = max(self._retry, ready, now + 0.01)
        else:
            due = self._asked + self._refresh
        late = min((peer.until for peer in self._peers.values()), default=math.inf)
        return max(0.0, min(due, until, late) - now)

    def _wanted(self, now: float) -> bool:
        """Whether there is something to ask the witnesses for."""
        return self._open() or now >= self._asked + self._refresh

    def _active(self) -> _Round | None:
        """The round whose answers decide whether there is a quorum."""
        found = self._round
        return found if found is not None and found.waiting and not found.met else None

    def _begin(self) -> None:
        """Ask for the newest head, when there is none before the witnesses and it is time."""
        now = time.monotonic()
        head = self._head
        if head is None or self._active() is not None or now < self._retry:
            return
        ready = [name for name, peer in self._peers.items() if not peer.busy and peer.due <= now]
        if not self._wanted(now) or (self._peers and not ready):
            return
        self._asked = now
        self._round = _Round(head, set(ready), now + self._seconds + 0.5)
        for name in ready:
            self._peers[name].ask(head)
        if not self._quorum.quorum:
            self._publish(self._round, int(self._clock.now()))

    def _take(self, answer: Answer) -> None:
        peer = self._peers[answer.witness]
        if answer.reason not in {"", peer.reason}:
            log.warning("witness_failed", witness=answer.witness, reason=answer.reason)
        peer.take(answer)
        if answer.conflict and not self._tried.done():
            self._tried.set_result(f"{answer.witness}: {answer.reason}")
        found = self._round
        if found is None or answer.head is not found.head:
            return
        found.waiting.discard(answer.witness)
        if answer.cosignature is not None:
            found.found[answer.witness] = answer.cosignature, answer.time
            cosigned = self._quorum.count({name: at for name, (_, at) in found.found.items()})
            if cosigned.met:
                self._publish(found, cosigned.time)

    def _judge(self) -> None:
        """See whether the round is over, and with what."""
        found = self._round
        if found is None:
            return
        now = time.monotonic()
        if now >= found.until:
            found.waiting.clear()
        if not found.waiting and not self._tried.done():
            self._tried.set_result("")
        if found.met:
            self._tell(lost=False)
        elif not found.waiting:
            self._round = None
            failing = [peer.due for peer in self._peers.values() if peer.reason and not peer.busy]
            self._retry = min(failing, default=now + 1.0)
            self._tell(lost=True)

    def _publish(self, found: _Round, when: int | None) -> None:
        note = parse_note(found.head.note)
        lines = [found.found[name][0] for name in self._peers if name in found.found]
        whole = Note(note.text, (*note.signatures, *lines))
        try:
            replace(self._directory / CHECKPOINT, bytes(whole))
        except OSError as error:
            log.critical("checkpoint_not_written", reason=error.strerror)
            return
        found.met = True
        self._time = when
        with self._mutex:
            self._covered = found.head.checkpoint.size
            done = [future for size, future in self._waiters if size <= self._covered]
        for future in done:
            try:
                future.get_loop().call_soon_threadsafe(_settle, future)
            except RuntimeError:
                continue  # its loop is closed, and with it whoever waited

    def _tell(self, *, lost: bool) -> None:
        now = time.monotonic()
        if not lost:
            self._met = now
        elif now < self._met + self._seconds:
            return  # one round without quorum is not yet an outage
        if lost == self._lost:
            return
        self._lost = lost
        said = log.error if lost else log.info
        said("witness_quorum_lost" if lost else "witness_quorum_back", absent=self._absent())
        if self._changed is not None and not self._closing:
            self._changed(lost, self._absent())

    def _absent(self) -> str:
        return "; ".join(
            f"{name}: {peer.reason}" for name, peer in self._peers.items() if peer.reason
        )


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

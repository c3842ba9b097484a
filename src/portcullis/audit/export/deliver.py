"""The delivery loop of one exporter: at least once, in order, nothing lost silently.

Entries are read as they are published, encoded, and sent in batches bounded in count and bytes.
The cursor moves after the peer has acknowledged. A peer that cannot take anything now is asked
again later, without end; a batch that it refuses is halved until the refused event is alone,
which is written to the dead letters before the cursor passes it. What is owed to the dead letters
is written there before anything else is sent: it is not sent again because they are full.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import structlog

from portcullis.audit.export.cursor import Cursor, DeadLetters
from portcullis.audit.export.formats import Format
from portcullis.audit.export.source import Position, Source, event_of
from portcullis.audit.export.target import Batch, Refused, Rejected, Target, Unavailable
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock

BATCH_EVENTS: Final = 256
BATCH_BYTES: Final = 512 * 1024
POLL_SECONDS: Final = 0.25
BACKOFF_SECONDS: Final = (0.5, 60.0)
"""The first wait, and the longest."""
SLICE: Final = 8
"""So many events are encoded without letting the gate's own thread run."""
_PAUSE: Final = 0.0005
_MOST_ATTEMPTS: Final = 30
_REFUSED_SECONDS: Final = 0.02
"""After a refusal, so that a peer that refuses everything takes no time from the gate."""
_MOST_UNTOLD: Final = 16

log = structlog.get_logger(__name__)


class _Item(msgspec.Struct, frozen=True):
    index: int
    entry: bytes
    sent: bytes


class _Letter(msgspec.Struct, frozen=True):
    index: int
    entry: bytes
    reason: str


class State(msgspec.Struct):
    """How an exporter is doing, for whoever shows it; only the exporter writes it.

    ``oldest`` is the time of the first event that is not delivered (seconds since the epoch, 0
    when there is none); ``problem`` says what is in the way. ``damaged`` is set while the log's
    files are not what was signed.
    """

    lag_entries: int = 0
    oldest: float = 0.0
    delivered: int = 0
    dead: int = 0
    failures: int = 0
    problem: str = ""
    behind: bool = False
    damaged: bool = False

    def lag_seconds(self, now: float) -> float:
        """For how long the first undelivered event has been waiting."""
        return max(0.0, now - self.oldest) if self.oldest else 0.0


class Exporter:
    """Delivers one log to one target.

    ``types`` are the event types that are sent, all when it is empty. ``notice`` is told, with a
    method and clear parameters, that the exporter fell behind by more than ``behind_seconds``,
    has recovered, stands still because the log's files are not what was signed, goes on, or begins
    again because the log is another. ``attempts`` bounds how often a batch is tried; None tries
    without end.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        target: Target,
        form: Format,
        *,
        cursor: Cursor,
        dead: DeadLetters,
        clock: Clock,
        notice: Callable[[str, dict[str, str]], None],
        types: frozenset[str] = frozenset(),
        behind_seconds: float = 300.0,
        attempts: int | None = None,
        backoff: tuple[float, float] = BACKOFF_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.state = State()
        self._source = source
        self._target = target
        self._form = form
        self._cursor = cursor
        self._dead = dead
        self._clock = clock
        self._notice = notice
        self._types = types
        self._behind_seconds = behind_seconds
        self._attempts = attempts
        self._backoff = backoff
        self._sleep = sleep
        self._position = Position()
        self._kept = True
        self._owed: deque[_Letter] = deque()
        self._untold: deque[tuple[str, dict[str, str]]] = deque(maxlen=_MOST_UNTOLD)

    async def run(self) -> None:
        """Deliver for ever, whatever happens to the peer, the disk or the log."""
        attempt = 0
        opened = False
        while True:
            try:
                if not opened:
                    self._open()
                    opened = True
                moved = await self._step()
                self._sound()
                attempt = 0
            except Exception as error:  # noqa: BLE001 - nothing ends it but the gate's end
                self._failing(_said(error))
                self._source.forget()
                if isinstance(error, Problem) and error.code == "PC6005":
                    self._damaged(error.detail)
                if not opened:
                    self._look_from_outside()
                attempt = min(attempt + 1, _MOST_ATTEMPTS)
                await self._wait(attempt, 0.0)
                continue
            if not moved:
                await self._sleep(POLL_SECONDS)

    async def drain(self, start: int | None = None) -> int:
        """Deliver what is published now; how many events were delivered.

        With ``start``, again from that entry on, and the cursor stays where it is. Raises Problem
        PC6031 when the peer did not take it in the attempts there are.
        """
        if start is None:
            self._open()
        else:
            self._kept = False
            self._source.refresh()
            self._position = self._source.position(min(start, self._source.size))
        end = self._source.size
        before = self.state.delivered
        while self._position.next < end:
            await self._step()
        return self.state.delivered - before

    async def close(self) -> None:
        """Release the target and the cursor."""
        self._cursor.close()
        await self._target.close()

    def _open(self) -> None:
        self._source.refresh()
        position = self._cursor.load()
        if not self._source.holds(position):
            self._tell("audit.export.restart", {"exporter": self.name})
            position = Position()
        self._position = position

    def _look_from_outside(self) -> None:
        """How far behind it is while the cursor is not ours, or cannot be read."""
        with contextlib.suppress(Problem, OSError):
            self._source.refresh()
            self._position = Position()
            with contextlib.suppress(Problem):
                self._position = self._cursor.seen()
                if not self._source.holds(self._position):
                    self._position = Position()
            self._look()

    async def _step(self) -> bool:
        """Deliver the next entries; False when there are none."""
        self._look()
        self._settle()
        taken = self._source.read(self._position.next, BATCH_EVENTS)
        if not taken:
            return False
        items: list[_Item] = []
        for number, (index, entry) in enumerate(taken, 1):
            item = self._item(index, entry)
            if isinstance(item, _Letter):
                await self._deliver(items)  # what lies before it is not held up by it
                self._advance(index)
                items = []
                self._bury([item])
            elif item is not None:
                items.append(item)
            if number % SLICE == 0:
                await asyncio.sleep(_PAUSE)
        await self._deliver(items)
        self._advance(taken[-1][0] + 1)
        self._look()
        return True

    def _item(self, index: int, entry: bytes) -> _Item | _Letter | None:
        """What is to be sent of an entry, None for no wanted type; a letter when that cannot be."""
        if not entry:
            return None  # it was pruned
        try:
            event = event_of(entry)
            if self._types and event.type.value not in self._types:
                return None
            sent = self._form.encode(index, event, entry)
        except Problem as problem:
            return _Letter(index, entry, problem.detail)
        except (ValueError, TypeError, OverflowError) as error:
            return _Letter(index, entry, f"it cannot be encoded: {type(error).__name__}")
        return _Item(index, entry, sent)

    async def _deliver(self, items: Sequence[_Item]) -> None:
        waiting = deque(_cut(items))
        attempt = 0
        while waiting:
            batch = waiting[0]
            try:
                await self._target.send(self._batch(batch))
            except Unavailable as error:
                attempt += 1
                self._failing(str(error))
                if self._attempts is not None and attempt >= self._attempts:
                    raise Problem("PC6031", str(error)) from None
                await self._wait(min(attempt, _MOST_ATTEMPTS), error.after)
                self._look()
                continue
            except Refused as error:
                waiting.popleft()
                await self._sleep(_REFUSED_SECONDS)
                if len(batch) > 1:
                    middle = len(batch) // 2
                    waiting.extendleft((batch[middle:], batch[:middle]))
                    continue
                self._bury([_Letter(batch[0].index, batch[0].entry, str(error))])
            except Rejected as error:
                waiting.popleft()
                self._bury([_Letter(item.index, item.entry, str(error)) for item in batch])
            else:
                waiting.popleft()
                self.state.delivered += len(batch)
                self._working()
            attempt = 0
            if waiting:
                self._advance(batch[-1].index + 1)

    def _batch(self, items: Sequence[_Item]) -> Batch:
        body = self._form.join([item.sent for item in items])
        content = hashlib.sha256(b"".join(item.entry for item in items)).hexdigest()[:16]
        name = f"{self.name}-{items[0].index}-{items[-1].index}-{content}"
        return Batch(name, body, self._form.content_type)

    def _bury(self, letters: Sequence[_Letter]) -> None:
        """Owe letters, and settle. Raises as ``DeadLetters.add`` does; they stay owed then."""
        self._owed.extend(letters)
        self._settle()

    def _settle(self) -> None:
        """Write what is owed to the dead letters, and let the cursor pass it."""
        written = -1
        try:
            while self._owed:
                letter = self._owed[0]
                self._dead.add(letter.index, letter.entry, letter.reason)
                written = self._owed.popleft().index
                self.state.dead += 1
                reason = letter.reason
                log.error("export_dead_letter", exporter=self.name, index=written, reason=reason)
        finally:
            if written >= 0:
                self._advance(written + 1)

    def _advance(self, following: int) -> None:
        self._position = self._source.position(following)
        if self._kept:
            self._cursor.save(self._position)

    def _look(self) -> None:
        """See how far the log is, and say so when we fall behind or have caught up."""
        size = self._source.refresh()
        state, following = self.state, self._position.next
        state.lag_entries = max(0, size - following)
        state.oldest = _time(self._source, following) if size > following else 0.0
        waiting = state.lag_seconds(self._clock.now())
        if state.behind:
            changed = waiting <= self._behind_seconds / 2
        else:
            changed = waiting > self._behind_seconds
        if changed:
            said = {"exporter": self.name, "entries": str(state.lag_entries)}
            method = "audit.export.recovered" if state.behind else "audit.export.behind"
            state.behind = not state.behind
            self._untold.append((method, said | {"seconds": str(round(waiting))}))
        self._tell_rest()

    def _damaged(self, reason: str) -> None:
        if not self.state.damaged:
            self.state.damaged = True
            self._tell("audit.export.damaged", {"exporter": self.name, "reason": reason})

    def _sound(self) -> None:
        if self.state.damaged:
            self.state.damaged = False
            self._tell("audit.export.mended", {"exporter": self.name})

    def _tell(self, method: str, parameters: dict[str, str]) -> None:
        self._untold.append((method, parameters))
        self._tell_rest()

    def _tell_rest(self) -> None:
        """Say what is to be said; what the log does not take now is said later."""
        with contextlib.suppress(Problem):
            while self._untold:
                self._notice(*self._untold[0])
                self._untold.popleft()

    async def _wait(self, attempt: int, after: float) -> None:
        first, longest = self._backoff
        delay = min(longest, first * 2.0 ** (attempt - 1))
        jittered = random.uniform(delay / 2, delay)  # noqa: S311 - spreads retries, no secret
        await self._sleep(max(jittered, min(after, longest)))

    def _failing(self, reason: str) -> None:
        self.state.failures += 1
        if reason != self.state.problem:
            self.state.problem = reason
            log.warning("export_failing", exporter=self.name, reason=reason)

    def _working(self) -> None:
        if self.state.problem:
            self.state.problem = ""
            log.info("export_working", exporter=self.name)


def _said(error: Exception) -> str:
    if isinstance(error, Problem):
        return f"{error.code} {error.detail}"
    said = error.strerror if isinstance(error, OSError) else ""
    return said or type(error).__name__


def _cut(items: Sequence[_Item]) -> list[Sequence[_Item]]:
    """Batches of at most BATCH_BYTES, but of one event at least."""
    batches: list[Sequence[_Item]] = []
    start, size = 0, 0
    for number, item in enumerate(items):
        if number > start and size + len(item.sent) > BATCH_BYTES:
            batches.append(items[start:number])
            start, size = number, 0
        size += len(item.sent)
    return [*batches, items[start:]] if items else []


def _time(source: Source, index: int) -> float:
    """When an entry was written; 0 when it does not say."""
    found = source.read(index, 1)
    try:
        return event_of(found[0][1]).time.timestamp() if found else 0.0
    except Problem:
        return 0.0

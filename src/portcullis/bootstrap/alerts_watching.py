"""Reading all logs onwards and holding them against the rules."""

from __future__ import annotations

import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from portcullis.audit.export.source import Position, Source, event_of
from portcullis.audit.publish import HEAD
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.alerts_rules import Rules
from portcullis.config import Config
from portcullis.config.places import logs_of
from portcullis.core.alert import Found, Level, Raised
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.core.ports import Clock
from portcullis.oversight.alerts.builtin import builtin
from portcullis.oversight.alerts.engine import Engine
from portcullis.oversight.alerts.gathering import gathers
from portcullis.oversight.alerts.pending import Pending
from portcullis.store.alerts import SqlAlerts

_BATCH: Final = 64
"""Most entries of one log in one step: the line's thread waits no longer."""
_IDLE_SECONDS: Final = 0.1
_REST: Final = 2.0
"""How many times as long as a step took the next one waits: calls go first."""
_HURRY: Final = 0.25
"""The same while more than ``_BEHIND`` entries wait: who floods the log makes no alert late."""
_BEHIND: Final = 1024
_WRITE_SECONDS: Final = 0.1
_AGAIN_SECONDS: Final = 1.0
"""Between two times that is written down what is raised: that is new, and that is raised again."""
_RECENT: Final = 4096
_NONE, _DAMAGED = "PC7005", "PC6005"
"""There is no log, or it is not what was signed."""
_SURE_SECONDS: Final = 2.0
"""For so long it has to be so: who reads while it is written may see half of it."""
_LISTING_SECONDS: Final = 1.0
_KEEP_SECONDS: Final = 15.0

log = structlog.get_logger(__name__)

Put = Callable[[Iterable[Found], dict[str, int]], None]
Tend = Callable[[bool], None]


class _Log:
    """One log, and up to where it was read."""

    def __init__(self, directory: Path) -> None:
        self.source = Source(directory, own_verifier(directory))
        self.source.refresh()
        self.next = 0
        self.taken = 0
        self._head = directory / HEAD
        self._seen: tuple[int, int] | None = None

    def refresh(self) -> None:
        """Look at the head, if it is another."""
        with contextlib.suppress(OSError):
            found = self._head.stat()
            seen = found.st_ino, found.st_mtime_ns
            if seen == self._seen:
                return
            self._seen = seen
        self.source.refresh()

    def forget(self) -> None:
        """Read everything from the disk again."""
        self._seen = None
        self.source.forget()

    @property
    def lag(self) -> int:
        return self.source.size - self.next


class Watching:
    """Holds what logs say against the rules. Blocks; ``step`` and ``keep`` are of one thread.

    It goes on where it was: what its rules remember is kept from time to time, with how far each
    log was read then. What was read since is read again after a crash, but what that raised is on
    record already (``taken``) and is not raised twice. ``put`` writes down what is raised; what is
    raised again within ``again`` seconds is written down at once. ``tend`` is called every second,
    and told whether all logs were read to their ends.
    """

    def __init__(
        self,
        config: Config,
        store: SqlAlerts,
        rules: Rules,
        clock: Clock,
        put: Put,
        tend: Tend,
        *,
        again: float = _AGAIN_SECONDS,
    ) -> None:
        self._config = config
        self._store = store
        self._rules = rules
        self._engine = Engine(rules.rules)
        self._clock = clock
        self._put = put
        self._tend = tend
        self._again = again
        self._logs: dict[str, _Log] = {}
        self._places: dict[str, Position] = {}
        self._taken: dict[str, int] = {}
        self._pending = Pending()
        self._written_at = -math.inf
        self._recent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._listed_at = 0.0
        self._kept_at = clock.monotonic()
        self._unkept = False
        self._whole = False
        self._unreadable: dict[str, float] = {}
        self.lag = 0
        self.open = 0

    def begin(self) -> None:
        """Go on from what was kept. Where there is nothing, what is in the logs is history."""
        kept = self._store.memory()
        self._taken = self._store.taken()
        if kept is not None:
            memory, self._places = kept
            try:
                self._engine.restore(memory)
            except msgspec.MsgspecError:
                log.warning("alert_memory_damaged")
        self._list(history=kept is None)
        self._unkept = True
        self.keep()

    def step(self) -> float:
        """Hold the next entries of each log against the rules; how long to wait until the next."""
        began = time.perf_counter()
        self._flush()  # what could not be written down the last time
        if self._clock.monotonic() - self._listed_at > _LISTING_SECONDS:
            self._list(history=False)
            self._look_around()
        events: list[tuple[Event, bool]] = []
        self.lag, self._whole = 0, True
        for name, one in self._logs.items():
            try:
                events += self._read(one)
                self._unreadable.pop(name, None)
            except (Problem, OSError) as fault:
                self._unread(name, fault)
            self.lag += one.lag
        events.sort(key=lambda each: each[0].time)
        for event, fresh in events:
            found = self._engine.look(event)
            for each in found if fresh else ():
                self._pending.add(each)
        self._unkept = self._unkept or bool(events)
        self._flush()
        if self._clock.monotonic() - self._kept_at > _KEEP_SECONDS:
            self.keep()
        took = min(1.0, time.perf_counter() - began)
        rest = _HURRY if self.lag > _BEHIND else _REST
        return rest * took if events else _IDLE_SECONDS

    def _look_around(self) -> None:
        """What is to be done every second, whatever the logs say."""
        if self._rules.look():
            engine = Engine(self._rules.rules)
            engine.follow(self._engine)
            self._engine = engine
        self._tend(self._whole and self.lag == 0 and not self._pending)
        self.open = self._store.open()

    def keep(self) -> None:
        """Write down what the rules remember, and up to where they know the logs."""
        self._write()
        self._kept_at = self._clock.monotonic()
        if self._unkept:
            places = {
                name: (one.source.position(one.next), max(one.next, one.taken))
                for name, one in self._logs.items()
            }
            self._store.remember(self._engine.kept(), places)
            self._unkept = False

    def _list(self, *, history: bool) -> None:
        """Take up logs that are new."""
        self._listed_at = self._clock.monotonic()
        for name, directory in logs_of(self._config).items():
            if name in self._logs:
                continue
            try:
                one = _Log(directory)
                place = self._places.get(name)
                if place is not None and one.source.holds(place):
                    one.next = place.next
                elif place is not None:
                    self._rewritten(one, name)
                elif history:
                    one.next = one.source.size
            except (Problem, OSError) as fault:
                self._unread(name, fault)
                continue
            one.taken = max(one.next, self._taken.get(name, 0))
            self._logs[name] = one

    def _rewritten(self, one: _Log, name: str) -> None:
        """It is not the log that was read: what it says from now on counts."""
        self._fault(name)
        one.next = one.source.size

    def _fault(self, name: str) -> None:
        """Raise that a log is not what was signed."""
        rule = next(rule for rule in builtin() if rule.name == "log-fault")
        origin = f"{self._config.trust_domain}/{name}"
        self._pending.add(
            Raised(
                rule=rule.name,
                level=Level.CRITICAL,
                words=rule.words,
                group={"gateway": origin},
                at=self._clock.now(),
                events=(),
            )
        )

    def _unread(self, name: str, fault: Problem | OSError) -> None:
        """A log cannot be read: say so once; what stays not as it was signed is an alert."""
        now = self._clock.monotonic()
        code = fault.code if isinstance(fault, Problem) else _DAMAGED
        self._whole = self._whole and code == _NONE
        if name in self._logs:
            self._logs[name].forget()
        if name not in self._unreadable:
            self._unreadable[name] = now
            log.warning("alerts_log_not_read", log=name, fault=code)
        if code == _DAMAGED and now - self._unreadable[name] > _SURE_SECONDS:
            self._unreadable[name] = math.inf
            self._fault(name)

    def _read(self, one: _Log) -> list[tuple[Event, bool]]:
        """The next events, and whether what they raise is not on record yet."""
        one.refresh()
        found = []
        for number, entry in one.source.read(one.next, _BATCH):
            with contextlib.suppress(Problem):  # a pruned one is empty
                found.append((event_of(entry), number >= one.taken))
            one.next = number + 1
        return found

    def _flush(self) -> None:
        """Write down what is pending, when it is time: what is new soon, the rest with it."""
        if not self._pending:
            return
        since = self._clock.monotonic() - self._written_at
        new = any(_key(one) not in self._recent for one in self._pending)
        if since >= (_WRITE_SECONDS if new else self._again):
            self._write()

    def _write(self) -> None:
        if not self._pending:
            return
        found = tuple(self._pending)
        self._put(found, {name: one.next for name, one in self._logs.items()})
        self._pending = Pending()
        self._written_at = self._clock.monotonic()
        for one in found:
            if isinstance(one, Raised):
                self._recent[_key(one)] = None
            else:
                self._recent.pop(_key(one), None)
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        for each in self._logs.values():
            each.taken = max(each.taken, each.next)


def _key(found: Found) -> tuple[str, str]:
    return found.rule, gathers(found)

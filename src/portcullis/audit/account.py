"""What the events of a log say about what is missing from it.

Every allowed decision is owed a result. One without may still be in flight, or its gate died:
the log shows when a gate started (or loaded a policy), and what was open before the last start
will never be answered. A result without its decision, or an entry that stands twice, is something
that no gate writes. So are a gap in the numbers of a session's events, and an entry that is gone
without an ``audit.prune`` that says so (``pruned``).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
import numpy as np

from portcullis.audit.pruned import (
    PRUNE,
    Pruned,
    Pruning,
    Run,
    check_pruned,
    check_times,
    pruned_ranges,
    pruning,
)

_FIRST: Final = 5
_DECISIONS: Final = frozenset({"decision", "tool_call", "llm_call"})
_DIGEST: Final = 8


class Count(msgspec.Struct, frozen=True):
    """How many, and the ids (or, where there are none, the numbers) of the first five."""

    count: int = 0
    first: tuple[str, ...] = ()


class Account(msgspec.Struct, frozen=True):
    """The sum of a log's events.

    ``in_flight`` and ``cut`` are decisions without a result, after and before the last start of a
    gate; ``orphans`` are results without a decision, ``copies`` entries that stand twice,
    ``unreadable`` entries that are no events, ``gaps`` sessions some of whose events are missing.
    Only the last four are faults. ``pruned`` are the entries that were pruned, on whose word.
    """

    decisions: int = 0
    in_flight: Count = Count()
    cut: Count = Count()
    orphans: Count = Count()
    copies: Count = Count()
    unreadable: Count = Count()
    gaps: Count = Count()
    pruned: tuple[Pruned, ...] = ()

    def faults(self) -> Iterator[str]:
        """What no honest gate writes, each as a reason."""
        for count, said in (
            (self.orphans, "results without a decision"),
            (self.copies, "entries stand twice"),
            (self.unreadable, "entries are no events"),
            (self.gaps, "gaps in the events of a session, before"),
        ):
            if count.count:
                yield f"{count.count} {said}: {', '.join(count.first)}"


class Tally(msgspec.Struct):
    """The account of consecutive entries. What it cannot settle alone is left to ``Books``.

    ``runs`` are the pruned entries, ``prunings`` the events that tell of such, ``least`` the
    earliest times up to the first of these, after it and so on; ``sessions`` has the first and the
    last event of each session that is here.
    """

    open: dict[str, int] = {}
    strangers: dict[str, tuple[int, str]] = {}
    unreadable: list[int] = []
    decisions: int = 0
    started: int = -1
    digests: bytes = b""
    earliest: datetime | None = None
    first: datetime | None = None
    last: datetime | None = None
    runs: list[Run] = []
    prunings: list[Pruning] = []
    least: list[float] = []
    sessions: dict[str, Span] = {}
    gaps: list[tuple[int, str]] = []


class Place(NamedTuple):
    """Where an event of a session stands: its number in the session, and its entry.

    ``pruned`` entries lie before it, and at ``started`` the last start of a gate (-1: none).
    """

    sequence: int
    entry: int
    pruned: int
    started: int

    def follows(self, last: Place) -> bool:
        """Whether it may be the session's next event; a gate counts on, or has started since."""
        missing, gone = self.sequence - last.sequence - 1, self.pruned - last.pruned
        if 0 <= missing <= gone:
            return True
        return self.started > last.entry and 0 <= self.sequence - 1 <= gone


_BEFORE: Final = Place(0, -1, 0, -1)
"""Where a session begins."""


class Span(msgspec.Struct):
    """A session's first and last event here; ``id`` is that of the first."""

    first: Place
    last: Place
    id: str


class _Seen(msgspec.Struct):
    """What of an event is looked at."""

    id: str
    type: str
    time: datetime
    verdict: str = ""
    decision: str = ""
    method: str = ""
    principal_kind: str = ""
    session: str = ""
    sequence: int = 0
    parameters: msgspec.Raw = msgspec.Raw(b"{}")


_decode: Final = msgspec.json.Decoder(_Seen).decode


class Counter:
    """Makes a ``Tally``; ``since`` is the number from which on the earliest time is looked for."""

    def __init__(self, since: int) -> None:
        self.tally = Tally({}, {}, [], runs=[], prunings=[], least=[], sessions={}, gaps=[])
        self._since = since
        self._answered: set[str] = set()
        self._digests: list[bytes] = []
        self._pruned = 0
        self._least: datetime | None = None

    def add(self, first: int, entries: Sequence[bytes], leaves: Sequence[bytes]) -> None:
        """Count entries from number ``first`` on, with their leaf hashes."""
        for number, entry in enumerate(entries, first):
            if not entry:
                self._gone(number)
                continue
            try:
                seen = _decode(entry)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self.tally.unreadable.append(number)
                continue
            if seen.time.tzinfo is None:
                seen.time = seen.time.replace(tzinfo=UTC)
            self._time(number, seen.time)
            if seen.sequence:
                self._follow(number, seen)
            if seen.decision or seen.type in _DECISIONS:
                self._call(number, seen)
            elif seen.type == "admin":
                self._act(number, seen)
            elif seen.method == "svid.issue" and seen.principal_kind == "gateway":
                self.tally.started = number
        self._digests += [leaf[:_DIGEST] for leaf in leaves]

    def close(self) -> Tally:
        """The tally of all that was added."""
        self.tally.digests = b"".join(self._digests)
        self._mark()
        return self.tally

    def _time(self, number: int, when: datetime) -> None:
        tally = self.tally
        tally.first = tally.first or when
        tally.last = when
        if self._least is None or when < self._least:
            self._least = when
        if number >= self._since and (tally.earliest is None or when < tally.earliest):
            tally.earliest = when
        if tally.runs and tally.runs[-1].after is None:
            tally.runs[-1].after = when.timestamp()

    def _call(self, number: int, seen: _Seen) -> None:
        opened = self.tally.open
        if not seen.decision:
            self.tally.decisions += 1
            if seen.verdict == "allow":
                opened[seen.id] = number
        elif opened.pop(seen.decision, None) is not None:
            self._answered.add(seen.decision)
        elif seen.decision not in self._answered:  # a call may fail after its result
            self.tally.strangers[seen.decision] = number, seen.id

    def _act(self, number: int, seen: _Seen) -> None:
        if seen.verdict != "allow":
            return
        if seen.method == "policy.activate":
            self.tally.started = number
        elif seen.method == PRUNE:
            found = pruning(seen.id, seen.time.timestamp(), number, seen.parameters)
            if found is not None:
                self.tally.prunings.append(found)
                self._mark()

    def _mark(self) -> None:
        least, self._least = self._least, None
        self.tally.least.append(math.inf if least is None else least.timestamp())

    def _gone(self, number: int) -> None:
        self._pruned += 1
        runs = self.tally.runs
        if runs and runs[-1].end == number:
            runs[-1].end = number + 1
        else:
            last = self.tally.last
            runs.append(Run(number, number + 1, last.timestamp() if last else None))

    def _follow(self, number: int, seen: _Seen) -> None:
        place = Place(seen.sequence, number, self._pruned, self.tally.started)
        span = self.tally.sessions.get(seen.session)
        if span is None:
            self.tally.sessions[seen.session] = Span(place, place, seen.id)
            return
        if not place.follows(span.last):
            self.tally.gaps.append((number, seen.id))
        span.last = place


class Books:
    """Tallies of a whole log, in its order, settled."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._strangers: dict[str, tuple[int, str]] = {}
        self._unreadable: list[int] = []
        self._decisions = 0
        self._started = -1
        self._digests: list[bytes] = []
        self._last: datetime | None = None
        self._earliest: list[datetime] = []
        self._runs: list[Run] = []
        self._prunings: list[Pruning] = []
        self._least: list[float] = []
        self._pruned = 0
        self._sessions: dict[str, Place] = {}
        self._gaps: list[tuple[int, str]] = []

    def add(self, tally: Tally) -> None:
        """Take the next tally."""
        for decision, result in tally.strangers.items():
            if self._open.pop(decision, None) is None:
                self._strangers[decision] = result
        self._open |= tally.open
        self._unreadable += tally.unreadable
        self._decisions += tally.decisions
        self._digests.append(tally.digests)
        self._join(tally)
        self._last = tally.last or self._last
        self._earliest += [tally.earliest] if tally.earliest is not None else []
        self.learn(tally)
        for session, span in tally.sessions.items():
            first, last = (self._place(place) for place in (span.first, span.last))
            if not first.follows(self._sessions.get(session, _BEFORE)):
                self._gaps.append((first.entry, span.id))
            self._sessions[session] = last
        self._started = max(self._started, tally.started)
        self._gaps += tally.gaps
        self._runs += tally.runs
        self._pruned += sum(run.end - run.first for run in tally.runs)

    def learn(self, tally: Tally) -> None:
        """Take of the next tally only what it says was pruned."""
        if self._prunings:
            self._least[-1] = min(self._least[-1], tally.least[0])
        self._prunings += tally.prunings
        self._least += tally.least[1:]

    def _join(self, tally: Tally) -> None:
        """Tell what was pruned at the seam of two tallies what stands beyond it."""
        before = self._last.timestamp() if self._last else None
        for run in tally.runs[:1]:
            run.before = before if run.before is None else run.before
        if tally.first is not None:
            after = tally.first.timestamp()
            for run in reversed(self._runs):
                if run.after is not None:
                    break
                run.after = after

    @property
    def last(self) -> str:
        """The time that the last event states, or nothing without events."""
        return "" if self._last is None else str(msgspec.to_builtins(self._last))

    def earliest(self) -> datetime | None:
        """The earliest time that is stated in the entries that were looked at for it."""
        return min(self._earliest, default=None)

    def settle(self, entries: Iterable[bytes]) -> None:
        """Look again for the decisions of results that seem to have none: these came late.

        ``entries`` are those of the whole log; they are read only if there is such a result.
        """
        if not self._strangers:
            return
        for entry in entries:
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                seen = _decode(entry)
                if seen.type in _DECISIONS:
                    self._strangers.pop(seen.id, None)

    def _place(self, place: Place) -> Place:
        """A place in a tally, as one in the log."""
        started = max(self._started, place.started)
        return place._replace(pruned=self._pruned + place.pruned, started=started)

    def pruned_faults(self, keep_days: float = 0.0, now: float = 0.0) -> Iterator[str]:
        """What is gone and may not be, each as a reason; see ``check_pruned``, ``check_times``."""
        yield from check_pruned(self._runs, self._prunings, keep_days)
        yield from check_times(self._prunings, self._least, now)

    def account(self) -> Account:
        """The sum."""
        known = self._runs[0].first if self._runs else None  # a decision may have been pruned
        orphans = [o for o in sorted(self._strangers.values()) if known is None or o[0] < known]
        running = [name for name, number in self._open.items() if number > self._started]
        cut = [name for name, number in self._open.items() if number < self._started]
        return Account(
            decisions=self._decisions,
            in_flight=_count(running),
            cut=_count(cut),
            orphans=_count([name for _, name in orphans]),
            copies=_count(self._copies()),
            unreadable=_count([f"entry {number}" for number in self._unreadable]),
            gaps=_count([name for _, name in sorted(self._gaps)]),
            pruned=pruned_ranges(self._runs, self._prunings),
        )

    def _copies(self) -> list[str]:
        digests = np.frombuffer(b"".join(self._digests), np.uint64)
        order = np.argsort(digests, kind="stable")
        same = digests[order[1:]] == digests[order[:-1]]
        return [f"entry {number}" for number in np.sort(order[1:][same])]


def _count(found: Sequence[str]) -> Count:
    return Count(len(found), tuple(found[:_FIRST]))

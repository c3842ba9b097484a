"""What the events of a log say about what is missing from it.

Every allowed decision is owed a result. One without may still be in flight, or its gate died:
the log shows when a gate started (or loaded a policy), and what was open before the last start
will never be answered. A result without its decision, or an entry that stands twice, is something
that no gate writes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np

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
    ``unreadable`` entries that are no events. Only the last three are faults.
    """

    decisions: int = 0
    in_flight: Count = Count()
    cut: Count = Count()
    orphans: Count = Count()
    copies: Count = Count()
    unreadable: Count = Count()

    def faults(self) -> Iterator[str]:
        """What no honest gate writes, each as a reason."""
        for count, said in (
            (self.orphans, "results without a decision"),
            (self.copies, "entries stand twice"),
            (self.unreadable, "entries are no events"),
        ):
            if count.count:
                yield f"{count.count} {said}: {', '.join(count.first)}"


class Tally(msgspec.Struct):
    """The account of consecutive entries. What it cannot settle alone is left to ``Books``."""

    open: dict[str, int] = {}
    strangers: dict[str, tuple[int, str]] = {}
    unreadable: list[int] = []
    decisions: int = 0
    started: int = -1
    digests: bytes = b""
    earliest: datetime | None = None
    last: datetime | None = None


class _Seen(msgspec.Struct):
    """What of an event is looked at."""

    id: str
    type: str
    time: datetime
    verdict: str = ""
    decision: str = ""
    method: str = ""
    principal_kind: str = ""


_decode: Final = msgspec.json.Decoder(_Seen).decode


class Counter:
    """Makes a ``Tally``; ``since`` is the number from which on the earliest time is looked for."""

    def __init__(self, since: int) -> None:
        self.tally = Tally({}, {}, [])
        self._since = since
        self._answered: set[str] = set()
        self._digests: list[bytes] = []

    def add(self, first: int, entries: Sequence[bytes], leaves: Sequence[bytes]) -> None:
        """Count entries from number ``first`` on, with their leaf hashes."""
        tally, opened, number = self.tally, self.tally.open, first - 1
        for entry in entries:
            number += 1
            try:
                seen = _decode(entry)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                tally.unreadable.append(number)
                continue
            tally.last = when = seen.time if seen.time.tzinfo else seen.time.replace(tzinfo=UTC)
            if number >= self._since and (tally.earliest is None or when < tally.earliest):
                tally.earliest = when
            if seen.decision:
                if opened.pop(seen.decision, None) is not None:
                    self._answered.add(seen.decision)
                elif seen.decision not in self._answered:  # a call may fail after its result
                    tally.strangers[seen.decision] = number, seen.id
            elif seen.type in _DECISIONS:
                tally.decisions += 1
                if seen.verdict == "allow":
                    opened[seen.id] = number
            elif seen.method == "policy.activate" or (
                seen.method == "svid.issue" and seen.principal_kind == "gateway"
            ):
                tally.started = number
        self._digests += [leaf[:_DIGEST] for leaf in leaves]

    def close(self) -> Tally:
        """The tally of all that was added."""
        self.tally.digests = b"".join(self._digests)
        return self.tally


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

    def add(self, tally: Tally) -> None:
        """Take the next tally."""
        for decision, result in tally.strangers.items():
            if self._open.pop(decision, None) is None:
                self._strangers[decision] = result
        self._open |= tally.open
        self._unreadable += tally.unreadable
        self._decisions += tally.decisions
        self._started = max(self._started, tally.started)
        self._digests.append(tally.digests)
        self._last = tally.last or self._last
        self._earliest += [tally.earliest] if tally.earliest is not None else []

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

    def account(self) -> Account:
        """The sum."""
        running = [name for name, number in self._open.items() if number > self._started]
        cut = [name for name, number in self._open.items() if number < self._started]
        return Account(
            decisions=self._decisions,
            in_flight=_count(running),
            cut=_count(cut),
            orphans=_count([name for _, name in sorted(self._strangers.values())]),
            copies=_count(self._copies()),
            unreadable=_count([f"entry {number}" for number in self._unreadable]),
        )

    def _copies(self) -> list[str]:
        digests = np.frombuffer(b"".join(self._digests), np.uint64)
        order = np.argsort(digests, kind="stable")
        same = digests[order[1:]] == digests[order[:-1]]
        return [f"entry {number}" for number in np.sort(order[1:][same])]


def _count(found: Sequence[str]) -> Count:
    return Count(len(found), tuple(found[:_FIRST]))

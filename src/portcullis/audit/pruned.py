"""What a pruned log says of itself: which entries are gone, by which rule, on whose word.

A pruned entry is empty in its bundle and in the journal. Its hash stays in the lowest tile, so
the tree and every proof go on to verify. No event is empty, so nothing else looks like it.

An ``admin`` event ``audit.prune`` comes before the act, one for each segment of 65 536 entries.
Its parameters: ``first`` and ``end`` bound the segment, ``which`` is a bitmap of its entries, most
significant bit first (deflated, Base64), ``count`` how many they are, ``before`` by class the time
(seconds since the epoch) that they are older than, and ``min_days`` the least that policy keeps.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from portcullis.audit.merkle import leaf_hashes

PRUNE: Final = "audit.prune"
SEGMENT: Final = 65_536
DAY: Final = 86_400.0
_SLACK: Final = 300.0
"""Seconds by which the times of neighbours may be out of order."""
_AHEAD: Final = DAY
"""Seconds that a pruning may be ahead of what comes after it: clocks are put right."""
_FIRST: Final = 5
_PAIRS: Final = {"tool_result": "tool_call", "llm_result": "llm_call", "result": "decision"}
_SESSIONS: Final = frozenset({"sessions.open", "sessions.turn", "sessions.close"})


def retention_class(kind: str, method: str) -> str:
    """What decides how long an event stays: its type, of a result that of its decision.

    ``session`` for the opening and closing of sessions; nothing for what else operators do, which
    stays for ever: holds, erasures and prunings are read from the log.
    """
    if kind == "admin":
        return "session" if method in _SESSIONS else ""
    return _PAIRS.get(kind, kind)


def leaves(entries: Sequence[bytes], kept: Callable[[int], bytes]) -> list[bytes]:
    """The leaf hashes of entries; of one that was pruned, what ``kept`` says by its place."""
    found = leaf_hashes(entries)
    if b"" in entries:
        for place, entry in enumerate(entries):
            if not entry:
                found[place] = kept(place)
    return found


class Pruning(msgspec.Struct, frozen=True):
    """What one ``audit.prune`` says. ``event`` is its id, ``time`` when it was made.

    ``at`` is its own number: it can speak only of what was there before it. ``which`` is packed.
    """

    event: str
    time: float
    at: int
    first: int
    end: int
    which: bytes
    before: dict[str, float]
    min_days: dict[str, float]

    def covered(self) -> NDArray[np.bool_]:
        """Which entries of the segment it speaks of."""
        bits = np.unpackbits(np.frombuffer(zlib.decompress(self.which), np.uint8)).view(np.bool_)
        bits[max(0, self.at - self.first) :] = False
        return bits

    def latest(self) -> float:
        """No entry of it states a time after this one."""
        return max(self.before.values(), default=0.0)

    def soonest(self) -> float:
        """How many days old the youngest of its entries can have been."""
        return (self.time - self.latest()) / DAY

    def too_soon(self) -> bool:
        """Whether it contradicts the policy that it names, by more than a second."""
        return any(
            self.time - before < max(0.0, self.min_days.get(name, 0.0)) * DAY - 1.0
            for name, before in self.before.items()
        )


def parameters(
    numbers: Sequence[int], before: Mapping[str, float], min_days: Mapping[str, float]
) -> dict[str, Any]:
    """The parameters of the event for these entries, all of one segment."""
    first = numbers[0] - numbers[0] % SEGMENT
    bits = np.zeros(SEGMENT, np.uint8)
    bits[np.asarray(numbers) - first] = 1
    which = base64.b64encode(zlib.compress(np.packbits(bits).tobytes(), 9)).decode()
    return {
        "first": first,
        "end": first + SEGMENT,
        "count": len(numbers),
        "which": which,
        "before": dict(before),
        "min_days": dict(min_days),
    }


def pruning(event: str, time: float, at: int, said: bytes | msgspec.Raw) -> Pruning | None:
    """What event number ``at`` says was pruned, in JSON; None when that cannot be understood.

    It is packed anew, so that a verifier holds no more of it than the log does.
    """
    try:
        told = msgspec.json.decode(said)
        packed = base64.b64decode(told["which"], validate=True)
        bits = zlib.decompressobj().decompress(packed, SEGMENT // 8 + 1)
        ours = {"event": event, "time": time, "at": at, "which": zlib.compress(bits)}
        found = msgspec.convert({**told, **ours}, Pruning, strict=True)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, zlib.error):
        return None
    whole = found.end == found.first + SEGMENT and not found.first % SEGMENT
    return found if whole and 0 <= found.first < at and len(bits) == SEGMENT // 8 else None


class Run(msgspec.Struct):
    """Consecutive pruned entries; the times (seconds) of the events around them, if known."""

    first: int
    end: int
    before: float | None = None
    after: float | None = None


class Pruned(msgspec.Struct, frozen=True):
    """The pruned entries of a segment: the first, the last, how many, and the events that say so.

    ``older_than`` is a time (seconds since the epoch) that all of them are older than, as said.
    """

    first: int
    last: int
    count: int
    events: tuple[str, ...]
    older_than: float


def pruned_ranges(runs: Sequence[Run], prunings: Sequence[Pruning]) -> tuple[Pruned, ...]:
    """What is gone, segment by segment."""
    found: dict[int, list[Run]] = {}
    for run in runs:
        found.setdefault(run.first // SEGMENT * SEGMENT, []).append(run)
    said: dict[int, list[Pruning]] = {}
    for one in prunings:
        said.setdefault(one.first, []).append(one)
    return tuple(
        Pruned(
            first=gone[0].first,
            last=gone[-1].end - 1,
            count=sum(run.end - run.first for run in gone),
            events=tuple(one.event for one in said.get(first, ())),
            older_than=max((one.latest() for one in said.get(first, ())), default=0.0),
        )
        for first, gone in sorted(found.items())
    )


def check_pruned(
    runs: Sequence[Run], prunings: Sequence[Pruning], keep_days: float
) -> Iterator[str]:
    """What is wrong with what is gone, each as a reason.

    Entries that no event speaks of; an event that contradicts the policy that it names, or leaves
    less than ``keep_days``; entries that stand between younger ones than it allows.
    """
    said: dict[int, list[Pruning]] = {}
    for one in prunings:
        said.setdefault(one.first, []).append(one)
        if one.too_soon():
            yield f"{one.event} prunes sooner than the policy that it names"
        elif keep_days and one.soonest() < keep_days:
            yield f"{one.event} prunes what is {one.soonest():.1f} days old, not {keep_days:g}"
    unsaid: list[int] = []
    for base, some in groupby(runs, lambda run: run.first // SEGMENT * SEGMENT):
        latest = np.zeros(SEGMENT)
        for one in said.get(base, ()):
            np.maximum(latest, one.latest(), out=latest, where=one.covered())
        for run in some:
            bound = latest[run.first - base : run.end - base]
            unsaid += (np.flatnonzero(bound == 0) + run.first).tolist()
            around = min(run.before or 0.0, run.after or 0.0)
            if bound.all() and around > bound.max() + _SLACK:
                gone = f"entries {run.first} to {run.end - 1} are gone"
                yield f"{gone} and were too young to be pruned"
    if unsaid:
        numbers = ", ".join(map(str, unsaid[:_FIRST]))
        yield f"{len(unsaid)} entries are gone and no event says so: {numbers}"


def check_times(
    prunings: Sequence[Pruning], following: Sequence[float], now: float
) -> Iterator[str]:
    """Prunings that state a time which had not come, each as a reason.

    ``following`` has for each the earliest time that is stated up to the next one, infinite for
    none, in their order. ``now`` is the time of whoever asks, 0 for unknown.
    """
    least = now or math.inf
    for one, after in zip(reversed(prunings), reversed(following), strict=True):
        least = min(least, after)
        if one.time > least + _AHEAD:
            yield f"{one.event} prunes at a time that had not come"
        least = min(least, one.time)

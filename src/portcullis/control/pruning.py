"""Pruning the log, for operators and for the gate itself: only as policy allows, on the record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from portcullis.audit.pruned import SEGMENT, parameters
from portcullis.audit.pruning import Pruner
from portcullis.config.retention import Retention
from portcullis.control.privacy import PrivacyParts

_REST: Final = 9.0
"""How many times as long as it worked the gate's own pruning rests, bundle by bundle."""

Tell = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Records durably that these entries (a name for them, and parameters) are about to be pruned."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """What was (or would be) pruned of one segment, by class of event."""

    first: int
    last: int
    classes: dict[str, int]


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What one step did. ``following`` is where the next begins, None when there is none."""

    segment: Segment | None
    following: int | None


@dataclass(frozen=True, slots=True)
class PruningParts:
    """``now`` is the time that ages count from: the witnesses', where there are any."""

    pruner: Pruner
    retention: Retention
    now: Callable[[], float]


class Pruning:
    """Prunes a log segment by segment; beside erasures and holds, one at a time."""

    def __init__(self, parts: PruningParts, privacy: PrivacyParts) -> None:
        self._parts = parts
        self._privacy = privacy

    def before(self, until: float | None = None) -> dict[str, float]:
        """What is too old, by class: past ``max_days`` or, if given, from before ``until``.

        Nothing goes before its ``min_days``, whatever is given.
        """
        now = self._parts.now()
        if until is None:
            return self._parts.retention.due(now)
        return {name: min(until, at) for name, at in self._parts.retention.allowed(now).items()}

    def _never_too_soon(self, before: Mapping[str, float]) -> dict[str, float]:
        """The same by the clock as it is now, which may have been put back since."""
        allowed = self._parts.retention.allowed(self._parts.now())
        return {name: min(at, allowed[name]) for name, at in before.items()}

    def segments(self) -> range:
        """Where the log's segments begin."""
        return range(0, self._parts.pruner.size, SEGMENT)

    async def step(
        self,
        segment: int,
        before: Mapping[str, float],
        tell: Tell | None,
        *,
        patient: bool = False,
    ) -> Pruned:
        """Prune one segment; with ``tell`` None only say what would be.

        Raises Problem PC6001 (not complete), PC6002, PC6005 (what is there is not what the tree
        says, and stays).
        """
        async with self._privacy.acting:
            before = self._never_too_soon(before)
            end = await asyncio.to_thread(self._parts.pruner.end)
            if segment >= end or not before:
                return Pruned(segment=None, following=None)
            holds = await asyncio.to_thread(self._privacy.book.in_force)
            rest = _Rest() if patient else _nothing
            found = await asyncio.to_thread(
                self._parts.pruner.due, segment, end, before, holds, rest
            )
            following = segment + SEGMENT if segment + SEGMENT < end else None
            numbers = sorted(number for some in found.values() for number in some)
            if not numbers:
                return Pruned(segment=None, following=following)
            classes = {name: len(some) for name, some in sorted(found.items())}
            done = Segment(first=numbers[0], last=numbers[-1], classes=classes)
            if tell is not None:
                if await asyncio.to_thread(self._privacy.book.in_force) != holds:
                    return Pruned(segment=None, following=segment)  # made by another process
                limits = {name: before[name] for name in classes}
                least = self._parts.retention.min_days()
                said = parameters(numbers, limits, {name: least[name] for name in classes})
                await tell(f"{numbers[0]}-{numbers[-1]}", said)
                await asyncio.to_thread(self._parts.pruner.carry_out, numbers)
            return Pruned(segment=done, following=following)


class _Rest:
    """Gives way to the gate's work, in proportion to one's own."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def __call__(self) -> None:
        time.sleep(_REST * min(0.1, time.perf_counter() - self._since))
        self._since = time.perf_counter()


def _nothing() -> None:
    """Whoever waits for it wants no rest."""

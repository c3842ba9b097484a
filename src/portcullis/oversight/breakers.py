"""When a breaker opens: outcomes in sliding windows, held against thresholds. Pure.

Of an upstream only its own failures count (it cannot be reached, it is too slow, it breaks off, it
answers with a status of the class 5xx), never what a request provoked (4xx) or the gate refused.
And no agent can break an upstream off for its neighbours: it is broken off for everybody only when
more than half of the agents that called it, and at least two, see it fail, and then no agent
counts for more than all others together. What one agent sees alone breaks it off for that agent
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec

from portcullis.config.breakers import AgentBreaker, UpstreamBreaker
from portcullis.core.call import Result
from portcullis.core.verdict import Deny

_PARTS: Final = 12
"""Into how many parts a window is cut; the oldest leaves at once."""
_FAULT: Final = 500
_SHARED: Final = frozenset({401, 402, 403, 407, 408, 425, 429})
"""Statuses that are about the credential and the quota that agents share, or about the time: who
uses up a quota must not have its neighbours stopped."""
_OWN: Final = frozenset({"PC5001", "PC5002", "PC5008", "PC5011", "PC5024"})
"""Problems that are an upstream's own: unreachable, too slow, broken off, ended, faulty."""
_NOT_THE_AGENTS: Final = frozenset({"PC3040"})
"""Denials that say nothing against an agent: its call waits for a human."""
_COUNTED_ELSEWHERE: Final = ("PC307", "PC308", "PC309")
"""Limits and behaviour have measures of their own."""
MICROS: Final = 1_000_000


class Came(Enum):
    """What became of a call, for one breaker."""

    GOOD = "good"
    BAD = "bad"
    NOTHING = "nothing"
    """It says nothing about whom the breaker is for."""


def of_upstream(result: Result | None, problem: Deny | None) -> Came:
    """What a call's end says about the upstream."""
    if result is not None:
        return Came.BAD if result.status >= _FAULT else Came.GOOD
    return Came.BAD if problem is not None and problem.code in _OWN else Came.NOTHING


def of_agent(result: Result | None, problem: Deny | None) -> Came:
    """What a call's end says about the agent: it was answered with an error, or it was withheld.

    What it shares with others says nothing about it.
    """
    if result is None or result.status >= _FAULT or result.status in _SHARED:
        return Came.NOTHING
    if problem is not None and problem.code.startswith(_COUNTED_ELSEWHERE):
        return Came.NOTHING
    withheld = problem is not None and problem.code.startswith("PC3")
    return Came.BAD if withheld or result.is_error else Came.GOOD


def against_agent(denied: Deny) -> bool:
    """Whether a denial counts against the agent: it asked for what it may not."""
    code = denied.code
    return (
        code.startswith("PC3")
        and code not in _NOT_THE_AGENTS
        and not code.startswith(_COUNTED_ELSEWHERE)
    )


class Trip(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker has to open: an upstream's for everybody, or for ``agent`` alone."""

    reason: str
    agent: str = ""


class Window:
    """Sums of a few whole numbers over the last ``seconds``, in constant room."""

    __slots__ = ("_at", "_part", "_parts", "_seconds", "_sums", "_width")

    def __init__(self, seconds: float, width: int = 1) -> None:
        self._seconds = seconds / _PARTS
        self._width = width
        self._parts: list[list[int]] = []
        self._at: list[int] = []
        self._sums = [0] * width

    def add(self, now: float, *amounts: int) -> None:
        """Take what happened at ``now``; times may come a little out of order."""
        part = int(now / self._seconds)
        self._leave(part)
        if not self._at or self._at[-1] < part:
            self._at.append(part)
            self._parts.append([0] * self._width)
        for index, amount in enumerate(amounts):
            self._parts[-1][index] += amount
            self._sums[index] += amount

    def sums(self, now: float) -> tuple[int, ...]:
        """What there was within the window that ends ``now``."""
        self._leave(int(now / self._seconds))
        return tuple(self._sums)

    def _leave(self, part: int) -> None:
        while self._at and self._at[0] <= part - _PARTS:
            del self._at[0]
            for index, amount in enumerate(self._parts.pop(0)):
                self._sums[index] -= amount


class UpstreamWindow:
    """What became of the calls to one upstream, apart for each agent."""

    def __init__(self, settings: UpstreamBreaker) -> None:
        self._settings = settings
        self._agents: dict[str, Window] = {}

    def add(self, agent: str, now: float, *, failed: bool, waited: float) -> Trip | None:
        """Take the end of a call; ``waited`` is in how many seconds the upstream began to answer.

        A call that failed is not also slow.
        """
        slow = not failed and waited > self._settings.slow_seconds
        window = self._agents.get(agent)
        if window is None:
            window = self._agents[agent] = Window(self._settings.window_seconds, 3)
        window.add(now, 1, int(failed), int(slow))
        return self._judged(agent, now) if failed or slow else None

    def forget(self, agent: str = "") -> None:
        """Begin anew, for one agent or for all."""
        if agent:
            self._agents.pop(agent, None)
        else:
            self._agents.clear()

    def _judged(self, agent: str, now: float) -> Trip | None:
        seen: dict[str, tuple[int, ...]] = {}
        for name, window in list(self._agents.items()):
            sums = window.sums(now)
            if sums[0]:
                seen[name] = sums
            else:
                del self._agents[name]
        settings = self._settings
        for index, share, word in (
            (1, settings.errors, "failed"),
            (2, settings.slow, f"took over {settings.slow_seconds:g} s"),
        ):
            seeing = [sums for sums in seen.values() if sums[index] >= share * sums[0]]
            calls, bad = _bounded([(sums[0], sums[index]) for sums in seen.values()])
            enough = calls >= settings.calls and bad >= share * calls
            if enough and len(seeing) > max(1, len(seen) / 2):
                return Trip(reason=f"{bad:g} of {calls} calls of {len(seen)} agents {word}")
            calls, bad = seen[agent][0], seen[agent][index]
            if calls >= settings.calls and bad >= share * calls:
                return Trip(reason=f"{bad} of {calls} calls of this agent {word}", agent=agent)
        return None


def _bounded(counts: Sequence[tuple[int, int]]) -> tuple[int, float]:
    """All calls and the bad ones, in which no agent counts for more than all others together."""
    calls, bad = sum(one for one, _ in counts), float(sum(wrong for _, wrong in counts))
    most, wrong = max(counts)
    over = 2 * most - calls
    return (calls - over, bad - wrong * over / most) if over > 0 else (calls, bad)


class AgentWindow:
    """What one agent did: what it was denied, what went wrong, what it spent."""

    def __init__(self, settings: AgentBreaker) -> None:
        self._settings = settings
        self._denied = Window(settings.window_seconds)
        self._calls = Window(settings.window_seconds, 2)
        self._spent = Window(settings.window_seconds)

    def denied(self, now: float) -> str:
        """Take a denial; why the breaker has to open, or nothing."""
        self._denied.add(now, 1)
        (count,) = self._denied.sums(now)
        most = self._settings.denials
        if most is None or count < most:
            return ""
        return f"{count} calls denied within {self._settings.window_seconds:g} s"

    def ended(self, now: float, *, bad: bool) -> str:
        """Take the end of a call; the same."""
        self._calls.add(now, 1, int(bad))
        calls, failed = self._calls.sums(now)
        settings = self._settings
        if settings.errors is None or calls < settings.calls or failed < settings.errors * calls:
            return ""
        return f"{failed} of {calls} calls went wrong within {settings.window_seconds:g} s"

    def spent(self, now: float, micros: int) -> str:
        """Take what a call cost, in millionths of the currency; the same."""
        self._spent.add(now, micros)
        (sum_,) = self._spent.sums(now)
        most = self._settings.cost
        if most is None or sum_ < most * MICROS:
            return ""
        return f"{sum_ / MICROS:.2f} spent within {self._settings.window_seconds:g} s"

    def idle(self, now: float) -> bool:
        """Whether nothing is left of what it did."""
        return not any(any(window.sums(now)) for window in (self._denied, self._calls, self._spent))

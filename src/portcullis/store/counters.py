"""What every counter does with what it has counted: pure, for the adapters of the port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from portcullis.core.limits import MICROS, MOST, Amount, Over, Rate, Slot, State, Want

LEASE: Final = 30.0
"""Seconds after which a place that is not renewed is free again."""
SOON: Final = 1.0
"""In how many seconds a place may be free: nobody knows."""


def decide(
    wants: Sequence[Want], values: Sequence[int], now: float
) -> tuple[list[int], tuple[State, ...]] | Over:
    """Take all wants from what is counted, or say which is over and resets last.

    ``values`` are, in the order of the wants, what was used of an amount, the theoretical arrival
    time (microseconds) of a rate, and how many places are taken.
    """
    after: list[int] = []
    states: list[State] = []
    over: Over | None = None
    for index, want in enumerate(wants):
        value = values[index]
        if isinstance(want, Amount):
            fits = value + max(want.amount, 1) <= want.ceiling
            value += want.amount
            state = State(want.ceiling - value, want.ends_at)
        elif isinstance(want, Rate):
            value, fits, state = _arrives(want, value, int(now * MICROS))
        elif isinstance(want, Slot):
            fits = value < want.ceiling
            value += 1
            state = State(want.ceiling - value, now + SOON)
        if not fits:
            if over is None or state.resets_at > over.resets_at:
                over = Over(index, state.resets_at)
            continue
        after.append(value)
        states.append(state)
    return over or (after, tuple(states))


def _arrives(rate: Rate, last: int, now: int) -> tuple[int, bool, State]:
    """GCRA, as virtual scheduling (ITU-T I.371): the new arrival time, whether it conforms."""
    arrival = max(last, now) + rate.interval
    depth = rate.burst * rate.interval
    if arrival - now > depth:
        return last, False, State(0, (arrival - depth) / MICROS)
    return arrival, True, State((depth - arrival + now) // rate.interval, arrival / MICROS)


def taken(want: Want) -> int:
    """By how much a want raised its value when it was granted."""
    if isinstance(want, Amount):
        return want.amount
    return want.interval if isinstance(want, Rate) else 0


def changes(
    wants: Sequence[Want], actual: Sequence[int] | None, *, alive: bool
) -> list[tuple[Want, int]]:
    """What settling (or, without ``actual``, releasing) changes of amounts and rates, by want.

    Of a reservation that is not ``alive`` any more, nothing is given back.
    """
    found: list[tuple[Want, int]] = []
    for index, want in enumerate(wants):
        if isinstance(want, Slot):
            continue
        if actual is None:
            change = -taken(want)
        elif isinstance(want, Amount):
            change = min(actual[index], MOST) - want.amount
        else:
            continue
        if change > 0 or (change < 0 and alive):
            found.append((want, change))
    return found


def changed(value: int, change: int) -> int:
    """A count after a change: never below nothing, and never so high that it cannot be counted."""
    return min(max(value + change, 0), MOST)


def ends(want: Want, value: int) -> float:
    """When a count may be forgotten."""
    return want.ends_at if isinstance(want, Amount) else value / MICROS

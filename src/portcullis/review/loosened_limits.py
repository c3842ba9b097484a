"""What of limits one policy has and another has not, or has more of: each named in one line.

Where it cannot be told that the new is at least as strict as the old, it counts as less.
"""

from __future__ import annotations

from collections.abc import Iterator

from portcullis.core.behaviour import RiskLevel
from portcullis.core.limits import Ceiling, Dimension, Limit, Requests


def limits(agent: str, role: str, old: tuple[Limit, ...], new: tuple[Limit, ...]) -> Iterator[str]:
    """What limits this agent less than before."""
    after = {one.name: one for one in new}
    for was in old:
        if not _about(was, agent, role):
            continue
        now = after.get(was.name)
        if now is None or not _about(now, agent, role):
            yield f"limit {was.name} is gone"
            continue
        for what in _less(was, now):
            yield f"limit {was.name}: {what}"


def _about(limit: Limit, agent: str, role: str) -> bool:
    """Whether any call of this agent's counts for a limit."""
    said = ((Dimension.AGENT, agent), (Dimension.ROLE, role))
    return all(limit.named(dimension, value) for dimension, value in said)


def _less(was: Limit, now: Limit) -> Iterator[str]:
    others = (Dimension.AGENT, Dimension.ROLE)
    for dimension, globs in now.where.items():
        if dimension not in others and not _wider(was.where.get(dimension), globs):
            yield f"it is for other calls ({dimension})"
    if set(was.per) != set(now.per) and now.per != (Dimension.ALL,):
        yield f"per {', '.join(was.per)} -> {', '.join(now.per)}"
    yield from _requests(was.requests, now.requests)
    for ceiling in was.ceilings:
        yield from _ceiling(ceiling, now)
    for name in ("concurrency", "session_seconds", "burn"):
        had, has = getattr(was, name), getattr(now, name)
        if had is not None and (has is None or has > had):
            yield f"{name} {had} -> {'none' if has is None else has}"
    for level in RiskLevel:
        if now.factor(level) > was.factor(level):
            yield f"at risk {level} {was.factor(level):g} -> {now.factor(level):g}"


def _requests(before: Requests | None, after: Requests | None) -> Iterator[str]:
    if before is None:
        return
    if after is None:
        yield "requests are not limited"
    elif after.count * before.seconds > before.count * after.seconds:
        yield f"requests {before.count}/{before.seconds} s -> {after.count}/{after.seconds} s"
    elif after.burst > before.burst:
        yield f"burst {before.burst} -> {after.burst}"


def _ceiling(was: Ceiling, now: Limit) -> Iterator[str]:
    same = [one for one in now.ceilings if (one.measure, one.window) == (was.measure, was.window)]
    name = f"{was.measure} per {was.window}"
    if not same:
        yield f"{name} is not limited"
    elif same[0].amount > was.amount:
        yield f"{name} {was.amount} -> {same[0].amount}"


def _wider(old: tuple[str, ...] | None, new: tuple[str, ...]) -> bool:
    """Whether all that the old globs are for, the new are for too, as far as that can be told."""
    return "*" in new or (old is not None and set(old) <= set(new))

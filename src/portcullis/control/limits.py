"""What is left of limits, for whom, and until when: for operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote

import msgspec

from portcullis.core.cursor import cursor_of, key_of
from portcullis.core.desk import MOST
from portcullis.core.errors import Problem
from portcullis.core.limit_ports import Counter
from portcullis.core.limits import MICROS, Limit, Used
from portcullis.core.ports import Clock
from portcullis.oversight.limits import BURN

_ROUNDS: Final = 20
_decoder: Final = msgspec.json.Decoder(tuple[str])


class Rules(Protocol):
    """The limits of the policy in force."""

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitParts:
    """What counts, the policy in force, and what stands for a user's name."""

    counter: Counter
    book: Rules
    clock: Clock
    mask: Callable[[str], str]


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """One count: of which limit, for whom, and what is left of it.

    ``used`` and ``ceiling`` are in the measure's unit, of cost in millionths of a US dollar.
    A limit that policy has no more has ``ceiling`` 0.
    """

    limit: str
    measure: str
    window: str
    whose: dict[str, str]
    used: int
    ceiling: int
    left: int
    resets_at: float


class LeftPage(msgspec.Struct, frozen=True, kw_only=True):
    """Counts by limit; ``following`` is the next page's cursor, empty at the end."""

    limits: tuple[Left, ...]
    following: str


class Limits:
    """Reads for operators. Every page has at most ``MOST`` entries."""

    def __init__(self, parts: LimitParts) -> None:
        self._parts = parts

    async def page(
        self, *, limit: str = "", agent: str = "", user: str = "", cursor: str = "", most: int = 50
    ) -> LeftPage:
        """What is counted, of one limit, agent or user, or of all.

        A page looks at a bounded number of counts: it may be short, or empty, and not the last.
        Raises Problem PC3051 for a cursor that is none of ours, PC3079 for an unknown limit, PC3073
        when nothing can be read.
        """
        most = max(1, min(most, MOST))
        if limit and not any(one.name == limit for one in self._parts.book.limits):
            raise Problem("PC3079", "policy has no limit of this name")
        wanted = {"agent": agent, "user": self._parts.mask(user) if user else ""}
        wanted = {name: value for name, value in wanted.items() if value}
        known = key_of(cursor, _decoder)
        after = known[0] if known else (f"{limit}|" if limit else "")
        found: list[Left] = []
        for _ in range(_ROUNDS):
            page = await self._parts.counter.page(after, most)
            more = len(page) == most
            for used in page:
                after = used.key
                one = self._left(used)
                if limit and one.limit != limit:
                    return LeftPage(limits=tuple(found), following="")
                if one.measure == BURN:  # past all of them: owners begin with a letter
                    after, more = f"{one.limit}|{BURN}.{one.window}|~", True
                    break
                if wanted.items() <= one.whose.items():
                    found.append(one)
                if len(found) == most:
                    return LeftPage(limits=tuple(found), following=cursor_of(after))
            if not more:
                return LeftPage(limits=tuple(found), following="")
        return LeftPage(limits=tuple(found), following=cursor_of(after))

    async def of_session(self, session: str) -> tuple[Left, ...]:
        """What is counted for one session alone."""
        found: list[Left] = []
        for limit in self._parts.book.limits:
            cursor = ""
            for _ in range(_ROUNDS):
                page = await self.page(limit=limit.name, cursor=cursor, most=MOST)
                found += [one for one in page.limits if one.whose.get("session") == session]
                cursor = page.following
                if not cursor:
                    break
        return tuple(found)

    def _left(self, used: Used) -> Left:
        name, what, owner, _ = [*used.key.split("|"), "", "", ""][:4]
        measure, _, window = what.partition(".")
        rule = next((one for one in self._parts.book.limits if one.name == name), None)
        pairs = (part.partition("=") for part in owner.split("&"))
        whose = {key: unquote(value) for key, equals, value in pairs if equals}
        value, ceiling = used.value, _ceiling(rule, measure, window)
        resets_at = used.ends_at
        if used.kind == "rate":
            value = 0
            if rule is not None and rule.requests is not None:
                asked = rule.requests
                ahead = used.value / MICROS - self._parts.clock.now()
                value = max(-int(-ahead * asked.count // asked.seconds), 0)
                window = f"{asked.seconds} s"
        return Left(
            limit=name,
            measure=measure,
            window=window,
            whose=whose,
            used=value,
            ceiling=ceiling,
            left=max(ceiling - value, 0),
            resets_at=resets_at,
        )


def _ceiling(limit: Limit | None, measure: str, window: str) -> int:
    if limit is None:
        return 0
    if measure == "requests":
        return limit.requests.burst if limit.requests else 0
    if measure == "concurrency":
        return limit.concurrency or 0
    return next(
        (
            one.amount
            for one in limit.ceilings
            if (one.measure.value, one.window.value) == (measure, window)
        ),
        0,
    )

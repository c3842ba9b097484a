"""Budgets: what is counted for whom, what is left of it, until when, and how fast it goes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portcullis.control.console.addresses import linked
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.render import Pages
from portcullis.control.console.text import visible
from portcullis.control.limits import Left, LimitParts, Limits
from portcullis.core.limits import MICROS, Limit, Window, span
from portcullis.oversight.limits import burn_key, even, named

FILTERS: Final = frozenset({"limit", "agent", "user"})
_PAGE: Final = 50
_WHOLE: Final = 100
_HOUR: Final = 3600
_COST: Final = "cost"
_BYTES: Final = "bytes"
_SLOTS: Final = "concurrency"


@dataclass(frozen=True, slots=True)
class Row:
    """One count, in words.

    ``part`` is how many hundredths are used, ``pace`` how many times the even pace of the month's
    budget the last hour was spent at, "" where no limit is set to that. ``resets_at`` is 0 for
    what is free again as soon as a call ends.
    """

    limit: str
    what: str
    whose: tuple[tuple[str, str], ...]
    used: str
    left: str
    ceiling: str
    part: int
    pace: str
    burns: bool
    resets_at: float

    @classmethod
    def of(cls, one: Left, pace: float | None, rule: Limit | None) -> Row:
        """The row of a count."""
        most = rule.burn if rule is not None else None
        return cls(
            limit=visible(one.limit),
            what=f"{one.measure} / {one.window}" if one.window else one.measure,
            whose=tuple((name, visible(value)) for name, value in one.whose.items()),
            used=_amount(one.measure, one.used),
            left=_amount(one.measure, one.left),
            ceiling=_amount(one.measure, one.ceiling),
            part=min(_WHOLE, one.used * _WHOLE // one.ceiling) if one.ceiling else _WHOLE,
            pace="" if pace is None else f"{pace:.1f} of {most:g} times",
            burns=pace is not None and most is not None and pace > most,
            resets_at=0.0 if one.measure == _SLOTS else one.resets_at,
        )


class Paces:
    """How fast money goes, of limits that say how fast it may."""

    def __init__(self, parts: LimitParts) -> None:
        self._parts = parts

    def rule(self, name: str) -> Limit | None:
        """The limit of this name in the policy in force."""
        return next((one for one in self._parts.book.limits if one.name == name), None)

    async def pace(self, one: Left) -> float | None:
        """How many times the even pace of its month; None where the limit does not say ``burn``."""
        rule = self.rule(one.limit)
        monthly = (one.measure, one.window) == (_COST, Window.MONTH)
        if rule is None or rule.burn is None or not monthly:
            return None
        now = self._parts.clock.now()
        start, _ = span(Window.HOUR, now)
        owner = "&".join(
            f"{each}={named(one.whose[each])}" if each in one.whose else each.value
            for each in rule.per
        )
        keys = [burn_key(rule, owner, at) for at in (start - _HOUR, start)]
        before, within = await self._parts.counter.read(keys)
        last: float = within + before * max(1 - (now - start) / _HOUR, 0.0)
        return last / max(even(rule, now), 1e-9)


def routes(doors: Doors, pages: Pages, parts: LimitParts) -> list[Route]:
    """The page."""
    limits, paces = Limits(parts), Paces(parts)

    async def budgets(request: Request, visitor: Visitor) -> Response:
        query = request.query_params
        given = {name: query[name] for name in sorted(FILTERS) if query.get(name)}
        cursor = query.get("cursor", "")
        found = await limits.page(**given, cursor=cursor, most=_PAGE)
        rates = await asyncio.gather(*map(paces.pace, found.limits))
        return pages.render(
            request,
            visitor,
            "limits.html",
            rows=[
                Row.of(one, rate, paces.rule(one.limit))
                for one, rate in zip(found.limits, rates, strict=True)
            ],
            names=sorted({one.name for one in parts.book.limits}),
            given=given,
            cursor=cursor,
            first=linked(given),
            following=linked(given, cursor=found.following) if found.following else "",
        )

    return [doors.page("/limits", budgets, query=FILTERS | {"cursor"})]


def _amount(measure: str, number: int) -> str:
    if measure == _COST:
        return f"{number / MICROS:,.2f} USD".replace(",", " ")
    text = f"{number:,}".replace(",", " ")
    return f"{text} bytes" if measure == _BYTES else text

"""What calls want of the limits in force: worked out once for calls that are alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from portcullis.checks.limits_run import Book
from portcullis.core.behaviour import RiskLevels
from portcullis.core.call import Call, Context
from portcullis.core.limits import Limit
from portcullis.oversight import limits as rules
from portcullis.oversight.limits import Planned, Subject

_REMEMBERED: Final = 4096

Met: TypeAlias = tuple[tuple[Limit, tuple[Subject, ...]], ...]
"""The limits that a call meets, each with those for whom."""
_Key: TypeAlias = tuple[object, ...]


class Plans:
    """Of at most ``_REMEMBERED`` kinds of calls, and anew with each policy.

    ``mask`` makes of a user's name what may stand in counts.
    """

    def __init__(self, book: Book, levels: RiskLevels, mask: Callable[[str], str]) -> None:
        self._book = book
        self._levels = levels
        self._mask = mask
        self._digest = ""
        self._met: dict[_Key, Met] = {}
        self._plans: dict[_Key, tuple[float, tuple[float, ...], tuple[Planned, ...]]] = {}

    def met(self, call: Call, context: Context) -> Met:
        """The limits that a call meets."""
        book, session = self._book, context.session
        if book.digest != self._digest or len(self._met) > _REMEMBERED:
            self._digest = book.digest
            self._met, self._plans = {}, {}
        if not book.limits:
            return ()
        key = _key(call, context)
        known = self._met.get(key)
        if known is None:
            user = session.user if session else ""
            subjects = rules.subjects(call, context, book.role_of, self._mask)
            found = (
                (limit, tuple(one for one in subjects if rules.meets(limit, one, call, user)))
                for limit in book.limits
            )
            known = self._met[key] = tuple((limit, some) for limit, some in found if some)
        return known

    def plan(self, call: Call, context: Context, met: Met, now: float) -> tuple[Planned, ...]:
        """What a call wants, without how much: the same until a window ends, or a risk changes."""
        factors = tuple(
            self._factor(limit, subject) for limit, subjects in met for subject in subjects
        )
        key = _key(call, context)
        known = self._plans.get(key)
        if known is not None and now < known[0] and known[1] == factors:
            return known[2]
        plan = tuple(
            planned
            for limit, subjects in met
            for subject in rules.each(limit, subjects)
            for planned in rules.planned(limit, subject, call, self._factor(limit, subject), now)
        )
        self._plans[key] = (rules.lasts(plan, now), factors, plan)
        return plan

    def _factor(self, limit: Limit, subject: Subject) -> float:
        return limit.factor(self._levels.level(subject.agent)) if limit.risk else 1.0


def _key(call: Call, context: Context) -> _Key:
    principal, session = context.principal, context.session
    asked = (call.action, call.server, call.name)
    return (principal.id, principal.chain, *asked, session.id if session else "")

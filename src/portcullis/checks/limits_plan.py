"""What calls want of the limits in force: worked out once for calls that are alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from portcullis.checks.limits_run import Book, growing
from portcullis.core.behaviour import RiskLevels
from portcullis.core.call import Action, Call, Context
from portcullis.core.incident_ports import Probations
from portcullis.core.limits import Limit
from portcullis.oversight import limits as rules
from portcullis.oversight.limits import Planned, Subject

_REMEMBERED: Final = 4096
_LONGEST: Final = 128
_NAMED: Final = frozenset({Action.TOOL, Action.MODEL})

Met: TypeAlias = tuple[tuple[Limit, tuple[Subject, ...]], ...]
"""The limits that a call meets, each with those for whom."""
_Key: TypeAlias = tuple[object, ...]


class Found(NamedTuple):
    """The limits that a call meets, and by what calls like it are known, if by anything.

    ``costs`` is the first that is of cost; ``grows``: one is of what grows with an answer.
    """

    met: Met = ()
    key: _Key | None = None
    costs: Limit | None = None
    grows: bool = False


_NOTHING: Final = Found()


class Plans:
    """Of at most ``_REMEMBERED`` kinds of calls, and anew with each policy.

    ``mask`` makes of a user's name what may stand in counts; ``probations`` says who has less of
    each limit, whatever his risk.
    """

    def __init__(
        self,
        book: Book,
        levels: RiskLevels,
        mask: Callable[[str], str],
        probations: Probations | None = None,
    ) -> None:
        self._book = book
        self._levels = levels
        self._probations = probations
        self._mask = mask
        self._digest = ""
        self._met: dict[_Key, Found] = {}
        self._plans: dict[_Key, tuple[float, tuple[float, ...], tuple[Planned, ...]]] = {}

    def met(self, call: Call, context: Context) -> Found:
        """The limits that a call meets."""
        book, session = self._book, context.session
        if book.digest != self._digest or len(self._met) > _REMEMBERED:
            self._digest = book.digest
            self._met, self._plans = {}, {}
        if not book.limits:
            return _NOTHING
        key = _key(call, context)
        known = self._met.get(key) if key else None
        if known is None:
            user = session.user if session else ""
            subjects = rules.subjects(call, context, book.role_of, self._mask)
            found = (
                (limit, tuple(one for one in subjects if rules.meets(limit, one, call, user)))
                for limit in book.limits
            )
            met = tuple((limit, some) for limit, some in found if some)
            costs = next((limit for limit, _ in met if limit.costs), None)
            known = Found(met, key, costs, any(growing(limit) for limit, _ in met))
            if key:
                self._met[key] = known
        return known

    def plan(self, call: Call, found: Found, now: float) -> tuple[Planned, ...]:
        """What a call wants, without how much: the same until a window ends, or a risk changes."""
        met, key = found.met, found.key
        factors = tuple(
            [self.factor(limit, subject.agent) for limit, subjects in met for subject in subjects]
        )
        known = self._plans.get(key) if key else None
        if known is not None and now < known[0] and known[1] == factors:
            return known[2]
        plan = tuple(
            planned
            for limit, subjects in met
            for subject, agents in rules.each(limit, subjects)
            for planned in rules.planned(
                limit, subject, call, self.factor(limit, subject.agent), now, agents
            )
        )
        if key:
            self._plans[key] = (rules.lasts(plan, now), factors, plan)
        return plan

    def factor(self, limit: Limit, agent: str) -> float:
        """How much of a limit an agent has: by its risk, and by a probation."""
        risk = limit.factor(self._levels.level(agent)) if limit.risk else 1.0
        return risk if self._probations is None else risk * self._probations.factor(agent)


def _key(call: Call, context: Context) -> _Key | None:
    """What calls have in common that are alike; None for one whose name is too long to be kept.

    What a resource or a prompt is called makes no difference to any limit.
    """
    principal, session = context.principal, context.session
    name = call.name if call.action in _NAMED else ""
    if len(name) > _LONGEST:
        return None
    asked = (call.action, call.server, name)
    return (principal.id, principal.chain, *asked, session.id if session else "")

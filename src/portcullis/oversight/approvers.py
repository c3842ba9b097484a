"""Who may approve what: the rules under ``approvals.rules``, asked about one call.

What cannot be known about a call is taken to be what the rule speaks of: a rule asks for more,
never for less, so that then it is better to ask too few people than too many.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from portcullis.config.approvers import ApproverRule, Hours
from portcullis.core.approval import Approval, Shown
from portcullis.core.errors import Problem
from portcullis.core.names import HIDDEN
from portcullis.oversight.naming import MOST_NAMED
from portcullis.policy.windows import DAYS, Window


class Ruled(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that speaks of a call: whom it names, and whether ``you``, who asked, are of them."""

    rule: str
    operators: tuple[str, ...]
    teams: tuple[str, ...]
    you: bool

    def __str__(self) -> str:
        """Who may, for people."""
        who = [*self.operators, *(f"the team {team}" for team in self.teams)]
        return ", ".join(who) or "nobody"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules are asked about.

    ``owners`` are who answers for the agents of the call, None in the place of one that nobody
    registered. ``now`` is in seconds since the epoch.
    """

    approval: Approval
    shown: Shown
    owners: tuple[str | None, ...]
    environment: str
    now: float


def ruled(
    rules: Iterable[ApproverRule],
    teams: Mapping[str, Iterable[str]],
    asked: Asked,
    known: Iterable[str],
) -> tuple[Ruled, ...]:
    """The rules that speak of a call, and whether whoever is ``known`` by these names qualifies.

    Names are compared without case, and whole: they give a right.
    """
    own = frozenset(map(_folded, known))
    found = []
    for rule in rules:
        if not speaks(rule, asked):
            continue
        people = {
            *(rule.operators or ()),
            *(one for team in rule.teams or () for one in teams[team]),
        }
        found.append(
            Ruled(
                rule=rule.name,
                operators=rule.operators or (),
                teams=rule.teams or (),
                you=not own.isdisjoint(map(_folded, people)),
            )
        )
    return tuple(found)


def qualified(found: Iterable[Ruled]) -> None:
    """Raise Problem PC3080 when one of the rules does not name the approver; it says who may."""
    for one in found:
        if not one.you:
            detail = f"by the rule {one.rule}, those who may approve this are: {one}"
            raise Problem("PC3080", detail)


def speaks(rule: ApproverRule, asked: Asked) -> bool:
    """Whether all that a rule says holds of a call, as far as it is known."""
    one, shown = asked.approval, asked.shown
    called = f"{one.server}.{one.name}" if one.server else one.name
    cut = one.name == HIDDEN or len(one.name) >= MOST_NAMED
    return (
        (rule.risk is None or str(one.risk) in rule.risk)
        and _matches(rule.calls, (None if cut else called,))
        and _matches(rule.servers, (one.server,))
        and _matches(rule.agents, shown.agents)
        and _matches(rule.owners, asked.owners)
        and (rule.environments is None or asked.environment in rule.environments)
        and (rule.over is None or _over(rule.over, shown.arguments))
        and (rule.during is None or _window(rule.during).open_at(asked.now))
    )


def _matches(patterns: Iterable[str] | None, names: Iterable[str | None]) -> bool:
    """Whether a pattern fits one of the names, or one of them is not known."""
    if patterns is None:
        return True
    fits = [_pattern(pattern) for pattern in patterns]
    return any(name is None or any(fit.fullmatch(_folded(name)) for fit in fits) for name in names)


def _over(bounds: Mapping[str, float], arguments: Mapping[str, Any]) -> bool:
    """Whether an amount is above its bound; what is no number, or not there, may be."""
    return any(not _at_most(_at(arguments, path), bound) for path, bound in bounds.items())


def _at_most(value: Any, bound: float) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and value <= bound  # never of a NaN


def _at(arguments: Mapping[str, Any], path: str) -> Any:
    """The argument of this name, or what stands at the path of names with dots between them."""
    if path in arguments:
        return arguments[path]
    found: Any = arguments
    for step in path.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, _folded(text).split("*"))), re.DOTALL)


def _window(hours: Hours) -> Window:
    return Window(
        name="",
        days=tuple(sorted(DAYS.index(day) for day in hours.days)),
        begin=_minutes(hours.begin),
        end=_minutes(hours.to),
        zone=hours.zone,
    )


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)

"""Who may approve what: the rules under ``approvals.rules``, asked about one call or another thing.

What cannot be known about it is taken to be what the rule speaks of: a rule asks for more,
never for less, so that then it is better to ask too few people than too many.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

from portcullis.config.approvers import ApproverRule, Hours
from portcullis.core.approval import Approval, Shown
from portcullis.core.errors import Problem
from portcullis.core.names import HIDDEN
from portcullis.oversight.naming import MOST_NAMED
from portcullis.policy.windows import DAYS, Window


class Ruled(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that speaks of it: whom it names, and whether ``you``, who asked, are of them."""

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


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What else the rules are asked about: a release of policy, or an incident's reinstatement.

    ``agents`` are those that it is about, and ``owners`` who answers for them; None stands for one
    that nobody knows. ``now`` is in seconds since the epoch.
    """

    kind: Literal["release", "incident"]
    agents: tuple[str | None, ...]
    owners: tuple[str | None, ...]
    environment: str
    now: float


def ruled(
    rules: Iterable[ApproverRule],
    teams: Mapping[str, Iterable[str]],
    asked: Asked | Beside,
    known: Iterable[str],
) -> tuple[Ruled, ...]:
    """The rules that speak of it, and whether whoever is ``known`` by these names qualifies.

    Names are compared without case, and whole: they give a right.
    """
    own = tuple(known)
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
                you=among(own, people),
            )
        )
    return tuple(found)


def answerable(owner: str, teams: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Who answers for what this owner owns, by whole names: a team's members, or else itself.

    Whoever happens to be called as a team is has nothing of it by that.
    """
    own = _folded(owner)
    named = [tuple(team) for name, team in teams.items() if _folded(name) == own]
    return tuple(dict.fromkeys(one for team in named for one in team)) if named else (owner,)


def among(known: Iterable[str], people: Iterable[str]) -> bool:
    """Whether somebody who is ``known`` by these names is one of the people, by a whole name."""
    return not frozenset(map(_folded, known)).isdisjoint(map(_folded, people))


def qualified(found: Iterable[Ruled]) -> tuple[str, ...]:
    """The names of the rules by which somebody may approve, for the record.

    Raises Problem PC3080 when one of them does not name the approver; it says who may.
    """
    found = tuple(found)
    for one in found:
        if not one.you:
            detail = f"by the rule {one.rule}, those who may approve this are: {one}"
            raise Problem("PC3080", detail)
    return tuple(one.rule for one in found)


def speaks(rule: ApproverRule, asked: Asked | Beside) -> bool:
    """Whether all that a rule says holds of what is asked, as far as it is known."""
    if isinstance(asked, Beside):
        return (
            (rule.releases if asked.kind == "release" else rule.incidents)
            and _matches(rule.agents, asked.agents)
            and _matches(rule.owners, asked.owners)
            and _there(rule, asked)
        )
    if not rule.calls_held:
        return False
    one, shown = asked.approval, asked.shown
    called = f"{one.server}.{one.name}" if one.server else one.name
    cut = one.name == HIDDEN or len(one.name) >= MOST_NAMED
    return (
        (rule.risk is None or str(one.risk) in rule.risk)
        and _matches(rule.calls, (None if cut else called,))
        and _matches(rule.servers, (one.server,))
        and _matches(rule.agents, shown.agents)
        and _matches(rule.owners, asked.owners)
        and (rule.over is None or _over(rule.over, shown.arguments))
        and _there(rule, asked)
    )


def _there(rule: ApproverRule, asked: Asked | Beside) -> bool:
    """Whether the place and the time are the rule's."""
    return (rule.environments is None or asked.environment in rule.environments) and (
        rule.during is None or _window(rule.during).open_at(asked.now)
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

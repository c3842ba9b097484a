"""A review of a policy: the four sets joined, and what is found in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from portcullis.policy.model import Agent, Role
from portcullis.policy.source import SourceFile
from portcullis.review.grants import AgentSets, Grant, Known, Report, Tool, Used, by_agent
from portcullis.review.grants_declared import declared, meant_by
from portcullis.review.grants_effective import Effective
from portcullis.review.grants_findings import Looked, findings
from portcullis.review.reach import reach

_DAY: Final = 86_400.0
_EARLY: Final = 30 * _DAY


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What a review goes by: for how many days a grant may lie idle, and a confirmation lasts.

    0 of the latter is as long as the policy says. ``release`` is that of the policy, 0 for none.
    """

    unused_days: int = 90
    certify_days: int = 0
    environment: str = "production"
    release: int = 0


def review(
    files: tuple[SourceFile, ...],
    known: Known,
    now: float,
    asking: Asking | None = None,
) -> Report:
    """Review a policy. Raises Problem PC7002 for one that does not compile. Blocks."""
    asking = asking or Asking()
    effective = Effective(files, asking.environment, now)
    policy, used = effective.policy, by_agent(known.used)
    known = msgspec.structs.replace(known, reach={one.agent: one for one in reach(policy)})
    roles = {role.name.value: role for role in policy.roles}
    idle: dict[str, tuple[Grant, ...]] = {}
    meant = meant_by(policy)

    def granted(role: Role, mine: Sequence[Used] | None) -> tuple[Grant, ...]:
        """Agents of one role that used nothing have the same grants."""
        if mine:
            return declared(role, meant, mine)
        name = role.name.value
        if name not in idle:
            idle[name] = declared(role, meant, mine)
        return idle[name]

    names = {tool.name.value for tool in policy.tools} | (known.offered or frozenset())
    names |= {grant.value for role in policy.roles for grant in role.allowed_tools}
    wanted = frozenset(names)
    agents = tuple(
        _sets(agent, roles[agent.role.value], effective, known, used, wanted, asking, granted)
        for agent in sorted(policy.agents, key=lambda one: one.name.value)
    )
    return Report(
        at=now,
        policy=effective.digest,
        release=asking.release,
        days=asking.unused_days,
        log_from=known.log_from,
        agents=agents,
        findings=findings(Looked(policy, effective, known, agents, now, asking.unused_days)),
    )


def _sets(
    agent: Agent,
    role: Role,
    effective: Effective,
    known: Known,
    used: Mapping[str, Sequence[Used]],
    names: frozenset[str],
    asking: Asking,
    granted: Callable[[Role, Sequence[Used] | None], tuple[Grant, ...]],
) -> AgentSets:
    name = agent.name.value
    mine = tuple(used.get(name, ())) if known.used is not None else None
    uses = {one.target: one for one in mine or () if one.action == "tool"}
    allowed = effective.tools(name, names)
    offered, registered = known.offered, known.registered
    there = None if registered is None else name in registered
    reachable = None
    if offered is not None:
        reachable = tuple(tool for tool in allowed if tool in offered and there is not False)
    confirmed = known.confirmed.get(name)
    return AgentSets(
        agent=name,
        role=role.name.value,
        owner=(registered or {}).get(name, "") or agent.owner,
        rule=agent.name.rule,
        place=agent.name.place.origin,
        declared=granted(role, mine),
        effective=tuple(
            Tool(
                name=tool,
                risk=effective.risk(tool),
                offered=None if offered is None else tool in offered,
                count=uses[tool].count if tool in uses else 0,
                last=uses[tool].last if tool in uses else 0.0,
            )
            for tool in allowed
        ),
        reachable=reachable,
        registered=there,
        used=mine or (),
        expires=agent.expires.text if agent.expires else "",
        due=due(agent, None if confirmed is None else confirmed.at, known, asking.certify_days),
        confirmed_at=0.0 if confirmed is None else confirmed.at,
        confirmed_by="" if confirmed is None else confirmed.by,
        confirmed_release=0 if confirmed is None else confirmed.release,
    )


def due(agent: Agent, confirmed_at: float | None, known: Known, days: int) -> float:
    """When somebody has to have looked at what an agent may, in seconds; 0 for never.

    That is ``review_by``, until a confirmation at most 30 days before; and so many days after each
    confirmation, or after the log began where there was none.
    """
    dates = []
    asked = agent.review_by
    if asked is not None and (confirmed_at is None or confirmed_at < asked.seconds - _EARLY):
        dates.append(float(asked.seconds))
    since = known.log_from if confirmed_at is None else confirmed_at
    if days and since is not None:
        dates.append(since + days * _DAY)
    return min(dates, default=0.0)

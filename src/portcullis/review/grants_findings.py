"""What a review finds in the four sets; kinds, how grave they are and thresholds are data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import msgspec

from portcullis.config.yaml import shipped
from portcullis.policy.model import Agent, Policy
from portcullis.review.grants import RANK, AgentSets, Finding, Grant, Known
from portcullis.review.grants_effective import Effective

_DAY: Final = 86_400.0
_FILE: Final = "grants_findings.yaml"
_MOST_NAMED: Final = 20
"""How many names stand in the text of one finding."""


class _Kind(msgspec.Struct, frozen=True):
    severity: str
    title: str
    advice: str


class Thresholds(msgspec.Struct, frozen=True):
    """From how much on a role is an administrator's."""

    admin_share: float
    admin_tools: int
    admin_kinds: int


class Rules(msgspec.Struct, frozen=True):
    """The kinds of findings, and what they go by."""

    thresholds: Thresholds
    findings: dict[str, _Kind]


@cache
def rules() -> Rules:
    """What ships with the program."""
    text = (resources.files("portcullis.review") / _FILE).read_text(encoding="utf-8")
    return msgspec.convert(shipped(text), Rules)


@dataclass(frozen=True, slots=True)
class Looked:
    """What findings are looked for in. ``days`` is how long a grant may lie idle."""

    policy: Policy
    effective: Effective
    known: Known
    agents: tuple[AgentSets, ...]
    now: float
    days: int


def findings(looked: Looked) -> tuple[Finding, ...]:
    """All of them, the gravest first."""
    found = (
        *_widened(looked),
        *_agents(looked),
        *_grants(looked),
        *_roles(looked),
        *_tools(looked),
        *_beyond(looked),
    )
    return tuple(sorted(found, key=lambda one: (RANK[one.severity], one.kind, one.id)))


def _finding(
    kind: str, subject: str, text: str, agents: Iterable[str] = (), rule: str = "", place: str = ""
) -> Finding:
    known = rules().findings[kind]
    return Finding(
        id=f"{kind}:{subject}",
        kind=kind,
        severity=known.severity,
        title=known.title,
        text=text,
        advice=known.advice,
        agents=tuple(agents),
        rule=rule,
        place=place,
    )


def _widened(looked: Looked) -> Iterator[Finding]:
    sets = {one.agent: one for one in looked.agents}
    for agent, lines in looked.known.widened.items():
        one = sets.get(agent)
        if one is not None:
            text = f"{agent}: {_some(lines)}"
            yield _finding("widened", agent, text, (agent,), one.rule, one.place)


def _agents(looked: Looked) -> Iterator[Finding]:
    written = {agent.name.value: agent for agent in looked.policy.agents}
    for one in looked.agents:
        who, where = (one.agent,), (one.rule, one.place)
        agent = written[one.agent]
        if not one.owner:
            yield _finding("ownerless", one.agent, f"{one.agent} has no owner", who, *where)
        if agent.owner and agent.owner.casefold() != one.owner.casefold():
            text = f"{one.agent}: {agent.owner} by the policy, {one.owner} by the directory"
            yield _finding("owners", one.agent, text, who, *where)
        if one.due and one.due <= looked.now:
            late = int((looked.now - one.due) // _DAY)
            yield _finding("overdue", one.agent, f"{one.agent}: due for {_days(late)}", who, *where)
        reach = looked.known.reach.get(one.agent)
        if reach is not None and reach.trifecta:
            text = f"{one.agent} by role {one.role}"
            yield _finding("trifecta", one.agent, text, who, *where)
        yield from _observed(agent, looked.now)
        if one.registered is False:
            yield _finding("unregistered", one.agent, one.agent, who, *where)
    for name in sorted(set(looked.known.registered or ()) - set(written)):
        yield _finding("unnamed", name, name, (name,))


def _observed(agent: Agent, now: float) -> Iterator[Finding]:
    observe = agent.observe
    if observe is not None and observe.holds(now):
        name = agent.name.value
        text = f"{name} until {observe.until.text}: {observe.reason}"
        yield _finding(
            "observed", name, text, (name,), observe.entry.rule, observe.entry.place.origin
        )


_INDEX: Final = re.compile(r"\[\d+\]")


def key_of(rule: str) -> str:
    """A grant's rule without its number and place: it is the same when lines move."""
    path, _, rest = rule.partition(" ")
    return f"{_INDEX.sub('', path)} {rest.rpartition(' @ ')[0]}"


def _days(count: int) -> str:
    return {0: "less than a day", 1: "1 day"}.get(count, f"{count} days")


def _grants(looked: Looked) -> Iterator[Finding]:
    """Of each written grant once, whichever roles have it and whichever agents have those."""
    holders: dict[str, tuple[Grant, list[AgentSets]]] = {}
    for one in looked.agents:
        for grant in one.declared:
            holders.setdefault(grant.rule, (grant, []))[1].append(one)
    horizon = looked.now - looked.days * _DAY
    told = looked.known.log_from is not None and looked.known.log_from <= horizon
    for rule, (grant, agents) in holders.items():
        names = tuple(sorted(one.agent for one in agents))
        what = f"{grant.kind} {grant.value}"
        where = (rule, grant.place)
        if "*" in grant.value:
            bare = grant.value.strip("*.") == "" or grant.value.partition(".")[2] == "*"
            kind = "bare_wildcard" if bare else "wildcard"
            yield _finding(kind, rule.partition(" ")[0], what, names, *where)
        counts = [item.count for one in agents for item in one.declared if item.rule == rule]
        new = looked.known.then is not None and key_of(rule) not in looked.known.then
        if told and not new and not any(counts) and None not in counts:
            text = f"{what}: no call in {looked.days} days by {_some(names)}"
            yield _finding("unused", rule.partition(" ")[0], text, names, *where)
        offered = looked.known.offered
        if offered is not None and grant.kind == "allowed_tools" and grant.value not in offered:
            servers = {name.partition(".")[0] for name in offered}
            if grant.value.partition(".")[0] in servers:
                yield _finding("unreachable", rule.partition(" ")[0], what, names, *where)


def _roles(looked: Looked) -> Iterator[Finding]:
    """Roles that reach nearly everything, or tools of every class."""
    limits, total = rules().thresholds, len(looked.policy.tools)
    roles = {role.name.value: role for role in looked.policy.roles}
    by_role: dict[str, list[AgentSets]] = {}
    for one in looked.agents:
        by_role.setdefault(one.role, []).append(one)
    for name, agents in by_role.items():
        tools = {tool.name: tool.risk for one in agents for tool in one.effective}
        most = total >= limits.admin_tools and len(tools) >= limits.admin_share * total
        kinds = len(set(tools.values())) >= limits.admin_kinds
        if most or kinds:
            why = f"{len(tools)} of {total} tools" if most else "tools of every class of risk"
            entry = roles[name].name
            names = tuple(sorted(one.agent for one in agents))
            text = f"{name}: {why} ({_some(names)})"
            yield _finding("admin_role", name, text, names, entry.rule, entry.place.origin)


def _tools(looked: Looked) -> Iterator[Finding]:
    listed = {tool.name.value for tool in looked.policy.tools}
    granted: dict[str, list[str]] = {}
    for one in looked.agents:
        for tool in one.effective:
            granted.setdefault(tool.name, []).append(one.agent)
    rule = {tool: grant for one in looked.agents for grant in one.declared for tool in grant.tools}
    for name, agents in sorted(granted.items()):
        if name not in listed:
            grant = rule.get(name)
            where = ("", "") if grant is None else (grant.rule, grant.place)
            text = f"{name}, granted to {_some(agents)}"
            yield _finding("unclassed", name, text, sorted(agents), *where)
    for name in sorted((looked.known.offered or frozenset()) - listed - granted.keys()):
        yield _finding("undescribed", name, name)


def _beyond(looked: Looked) -> Iterator[Finding]:
    """What an agent was allowed within these days and would not be now: the other way of drift."""
    horizon = looked.now - looked.days * _DAY
    for one in looked.agents:
        allowed = {tool.name for tool in one.effective}
        gone = sorted(
            use.target
            for use in one.used
            if use.action == "tool" and use.target not in allowed and use.last >= horizon
        )
        if gone:
            text = f"{one.agent}: {_some(gone)}"
            yield _finding("beyond", one.agent, text, (one.agent,), one.rule, one.place)


def _some(names: Iterable[str]) -> str:
    said = list(names)
    more = f" and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else ""
    return ", ".join(said[:_MOST_NAMED]) + more

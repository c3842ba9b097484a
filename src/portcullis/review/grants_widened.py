"""What each agent may do by a policy and could not by another: its drift, one line each.

``growth`` has tools, classes, bounds and what is reached. Here are the terms of grants, the role's
own bounds, and hand-written Rego. What cannot be told to be stricter counts as wider.
"""

from __future__ import annotations

from collections.abc import Iterator

from portcullis.core.obligation import Obligations
from portcullis.policy.model import Agent, Environments, Grant, Policy, Role, Terms
from portcullis.policy.moments import Moment
from portcullis.policy.windows import Window
from portcullis.review.growth import Growth, growth


def widened(old: Policy, new: Policy) -> dict[str, tuple[str, ...]]:
    """By agent, what it may do now and could not before; agents that gain nothing are not in it."""
    gained = {one.agent: one for one in growth(old, new)}
    before = {agent.name.value: agent for agent in old.agents}
    found = {}
    for agent in sorted(new.agents, key=lambda one: one.name.value):
        name = agent.name.value
        lines = list(_grown(gained[name])) if name in gained else []
        known = before.get(name)
        if known is None:
            lines.insert(0, "the agent is new")
        else:
            lines += _looser(known, agent, old, new)
        if lines:
            found[name] = tuple(dict.fromkeys(lines))
    return found


def _grown(one: Growth) -> Iterator[str]:
    yield from (f"tool {tool}" for tool in one.tools)
    yield from (f"higher class of {tool}" for tool in one.raised)
    yield from (f"ladder {way.writes} -> {way.reads} -> {way.acts}" for way in one.ladders)
    if one.trifecta:
        yield "private data, outsiders' words and effects outside together"
    yield from one.others
    yield from one.weaker


def _looser(was: Agent, now: Agent, old: Policy, new: Policy) -> Iterator[str]:
    if _later(was.expires, now.expires):
        yield f"expires {_said(now.expires)} instead of {_said(was.expires)}"
    if now.observe is not None and (
        was.observe is None or now.observe.until.seconds > was.observe.until.seconds
    ):
        yield f"observed until {now.observe.until.text}"
    before, after = _role(old, was), _role(new, now)
    yield from _bounds(before, after)
    windows = {one.name: one for one in old.windows}, {one.name: one for one in new.windows}
    yield from _grants(before, after, *windows)
    for one in old.handwritten:
        same = next((other for other in new.handwritten if other.name == one.name), None)
        if same is None:
            yield f"hand-written rules {one.name} are gone"
        elif same.file.text != one.file.text:
            yield f"hand-written rules {one.name} are others"


def _role(policy: Policy, agent: Agent) -> Role:
    return next(role for role in policy.roles if role.name.value == agent.role.value)


def _bounds(was: Role, now: Role) -> Iterator[str]:
    if not _narrower_environments(was.environments, now.environments):
        yield "the role holds in more environments"
    if not _owed(was.obligations, now.obligations):
        yield "obligations of the role are fewer, or others"
    old = {} if was.data_access is None else was.data_access.dimensions
    new = {} if now.data_access is None else now.data_access.dimensions
    if was.data_access is not None:
        for name, dimension in new.items():
            known = old.get(name)
            if dimension.any and not (known is not None and known.any):
                yield f"data access to all {name}"
            elif dimension.yes and not (known is not None and known.yes):
                yield f"data access to {name}"
            else:
                values = set() if known is None or known.any else set(known.values)
                paths = set() if known is None else set(known.session)
                more = [str(one) for one in dimension.values if one not in values]
                more += [".".join(one) for one in dimension.session if one not in paths]
                if more and not (known is not None and known.any):
                    yield f"data access to {name} {', '.join(more)}"
        if now.data_access is None:
            yield "data access is no longer limited"
    if was.limit is not None and now.limit is None:
        yield "limits of the role are gone"


def _grants(was: Role, now: Role, old: dict[str, Window], new: dict[str, Window]) -> Iterator[str]:
    known: dict[tuple[str, str], list[Grant]] = {}
    for grant in was.grants():
        known.setdefault(_key(grant), []).append(grant)
    for grant in now.grants():
        before = known.get(_key(grant))
        if before and not any(_within(grant.terms, one.terms, old, new) for one in before):
            kind, value = _key(grant)
            yield f"wider terms of {kind} {value}"


def _key(grant: Grant) -> tuple[str, str]:
    """A grant's kind and what it grants, wherever it stands."""
    return grant.path.partition("[")[0].rpartition(".")[2], grant.value


def _within(now: Terms, was: Terms, old: dict[str, Window], new: dict[str, Window]) -> bool:
    """Whether all that the terms let through now, they did before."""
    return (
        _narrower_environments(was.environments, now.environments)
        and not _later(was.until, now.until)
        and _same_window(was, now, old, new)
        and _same_condition(was, now)
        and _owed(was.obligations, now.obligations)
    )


def _narrower_environments(was: Environments | None, now: Environments | None) -> bool:
    if was is None:
        return True
    return now is not None and set(now.names) <= set(was.names)


def _later(was: Moment | None, now: Moment | None) -> bool:
    """Whether it ends later now."""
    return was is not None and (now is None or now.seconds > was.seconds)


def _same_window(was: Terms, now: Terms, old: dict[str, Window], new: dict[str, Window]) -> bool:
    if was.during is None:
        return True
    if now.during is None or now.during.value != was.during.value:
        return False
    name = was.during.value
    return old[name] == new[name]


def _same_condition(was: Terms, now: Terms) -> bool:
    if was.when is None:
        return True
    return now.when is not None and (
        (was.when.entry.value, was.when.rego) == (now.when.entry.value, now.when.rego)
    )


def _owed(was: Obligations | None, now: Obligations | None) -> bool:
    """Whether at least as much is owed as before."""
    if was is None:
        return True
    return now is not None and (
        set(was.mask) <= set(now.mask)
        and set(was.log) <= set(now.log)
        and set(was.rows) <= set(now.rows)
        and was.approvers <= now.approvers
        and set(was.by_risk) <= set(now.by_risk)
    )


def _said(moment: Moment | None) -> str:
    return "never" if moment is None else moment.entry.value

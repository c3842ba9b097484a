"""What of a policy's terms holds an agent back less than before: grants', dates, written rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from portcullis.core.obligation import Obligations
from portcullis.policy.conditions import Condition
from portcullis.policy.expressions import Several, Tree
from portcullis.policy.model import Agent, Grant, Policy, Role, Terms
from portcullis.policy.windows import Window

_Granted: TypeAlias = dict[tuple[str, str], list[Terms]]


def terms(agent: str, old: Policy, new: Policy) -> Iterator[str]:
    """What an agent of both policies is granted on less, one by one.

    Of two terms that differ, only what is plainly narrower counts as stricter.
    """
    was, now = _agent(old, agent), _agent(new, agent)
    if was.expires is not None and (
        now.expires is None or now.expires.seconds > was.expires.seconds
    ):
        yield "its entry expires later, or not at all"
    before, after = _granted(_role(old, was)), _granted(_role(new, now))
    windows = (_windows(old), _windows(new))
    for name, found in after.items():
        known = before.get(name)
        if known and not all(any(_within(one, than, *windows) for than in known) for one in found):
            yield f"{name[1]} is granted on other terms"
    packages = {one.name: one.file.text for one in new.handwritten}
    for one in old.handwritten:
        if one.name not in packages:
            yield f"the hand-written package {one.name} is gone"
        elif packages[one.name] != one.file.text:
            yield f"the hand-written package {one.name} is another"


def _agent(policy: Policy, name: str) -> Agent:
    return next(agent for agent in policy.agents if agent.name.value == name)


def _role(policy: Policy, agent: Agent) -> Role:
    return next(role for role in policy.roles if role.name.value == agent.role.value)


def _windows(policy: Policy) -> dict[str, Window]:
    return {window.name: window for window in policy.windows}


def _granted(role: Role) -> _Granted:
    """On which terms each thing is granted, by the list that grants it and its name."""
    found: _Granted = {}
    for grant in role.grants():
        found.setdefault((_list(grant), grant.value), []).append(grant.terms)
    return found


def _list(grant: Grant) -> str:
    return grant.path.split(".")[2].partition("[")[0]


def _within(one: Terms, than: Terms, old: dict[str, Window], new: dict[str, Window]) -> bool:
    """Whether ``one`` (of the new policy) holds only where ``than`` (of the old) did."""
    if than.environments is not None and (
        one.environments is None or not set(one.environments.names) <= set(than.environments.names)
    ):
        return False
    if than.until is not None and (one.until is None or one.until.seconds > than.until.seconds):
        return False
    if than.during is not None and (
        one.during is None or old.get(than.during.value) != new.get(one.during.value)
    ):
        return False
    if than.when is not None and (one.when is None or not _asks(one.when, than.when)):
        return False
    return _owes(one.obligations, than.obligations)


def _asks(one: Condition, than: Condition) -> bool:
    """Whether a condition asks all that another does: it is the same, or that and more."""
    if (one.tree, one.rego) == (than.tree, than.rego):
        return True
    more, less = _conjuncts(one.tree), _conjuncts(than.tree)
    return bool(less) and all(part in more for part in less)


def _conjuncts(tree: Tree | None) -> tuple[Tree, ...]:
    """What has to hold together."""
    if isinstance(tree, Several) and tree.word == "and":
        return tuple(part for inner in tree.inner for part in _conjuncts(inner))
    return () if tree is None else (tree,)


def _owes(one: Obligations | None, than: Obligations | None) -> bool:
    """Whether it obliges to no less."""
    if than is None or one == than:
        return True
    return one is not None and (
        set(than.mask) <= set(one.mask)
        and set(than.log) <= set(one.log)
        and than.approvers <= one.approvers
        and set(than.by_risk) <= set(one.by_risk)
    )

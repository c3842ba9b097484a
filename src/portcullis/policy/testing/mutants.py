"""Mutants of a policy: it is changed in one place, which its cases should notice."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final

from portcullis.core.call import RiskClass
from portcullis.policy.grammar import VERBS
from portcullis.policy.link import server_of
from portcullis.policy.testing.mutant import Mutant, dropped, mutant
from portcullis.policy.testing.mutants_bounds import bounds, windows
from portcullis.policy.testing.mutants_data import access, bindings, limits
from portcullis.policy.testing.mutants_terms import conditions, obligations, terms
from portcullis.policy.testing.tree import Edit, Part, Tree, entry_name

_PER_ROLE: Final = 25
"""How many tools a role is given that it does not have, one in each mutant."""
_ROLES: Final = 3
"""How many other roles an agent is given, one in each mutant."""
_DENY: Final = re.compile(r"\bdeny\b")
_RISKS: Final = (RiskClass.READ, RiskClass.MODIFY, RiskClass.EXTERNAL, RiskClass.DELETE)


def mutants(tree: Tree) -> Iterator[Mutant]:
    """All mutants of a policy, the same in the same order for the same files.

    What only other checks than policy's decision look at (inspection, containment, results) is
    left as it is: no case could notice.
    """
    roles = list(tree.section("roles"))
    for agent in tree.section("agents"):
        yield from _agent(tree, agent, [role.name for role in roles])
    named = _named(tree, roles)
    for role in roles:
        yield from _role(tree, role)
        yield from _wider(tree, role, named)
    for window in tree.section("windows"):
        yield from windows(tree, window)
    for tool in tree.section("tools"):
        yield from _tool(tree, tool)
    for denial in tree.denials():
        yield _undenied(tree, denial)


def _undenied(tree: Tree, denial: Part) -> Mutant:
    """The hand-written rule has another name, which nobody asks for."""
    lines = tree.files[denial.file].text.splitlines()
    lines[denial.place.line - 1] = _DENY.sub("undenied", denial.value, count=1)
    return mutant(
        "drop",
        denial,
        f"without {denial.path} @ {denial.place.origin}",
        f"a call that {denial.path} in line {denial.place.line} denies",
        Edit("text", denial.file, (), "\n".join(lines)),
    )


def _agent(tree: Tree, agent: Part, roles: list[str]) -> Iterator[Mutant]:
    name = agent.name
    yield dropped(agent, f"a call of {name}, allowed or denied with its code")
    role = tree.child(agent, "role")
    if role is not None:
        others = [one for one in roles if one != role.value]
        for other in others[:_ROLES]:
            yield mutant(
                "swap",
                role,
                f"{name} has the role {other} instead of {role.value}",
                f"a call of {name} that {role.value} and {other} decide differently",
                Edit("set", role.file, role.steps, other),
            )
    expires = tree.child(agent, "expires")
    if expires is not None:
        yield dropped(expires, f"a call of {name} after {expires.value} that is denied")


def _role(tree: Tree, role: Part) -> Iterator[Mutant]:
    for grant in tree.grants(role):
        name = entry_name(grant.value)
        yield dropped(grant, f"an allowed call that {name} grants to {role.name}")
        yield from terms(tree, grant, f"{role.name}'s {name}")
        yield from conditions(tree, grant, f"{role.name}'s {name}")
    for tool in tree.below(tree.child(role, "allowed_tools")):
        yield from _flip(tree, role, tool, "denied_tools")
    for tool in tree.below(tree.child(role, "denied_tools")):
        name = entry_name(tool.value)
        needs = f"a call of {name} as {role.name} that expects PC3002"
        yield dropped(tool, needs)
        if not name.endswith(".*"):
            yield from _flip(tree, role, tool, "allowed_tools")
    for permission in tree.below(tree.child(role, "permissions")):
        yield from _raised(tree, role, permission)
    for parent in tree.below(tree.child(role, "inherits")):
        yield dropped(parent, f"a call that {role.name} may make because {parent.value} may")
    yield from conditions(tree, role, role.name)
    yield from obligations(tree, role, role.name)
    yield from limits(tree, role)
    yield from access(tree, role)


def _flip(tree: Tree, role: Part, tool: Part, to: str) -> Iterator[Mutant]:
    """A tool goes from one list of the role to the other."""
    name = entry_name(tool.value)
    steps = (*role.steps, to)
    listed = tree.child(role, to)
    edits = [Edit("drop", tool.file, tool.steps)]
    if listed is None:
        edits.append(Edit("set", tool.file, steps, [name]))
    else:
        edits.append(Edit("add", tool.file, steps, name))
    allowed = to == "denied_tools"
    yield mutant(
        "flip",
        tool,
        f"{name} goes to {to} of {role.name}",
        f"{'an allowed' if allowed else 'a denied'} call of {name} as {role.name}",
        *edits,
    )


def _raised(tree: Tree, role: Part, permission: Part) -> Iterator[Mutant]:
    """The role gets the next verb on the same resource that some tool has."""
    value = permission.value
    verb = next((key for key in VERBS if isinstance(value, dict) and key in value), None)
    if verb is None:
        return
    resource = value[verb]
    there = {
        tool.value.get("verb")
        for tool in tree.section("tools")
        if isinstance(tool.value, dict) and tool.value.get("resource") == resource
    }
    for higher in VERBS[VERBS.index(verb) + 1 :]:
        if higher in there:
            yield mutant(
                "raise",
                permission,
                f"{role.name} may also {higher} {resource}",
                f"a denied call of a tool to {higher} {resource} as {role.name}",
                Edit("add", role.file, (*role.steps, "permissions"), {higher: resource}),
            )
            return


def _wider(tree: Tree, role: Part, named: dict[str, tuple[str, str]]) -> Iterator[Mutant]:
    """The role gets a tool that it neither has nor denies."""
    own = _family(tree, role)
    granted = {entry_name(one.value) for part in own for one in tree.grants(part)}
    denied = {
        entry_name(one.value)
        for part in own
        for one in tree.below(tree.child(part, "denied_tools"))
    }
    missing = [
        name
        for name, (verb, resource) in named.items()
        if name not in granted | denied
        and f"{verb}:{resource}" not in granted
        and f"{server_of(name)}.*" not in denied
    ]
    if len(missing) > _PER_ROLE:
        missing = sorted(missing, key=lambda name: _spread(f"{role.name} {name}"))[:_PER_ROLE]
    listed = tree.child(role, "allowed_tools")
    for name in missing:
        steps = (*role.steps, "allowed_tools")
        yield mutant(
            "widen",
            role,
            f"{role.name} may use {name}",
            f"a denied call of {name} as {role.name}, or a list that hides it",
            Edit("set", role.file, steps, [name])
            if listed is None
            else Edit("add", role.file, steps, name),
        )


def _family(tree: Tree, role: Part) -> list[Part]:
    """A role and all those whose grants it has because it inherits them."""
    known = {one.name: one for one in tree.section("roles")}
    found, ahead = {role.name: role}, [role]
    while ahead:
        parents = tree.below(tree.child(ahead.pop(), "inherits"))
        for name in (str(parent.value) for parent in parents):
            if name in known and name not in found:
                found[name] = known[name]
                ahead.append(known[name])
    return list(found.values())


def _named(tree: Tree, roles: list[Part]) -> dict[str, tuple[str, str]]:
    """Every tool that the policy names, with its verb and resource."""
    found = {
        tool.name: (str(tool.value.get("verb", "")), str(tool.value.get("resource", "")))
        for tool in tree.section("tools")
        if isinstance(tool.value, dict)
    }
    for role in roles:
        for key in ("allowed_tools", "denied_tools"):
            for tool in tree.below(tree.child(role, key)):
                name = entry_name(tool.value)
                if not name.endswith(".*"):
                    found.setdefault(name, ("", ""))
    return found


def _tool(tree: Tree, tool: Part) -> Iterator[Mutant]:
    yield from _lower(tree, tool)
    yield from bounds(tree, tool)
    yield from bindings(tree, tool)
    yield from obligations(tree, tool, tool.name)


def _lower(tree: Tree, tool: Part) -> Iterator[Mutant]:
    risk = tree.child(tool, "risk")
    stands: Any = RiskClass.DELETE if risk is None else risk.value
    if stands not in _RISKS[1:]:
        return
    lower = _RISKS[_RISKS.index(stands) - 1]
    yield mutant(
        "lower",
        risk or tool,
        f"{tool.name} is of the class {lower} instead of {stands}",
        f"a call of {tool.name} that expects `risk: {stands}`",
        Edit("set", tool.file, (*tool.steps, "risk"), lower.value),
    )


def _spread(text: str) -> bytes:
    """An order that depends on nothing but the text."""
    return hashlib.sha256(text.encode()).digest()

"""Which agents a change of policy is about: those of which anything that is said is another.

Wider or narrower makes no difference here. What is said for all agents together (limits, windows,
what is inspected, hand-written Rego) is about all of them when it changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from portcullis.catalogue.schema import fault
from portcullis.core.limits import Limit
from portcullis.policy.grammar import parse
from portcullis.policy.handwritten import Handwritten
from portcullis.policy.model import Agent, Policy, Role, Tool
from portcullis.policy.source import SourceFile
from portcullis.policy.yaml import Entry

_EACH: Final = frozenset({"agents", "roles", "tools"})
"""The parts of a policy that are not about all of its agents."""


def touched(old: tuple[SourceFile, ...], new: tuple[SourceFile, ...]) -> dict[str, tuple[str, ...]]:
    """The agents that a change is about, each with who answers for it by the two policies.

    Raises Problem PC7002 where one of the two is no policy. Blocks.
    """
    was, now = parse(old, fault), parse(new, fault)
    before, after = _said(was), _said(now)
    names = sorted({*before, *after})
    if _common(was) == _common(now):
        other = _others(was, now)
        names = [
            name
            for name in names
            if before.get(name) != after.get(name)
            or any(_reaches(policy, name, other) for policy in (was, now))
        ]
    return {name: tuple(_owners(name, (was, now))) for name in names}


def _said(policy: Policy) -> dict[str, Any]:
    """What each agent's entry says, and its role."""
    roles = {role.name.value: _plain(role) for role in policy.roles}
    return {one.name.value: (_plain(one), roles[one.role.value]) for one in policy.agents}


def _common(policy: Policy) -> Any:
    fields = (field.name for field in dataclasses.fields(policy))
    return [_plain(getattr(policy, name)) for name in fields if name not in _EACH]


def _others(was: Policy, now: Policy) -> tuple[Tool, ...]:
    """The tools that mean something else than they did, as they were and as they are."""
    before, after = ({tool.name.value: tool for tool in one.tools} for one in (was, now))
    names = sorted({*before, *after})
    pairs = [(before.get(name), after.get(name)) for name in names]
    return tuple(
        tool
        for pair in pairs
        if _plain(pair[0]) != _plain(pair[1])
        for tool in pair
        if tool is not None
    )


def _reaches(policy: Policy, agent: str, tools: Iterable[Tool]) -> bool:
    """Whether an agent is granted one of the tools, or may be."""
    known: Agent | None = next((one for one in policy.agents if one.name.value == agent), None)
    if known is None:
        return False
    role: Role = next(one for one in policy.roles if one.name.value == known.role.value)
    verbs = {(one.verb, one.resource) for one in role.permissions}
    named = {entry.value for entry in role.allowed_tools}
    return any(
        known.observe is not None or (tool.verb, tool.resource) in verbs or tool.name.value in named
        for tool in tools
    )


def _owners(agent: str, policies: Iterable[Policy]) -> Iterator[str]:
    found = (one.owner for policy in policies for one in policy.agents if one.name.value == agent)
    return iter(dict.fromkeys(filter(None, found)))


def _plain(said: Any) -> Any:
    """Something of a policy without the places at which it stands: equal where the same is said."""
    match said:
        case Handwritten():
            found: Any = said.name, said.file.text
        case Limit():
            found = {**msgspec.structs.asdict(said), "place": ""}
        case Entry():
            found = _fields(said, frozenset({"place", "path"}))
        case msgspec.Struct():
            found = {name: _plain(getattr(said, name)) for name in said.__struct_fields__}
        case Mapping():
            found = {(type(key), key): _plain(value) for key, value in said.items()}
        case list() | tuple():
            found = [_plain(one) for one in said]
        case _ if dataclasses.is_dataclass(said):
            found = type(said).__name__, _fields(said, frozenset())
        case _:
            found = type(said).__name__, said  # to Python 1 is True, and to policy it is not
    return found


def _fields(said: Any, without: frozenset[str]) -> dict[str, Any]:
    fields = (one.name for one in dataclasses.fields(said) if one.name not in without)
    return {name: _plain(getattr(said, name)) for name in fields}

"""What an agent could do with all it is granted together, from the policy alone.

Three things make an agent that was taken over dangerous: it reads something private, it reads what
outsiders wrote, and it has an effect outside (the "lethal trifecta"). A *ladder* is a way from a
tool of a low class to an effect of a higher one: what the first writes, another reads and calls
trusted, and the third goes by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

import msgspec

from portcullis.core.call import RiskClass
from portcullis.core.containment import LEVELS, RISKS, ArgumentRole, Confidentiality
from portcullis.policy.egress import described
from portcullis.policy.model import Policy, Role, Tool
from portcullis.policy.yaml import Entry

_PRIVATE: Final = LEVELS[Confidentiality.CONFIDENTIAL]
_READS: Final = RISKS[RiskClass.READ]
_OUTSIDE: Final = RISKS[RiskClass.EXTERNAL]
_OUT: Final = ("feature", "request", "egress")
"""What else leads out, and brings in what nobody vouches for."""
_READ: Final = ("resource", "prompt")
"""What else is read; what a result of theirs is, nobody says."""


class Ladder(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """``writes`` puts a value where ``reads`` takes it from as trusted for ``role``.

    ``acts`` goes by it, and is of the higher class ``risk``.
    """

    writes: str
    reads: str
    role: str
    acts: str
    risk: str


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent can reach; tools are qualified.

    One that the catalogue does not describe counts as everything: private, written by outsiders,
    and with an effect outside. ``others`` is what else the role grants, each with its kind before
    its name (``resource crm.notes://*``): a resource and a prompt count as private and untrusted,
    what a server may ask of the agent and a host of the network as untrusted and a way out, what a
    provider runs by itself
    as everything, a model as nothing.
    """

    agent: str
    role: str
    tools: tuple[str, ...]
    private: tuple[str, ...]
    untrusted: tuple[str, ...]
    outside: tuple[str, ...]
    undescribed: tuple[str, ...]
    ladders: tuple[Ladder, ...]
    others: tuple[str, ...] = ()

    @property
    def trifecta(self) -> bool:
        """Whether private data, untrusted content and an outside effect come together."""
        return bool(self.private and self.untrusted and self.outside)


def reach(policy: Policy) -> tuple[Reach, ...]:
    """What each agent of a policy can reach, by name."""
    roles = {role.name.value: role for role in policy.roles}
    tools = {tool.name.value: tool for tool in policy.tools}
    held = {agent.role.value for agent in policy.agents}
    known = {name: _reach(role, tools) for name, role in roles.items() if name in held}
    return tuple(
        msgspec.structs.replace(known[agent.role.value], agent=agent.name.value)
        for agent in sorted(policy.agents, key=lambda one: one.name.value)
    )


def _reach(role: Role, tools: dict[str, Tool]) -> Reach:
    names = tuple(sorted(_granted(role, tools.values())))
    known = [tools[name] for name in names if name in tools]
    undescribed = tuple(name for name in names if name not in tools or not _described(tools[name]))
    others = {kind: tuple(_named(kind, entries)) for kind, entries in _others(role).items()}

    def those(wanted: Iterable[Tool], *kinds: str) -> tuple[str, ...]:
        named = {name for kind in kinds for name in others[kind]}
        return tuple(sorted({tool.name.value for tool in wanted} | set(undescribed) | named))

    return Reach(
        agent="",
        role=role.name.value,
        tools=names,
        private=those((tool for tool in known if _private(tool)), *_READ, "feature"),
        untrusted=those((t for t in known if _untrusted(t)), *_READ, *_OUT),
        outside=those((tool for tool in known if _acts_outside(tool)), *_OUT),
        undescribed=undescribed,
        ladders=tuple(sorted(set(_ladders(known)))),
        others=tuple(sorted(name for names in others.values() for name in names)),
    )


def _others(role: Role) -> dict[str, tuple[Entry, ...]]:
    """What a role grants that is no tool, by its kind."""
    return {
        "resource": role.allowed_resources,
        "prompt": role.allowed_prompts,
        "model": role.models,
        "feature": role.provider_features,
        "request": role.server_requests,
        "egress": tuple(
            Entry(described(one), one.host.place, one.host.path) for one in role.egress
        ),
    }


def _named(kind: str, entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        yield f"{kind} {entry.value}"


def _granted(role: Role, tools: Collection[Tool]) -> Iterator[str]:
    permitted = {(one.verb, one.resource) for one in role.permissions}
    named = {entry.value for entry in role.allowed_tools}
    named |= {t.name.value for t in tools if t.verb and (t.verb, t.resource) in permitted}
    denied = {entry.value for entry in role.denied_tools}
    for name in named:
        server = name.partition(".")[0]
        if name not in denied and f"{server}.*" not in denied:
            yield name


def _described(tool: Tool) -> bool:
    """What it gives back is said, or it acts and what its arguments are is said."""
    acts = highest(tool) > _READS and bool(tool.roles or tool.rules)
    return acts or bool(tool.results)


def _private(tool: Tool) -> bool:
    return any(LEVELS[field.confidentiality] >= _PRIVATE for field in tool.results)


def _untrusted(tool: Tool) -> bool:
    """Whether something comes back that is trusted for nothing; what no path names is such."""
    whole = any(not field.path and field.trusted for field in tool.results)
    return not whole or any(not field.trusted for field in tool.results)


def highest(tool: Tool) -> int:
    """The rank of the highest class that some arguments make of a tool."""
    return max(RISKS[tool.risk], *(RISKS[rule.risk] for rule in tool.rules), 0)


def _way_out(tool: Tool) -> int:
    """Its highest class, in which what carries data out counts as what goes out."""
    carries = any(one.carries for one in tool.roles.values())
    return max(highest(tool), _OUTSIDE if carries else 0)


def _acts_outside(tool: Tool) -> bool:
    return _way_out(tool) >= _OUTSIDE


def _ladders(tools: Collection[Tool]) -> Iterator[Ladder]:
    """Writer and reader meet on one resource; the reader's trusted role is what the actor needs."""
    for writer in tools:
        if not writer.resource or highest(writer) <= _READS:
            continue
        for reader in tools:
            if reader.resource != writer.resource:
                continue
            for role in {role for field in reader.results for role in field.trusted}:
                for actor in tools:
                    if _way_out(actor) > highest(writer) and _wants(actor, role):
                        yield Ladder(
                            writes=writer.name.value,
                            reads=reader.name.value,
                            role=role.value,
                            acts=actor.name.value,
                            risk=list(RiskClass)[_way_out(actor)].value,
                        )


def _wants(tool: Tool, role: ArgumentRole) -> bool:
    return any(argument.role is role for argument in tool.roles.values())

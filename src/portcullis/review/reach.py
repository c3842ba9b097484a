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
from portcullis.policy.model import Policy, Role, Tool

_PRIVATE: Final = LEVELS[Confidentiality.CONFIDENTIAL]
_READS: Final = RISKS[RiskClass.READ]
_OUTSIDE: Final = RISKS[RiskClass.EXTERNAL]


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
    and with an effect outside.
    """

    agent: str
    role: str
    tools: tuple[str, ...]
    private: tuple[str, ...]
    untrusted: tuple[str, ...]
    outside: tuple[str, ...]
    undescribed: tuple[str, ...]
    ladders: tuple[Ladder, ...]

    @property
    def trifecta(self) -> bool:
        """Whether private data, untrusted content and an outside effect come together."""
        return bool(self.private and self.untrusted and self.outside)


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent gains by a change of policy; ``trifecta``: it had not all three before."""

    agent: str
    tools: tuple[str, ...]
    raised: tuple[str, ...]
    ladders: tuple[Ladder, ...]
    trifecta: bool


def reach(policy: Policy) -> tuple[Reach, ...]:
    """What each agent of a policy can reach, by name."""
    roles = {role.name.value: role for role in policy.roles}
    tools = {tool.name.value: tool for tool in policy.tools}
    return tuple(
        _reach(agent.name.value, roles[agent.role.value], tools)
        for agent in sorted(policy.agents, key=lambda one: one.name.value)
    )


def growth(old: Policy, new: Policy) -> tuple[Growth, ...]:
    """What the change from one policy to another newly allows, agent by agent."""
    before = {one.agent: one for one in reach(old)}
    known = {tool.name.value: _highest(tool) for tool in old.tools}
    risks = {tool.name.value: _highest(tool) for tool in new.tools}
    found = []
    for one in reach(new):
        was = before.get(one.agent)
        had = set(was.tools) if was else set()
        gained = Growth(
            agent=one.agent,
            tools=tuple(tool for tool in one.tools if tool not in had),
            raised=tuple(
                tool
                for tool in one.tools
                if tool in had and risks.get(tool, 0) > known.get(tool, len(RISKS))
            ),
            ladders=tuple(sorted(set(one.ladders) - set(was.ladders if was else ()))),
            trifecta=one.trifecta and not (was and was.trifecta),
        )
        if gained.tools or gained.raised or gained.ladders or gained.trifecta:
            found.append(gained)
    return tuple(found)


def _reach(agent: str, role: Role, tools: dict[str, Tool]) -> Reach:
    names = tuple(sorted(_granted(role, tools.values())))
    known = [tools[name] for name in names if name in tools]
    undescribed = tuple(name for name in names if name not in tools or not _described(tools[name]))

    def those(wanted: Iterable[Tool]) -> tuple[str, ...]:
        return tuple(sorted({tool.name.value for tool in wanted} | set(undescribed)))

    return Reach(
        agent=agent,
        role=role.name.value,
        tools=names,
        private=those(tool for tool in known if _private(tool)),
        untrusted=those(tool for tool in known if _untrusted(tool)),
        outside=those(tool for tool in known if _acts_outside(tool)),
        undescribed=undescribed,
        ladders=tuple(sorted(set(_ladders(known)))),
    )


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
    acts = _highest(tool) > _READS and bool(tool.roles or tool.rules)
    return acts or bool(tool.results)


def _private(tool: Tool) -> bool:
    return any(LEVELS[field.confidentiality] >= _PRIVATE for field in tool.results)


def _untrusted(tool: Tool) -> bool:
    """Whether something comes back that is trusted for nothing; what no path names is such."""
    whole = any(not field.path and field.trusted for field in tool.results)
    return not whole or any(not field.trusted for field in tool.results)


def _highest(tool: Tool) -> int:
    return max(RISKS[tool.risk], *(RISKS[rule.risk] for rule in tool.rules), 0)


def _way_out(tool: Tool) -> int:
    """Its highest class, in which what carries data out counts as what goes out."""
    carries = any(one.carries for one in tool.roles.values())
    return max(_highest(tool), _OUTSIDE if carries else 0)


def _acts_outside(tool: Tool) -> bool:
    return _way_out(tool) >= _OUTSIDE


def _ladders(tools: Collection[Tool]) -> Iterator[Ladder]:
    """Writer and reader meet on one resource; the reader's trusted role is what the actor needs."""
    for writer in tools:
        if not writer.resource or _highest(writer) <= _READS:
            continue
        for reader in tools:
            if reader.resource != writer.resource:
                continue
            for role in {role for field in reader.results for role in field.trusted}:
                for actor in tools:
                    if _way_out(actor) > _highest(writer) and _wants(actor, role):
                        yield Ladder(
                            writes=writer.name.value,
                            reads=reader.name.value,
                            role=role.value,
                            acts=actor.name.value,
                            risk=list(RiskClass)[_way_out(actor)].value,
                        )


def _wants(tool: Tool, role: ArgumentRole) -> bool:
    return any(argument.role is role for argument in tool.roles.values())

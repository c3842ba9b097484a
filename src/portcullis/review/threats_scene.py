"""A deployment as threats are looked for in it: configuration, policy, and what agents reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

from portcullis.config import Config, McpUpstream, ModelUpstream
from portcullis.config.tools import profiles
from portcullis.core.call import RiskClass
from portcullis.core.containment import LEVELS, RISKS, Confidentiality, Containment
from portcullis.core.inspection import Profile
from portcullis.core.inspection_ports import Pin
from portcullis.core.limits import Dimension
from portcullis.core.obligation import joined
from portcullis.policy.containment import contained
from portcullis.policy.inspection import profile
from portcullis.policy.model import Agent, Grant, Policy, Role, Tool
from portcullis.review.reach import Reach, highest, reach

Upstream: TypeAlias = McpUpstream | ModelUpstream

_CLASSES: Final = tuple(RiskClass)


@dataclass(frozen=True, slots=True)
class Seen:
    """An agent: its entry, its role with all that it inherits, and what follows from both.

    ``containment`` is None where nothing is asked about values' sources.
    """

    agent: Agent
    role: Role
    reach: Reach
    profile: Profile
    containment: Containment | None

    @property
    def name(self) -> str:
        """As policy names it."""
        return self.agent.name.value


@dataclass(frozen=True)
class Scene:
    """A deployment. ``pins`` is None when nobody looked which tools are approved.

    ``now`` is in seconds since the epoch.
    """

    config: Config
    policy: Policy
    now: float
    pins: Sequence[Pin] | None = None

    @cached_property
    def tools(self) -> dict[str, Tool]:
        """What the catalogue describes, by qualified name."""
        return {tool.name.value: tool for tool in self.policy.tools}

    @cached_property
    def agents(self) -> tuple[Seen, ...]:
        """All agents that the policy knows now, by name."""
        roles = {role.name.value: role for role in self.policy.roles}
        agents = {agent.name.value: agent for agent in self.policy.agents}
        found = []
        for one in reach(self.policy):
            agent, role = agents[one.agent], roles[one.role]
            if agent.expires is not None and agent.expires.seconds <= self.now:
                continue
            said = contained((self.policy.containment, role.containment))
            kept = profile(self.policy.inspection, role.inspection)
            found.append(Seen(agent, role, one, kept, said))
        return tuple(found)

    @cached_property
    def by_name(self) -> dict[str, Seen]:
        """The same by name."""
        return {one.name: one for one in self.agents}

    @cached_property
    def upstreams(self) -> dict[str, Upstream]:
        """Model endpoints and MCP servers with a URL, by name."""
        found: dict[str, Upstream] = dict(self.config.models)
        found |= {name: one for name, one in self.config.mcp.items() if one.url is not None}
        return {name: found[name] for name in sorted(found)}

    @cached_property
    def processes(self) -> dict[str, str]:
        """What the gate starts, and the profile of its box: ``mcp.NAME``, ``tools.NAME....``."""
        commands = {n: one for n, one in self.config.mcp.items() if one.command is not None}
        return dict(sorted(profiles(commands, self.config.tools)))

    def risk(self, tool: str) -> RiskClass:
        """The highest class that arguments make of a tool; ``delete`` of one that is unknown."""
        known = self.tools.get(tool)
        return RiskClass.DELETE if known is None else _CLASSES[highest(known)]

    def of_class(self, agent: Seen, risk: RiskClass) -> tuple[str, ...]:
        """The tools an agent may use that the catalogue puts in exactly this class at the most."""
        return tuple(
            name for name in agent.reach.tools if name in self.tools and self.risk(name) is risk
        )

    def private(self, agent: Seen) -> Confidentiality:
        """The most confidential that an agent reads, as the catalogue says."""
        levels = [
            field.confidentiality
            for name in agent.reach.tools
            if name in self.tools
            for field in self.tools[name].results
        ]
        if any(name not in self.tools for name in agent.reach.private):
            levels.append(Confidentiality.CONFIDENTIAL)
        return max(levels, key=LEVELS.__getitem__, default=Confidentiality.PUBLIC)

    def worst(self, agent: Seen) -> RiskClass:
        """The highest class of what an agent may do."""
        return max(map(self.risk, agent.reach.tools), key=RISKS.__getitem__, default=RiskClass.READ)

    def people(self, agent: Seen, tool: str) -> int:
        """How many have to let a call of a tool through, whatever its arguments make of it.

        A tool that is granted several times asks for the least of them.
        """
        known = self.tools.get(tool)
        said = [agent.role.obligations, None if known is None else known.obligations]
        grants = [one.terms.obligations for one in self._grants(agent.role, tool)] or [None]
        risk = self.risk(tool).value
        found = [joined((*said, one)) for one in grants]
        return min(0 if one is None else one.people(risk) for one in found)

    def limited(self, agent: Seen) -> bool:
        """Whether some limit counts all that an agent does, or all of its model calls."""
        if agent.role.limit is not None:
            return True
        narrow = {Dimension.TOOL, Dimension.MODEL, Dimension.SERVER, Dimension.APPLICATION}
        return any(
            limit.named(Dimension.AGENT, agent.name)
            and limit.named(Dimension.ROLE, agent.role.name.value)
            and not narrow & limit.where.keys()
            for limit in self.policy.limits
        )

    def servers(self, agent: Seen) -> tuple[str, ...]:
        """The servers and toolsets whose tools, resources or prompts an agent may use."""
        grants = (*agent.role.allowed_resources, *agent.role.allowed_prompts)
        named = {name.partition(".")[0] for name in agent.reach.tools}
        named |= {one.value.partition(".")[0] for one in grants}
        there = {*self.config.mcp, *self.config.tools, *self.config.guard}
        return tuple(sorted(named & there))

    def _grants(self, role: Role, tool: str) -> Iterator[Grant]:
        known = self.tools.get(tool)
        yield from (one for one in role.allowed_tools if one.value == tool)
        for one in role.permissions:
            if known is not None and (one.verb, one.resource) == (known.verb, known.resource):
                yield one.entry

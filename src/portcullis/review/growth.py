"""What a change of policy newly allows: what an agent gains, and what protects it less.

It reads the two policies, not their tools. A change that it cannot tell to be stricter counts as a
gain: somebody looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from portcullis.core.containment import Containment, ToolModel
from portcullis.policy.containment import contained, models
from portcullis.policy.egress import uncovered
from portcullis.policy.model import EgressRule, Policy, Tool
from portcullis.policy.quarantine import loosened as quarantine
from portcullis.policy.source import Place
from portcullis.policy.yaml import Entry
from portcullis.review.loosened import catalogue, containment, limits
from portcullis.review.loosened_limits import limits as amounts
from portcullis.review.loosened_terms import terms
from portcullis.review.reach import Ladder, Reach, highest, reach


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent gains by a change of policy; ``trifecta``: it had not all three before.

    ``tools`` are new to it, of ``raised`` the highest class rose, ``others`` is what else it may
    reach now, each with its kind. ``weaker`` says, one by one, what held it back before and does
    not, or less.
    """

    agent: str
    tools: tuple[str, ...] = ()
    raised: tuple[str, ...] = ()
    ladders: tuple[Ladder, ...] = ()
    trifecta: bool = False
    others: tuple[str, ...] = ()
    weaker: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two policies."""

    policy: Policy
    reach: dict[str, Reach]
    tools: dict[str, Tool]
    models: dict[str, ToolModel]

    @classmethod
    def of(cls, policy: Policy) -> _Side:
        known = {tool.name.value: tool for tool in policy.tools}
        return cls(policy, {one.agent: one for one in reach(policy)}, known, models(policy))

    def contained(self, one: Reach) -> Containment | None:
        """What is done about questions of provenance for the agents of this role."""
        role = next(role for role in self.policy.roles if role.name.value == one.role)
        return contained((self.policy.containment, role.containment))

    def egress(self, agent: str) -> tuple[EgressRule, ...]:
        """Where an agent may go over the network."""
        role = self.reach[agent].role
        return next(one.egress for one in self.policy.roles if one.name.value == role)

    def tool(self, name: str) -> Tool:
        """A tool; one that the catalogue does not list has no limits, and the highest class."""
        return self.tools.get(name) or Tool(Entry(name, Place("", 0, 0), ""))


def growth(old: Policy, new: Policy) -> tuple[Growth, ...]:
    """What the change from one policy to another newly allows, agent by agent."""
    before, after = _Side.of(old), _Side.of(new)
    found = (_grown(one, before, after) for one in after.reach.values())
    return tuple(one for one in found if one != Growth(agent=one.agent))


def _grown(one: Reach, before: _Side, after: _Side) -> Growth:
    was = before.reach.get(one.agent)
    had = set(was.tools) if was else set()
    kept = [tool for tool in one.tools if tool in had]
    return Growth(
        agent=one.agent,
        tools=tuple(tool for tool in one.tools if tool not in had),
        raised=tuple(tool for tool in kept if _rank(after, tool) > _rank(before, tool)),
        ladders=tuple(sorted(set(one.ladders) - set(was.ladders if was else ()))),
        trifecta=one.trifecta and not (was and was.trifecta),
        others=tuple(sorted(set(one.others) - set(was.others if was else ()))),
        weaker=tuple(_weaker(one, kept, before, after)) if was else (),
    )


def _rank(side: _Side, name: str) -> int:
    """A tool's highest class."""
    return highest(side.tool(name))


def _weaker(one: Reach, tools: list[str], before: _Side, after: _Side) -> Iterator[str]:
    """What held this agent back in these tools, and does not any more."""
    was, now = before.contained(before.reach[one.agent]), after.contained(one)
    yield from containment(was, now)
    yield from uncovered(before.egress(one.agent), after.egress(one.agent))
    yield from quarantine(before.policy.quarantine, after.policy.quarantine)
    yield from terms(one.agent, before.policy, after.policy)
    yield from amounts(one.agent, one.role, before.policy.limits, after.policy.limits)
    for name in tools:
        yield from limits(before.tool(name), after.tool(name))
        if was is not None and now is not None and name in after.tools:
            yield from catalogue(before.models.get(name), after.models[name])

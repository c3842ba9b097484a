"""What the catalogue says of a history: what tools share, which arguments name whom or what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from portcullis.catalogue.schema import fault
from portcullis.core.containment import ArgumentRole
from portcullis.core.errors import Problem
from portcullis.policy.compiler import compile_policy
from portcullis.policy.grammar import parse
from portcullis.policy.model import Policy, Tool
from portcullis.policy.source import read
from portcullis.review.reach import Reach, reach


@dataclass(frozen=True, slots=True)
class Meaning:
    """The catalogue and the grants of a policy; the empty one knows nothing.

    ``shares`` has, by qualified tool, what it works on that other tools may read: ``memory NAME``
    or ``resource NAME``. ``reads`` are, by such a thing, the tools through which it can be read.
    ``things`` and ``destinations`` are, by tool, the arguments that name what is touched and who
    gets something. ``roles`` has each agent's role, ``servers`` what each agent is granted
    something of, ``models`` the names of models (globs) that it is granted; ``digest`` is the
    policy's.
    """

    shares: dict[str, str] = field(default_factory=dict)
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    things: dict[str, frozenset[str]] = field(default_factory=dict)
    destinations: dict[str, frozenset[str]] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    servers: dict[str, frozenset[str]] = field(default_factory=dict)
    models: dict[str, tuple[str, ...]] = field(default_factory=dict)
    digest: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a policy at all."""
        return bool(self.digest)


Meant: TypeAlias = Callable[[], Meaning]
"""What the policy says now."""


def meaning_in(folder: Path) -> Meaning:
    """What the policy in a folder says; nothing where it cannot be read."""
    try:
        return meaning(parse(read(folder), fault))
    except Problem:
        return Meaning()


def meaning(policy: Policy) -> Meaning:
    """What a policy says."""
    reached = reach(policy)
    shares: dict[str, str] = {}
    reads: dict[str, list[str]] = {}
    for tool in policy.tools:
        shared = _shared(tool)
        if not shared:
            continue
        shares[tool.name.value] = shared
        if tool.memory is None or not tool.memory.writes or tool.results:
            reads.setdefault(shared, []).append(tool.name.value)
    return Meaning(
        shares=shares,
        reads={shared: tuple(tools) for shared, tools in reads.items()},
        things={tool.name.value: _named(tool, ArgumentRole.OBJECT) for tool in policy.tools},
        destinations={
            tool.name.value: _named(tool, ArgumentRole.DESTINATION) for tool in policy.tools
        },
        roles={agent.name.value: agent.role.value for agent in policy.agents},
        servers={one.agent: frozenset(_servers(one)) for one in reached},
        models={one.agent: tuple(_after("model ", one.others)) for one in reached},
        digest=compile_policy(policy).digest(),
    )


def _servers(one: Reach) -> Iterator[str]:
    """The servers of which a tool, a resource, a prompt or a request is granted."""
    for kind in ("", "resource ", "prompt ", "request "):
        names = one.tools if not kind else tuple(_after(kind, one.others))
        yield from (name.partition(".")[0] for name in names)


def _after(kind: str, names: Iterable[str]) -> Iterator[str]:
    return (name.removeprefix(kind) for name in names if name.startswith(kind))


def _shared(tool: Tool) -> str:
    if tool.memory is not None:
        return f"memory {tool.memory.store}"
    return f"resource {tool.resource}" if tool.resource else ""


def _named(tool: Tool, role: ArgumentRole) -> frozenset[str]:
    """The names of whole arguments of this role; events know arguments by these."""
    found = {name.partition(".")[0].replace("[]", "") for name, one in tool.roles.items()
             if one.role is role}  # fmt: skip
    if role is ArgumentRole.OBJECT and tool.memory is not None:
        found |= {path[0] for path in tool.memory.record if path}
    return frozenset(found)

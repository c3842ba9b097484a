"""A policy of any size, written with all that the language has: what ``bench policy`` measures.

Roles stand in families of ten: nine inherit from the first. Each role's share of the rules is half
permissions and half tools, of which four are granted on terms: a condition, a window, a date with
an environment, and obligations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from portcullis.bench.gate import AGENT
from portcullis.bench.stub import MODEL

SERVERS: Final = 40
_FAMILY: Final = 10
_ON_TERMS: Final = 4
_HEAD: Final = """\
version: 1
windows:
  always: {days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "24:00", zone: UTC}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of each. ``rules`` are grants in all, at least 20 of each role."""

    agents: int = 1000
    roles: int = 200
    tools: int = 2000
    rules: int = 10_000

    @property
    def permissions(self) -> int:
        """Permissions that a role itself has."""
        return self.rules // self.roles // 2

    @property
    def listed(self) -> int:
        """Tools that a role itself lists, the last four of them on terms."""
        return self.rules // self.roles - self.permissions


def agent(number: int) -> str:
    """An agent's name; agent 0 is the one whose token the gate's benchmark has."""
    return f"agent-{number:05}" if number else AGENT


def tool(number: int) -> tuple[str, str]:
    """A tool's server and name."""
    return f"s{number % SERVERS}", f"tool_{number:05}"


def tool_of(sizes: Sizes, role: int, index: int) -> int:
    """The number of the tool that stands at an index of a role's list."""
    return (role * sizes.listed + index) % sizes.tools


def text(sizes: Sizes, models: tuple[str, ...] = (MODEL,)) -> str:
    """The policy as YAML; the first agent may use ``models``."""
    return _HEAD + "\n".join(_lines(sizes, models)) + "\n"


def _lines(sizes: Sizes, models: tuple[str, ...]) -> Iterator[str]:
    yield "agents:"
    for number in range(sizes.agents):
        yield f"  {agent(number)}: {{role: role_{number % sizes.roles}, owner: bench}}"
    yield "roles:"
    for role in range(sizes.roles):
        yield from _role(sizes, role, models)
    yield "tools:"
    resources = _resources(sizes)
    for number in range(sizes.tools):
        qualified = ".".join(tool(number))
        yield f"  {qualified}:"
        yield f"    {{resource: records_{number % resources}, verb: read, risk: read,"
        yield "     arguments: {limit: {maximum: 100}, text: {max_length: 200}}}"


def _role(sizes: Sizes, role: int, models: tuple[str, ...]) -> Iterator[str]:
    yield f"  role_{role}:"
    if role % _FAMILY:
        yield f"    inherits: [role_{role - role % _FAMILY}]"
    if role == 0:
        yield f"    models: [{', '.join(models)}]"
    yield "    permissions:"
    for index in range(sizes.permissions):
        number = (role * sizes.permissions + index) % _resources(sizes)
        yield f"      - read: records_{number}"
    yield "    allowed_tools:"
    named = [".".join(tool(tool_of(sizes, role, index))) for index in range(sizes.listed)]
    yield from (f"      - {name}" for name in named[:-_ON_TERMS])
    bad = f"arguments.text startswith 'secret' or arguments.limit == {50 + role}"
    terms = (
        f'when: "arguments.limit <= 50 and not ({bad})"',
        "during: always",
        'until: "2099-01-01", environments: [production]',
        "obligations: {log: [limit]}",
    )
    for name, term in zip(named[-_ON_TERMS:], terms, strict=True):
        yield f"      - {{tool: {name}, {term}}}"


def _resources(sizes: Sizes) -> int:
    """Two tools are of each resource."""
    return sizes.tools // 2

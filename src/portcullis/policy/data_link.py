"""What must hold between roles' ``data_access:`` and tools' ``data:``: nothing goes unenforced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from portcullis.core.obligation import Obligations
from portcullis.policy.data_access import Binding, DataAccess, Dimension
from portcullis.policy.link import denies, server_of
from portcullis.policy.model import Agent, Role, Tool
from portcullis.policy.source import Faults, Place

ANYWHERE: Final = "*"
_BARE: Final = "Write `data: none` at the grant where it shows nothing of the kind."


def link_data(
    agents: Iterable[Agent], roles: Sequence[Role], tools: Sequence[Tool], faults: Faults
) -> None:
    """Note what a role's ``data_access`` promises and no tool of it binds, and the reverse.

    ``roles`` are resolved. A role that only stands above others is held to nothing of this.
    """
    held = {agent.role.value for agent in agents}
    above = {entry.value for role in roles for entry in role.inherits}
    listed = {tool.name.value: tool for tool in tools}
    for role in roles:
        name = role.name.value
        if name in held or name not in above:
            _link(role, {one: listed.get(one) for one in _callable(role, tools)}, tools, faults)


def _callable(role: Role, tools: Iterable[Tool]) -> tuple[str, ...]:
    """The qualified names of the tools that a role grants on any terms."""
    held = {(one.verb, one.resource) for one in role.permissions}
    found = [tool.name.value for tool in tools if (tool.verb, tool.resource) in held]
    found += [grant.value for grant in role.allowed_tools]
    return tuple(name for name in dict.fromkeys(found) if not denies(role, name))


def _link(role: Role, mine: dict[str, Tool | None], tools: Iterable[Tool], faults: Faults) -> None:
    access = role.data_access or DataAccess()
    bound = {
        dimension
        for tool in mine.values()
        if tool is not None
        for binding in tool.data or ()
        for dimension in binding.dimensions
    }
    for name, dimension in access.dimensions.items():
        if name not in bound:
            faults.add(
                dimension.entry.place,
                f"no tool of the role {role.name.value} binds {name}: nothing would enforce it",
                "Bind it under `data:` of the tools that show it, or remove it.",
                "PC7003",
            )
    shown = {
        server_of(tool.name.value)
        for tool in tools
        for binding in tool.data or ()
        if binding.dimensions & access.dimensions.keys()
    }
    for name, tool in mine.items():
        if tool is not None and tool.data:
            _bindings(role, access, tool.data, name, faults)
        elif server_of(name) in shown and (tool is None or tool.data is None):
            _unbound(role, _place(access, role), f"{name} has no `data:`", faults)
    hidden = _masked(role, tools)
    for grant in (*role.allowed_resources, *role.allowed_prompts):
        if grant.terms.bare:
            continue
        if server_of(grant.value) in shown:
            _unbound(role, grant.place, f"{grant.value} is bound to none of it", faults)
        elif not hidden.isdisjoint((server_of(grant.value), ANYWHERE)):
            faults.add(
                grant.place,
                f"{grant.value} has no columns: the masks of the role {role.name.value}"
                " would not hold for it",
                _BARE,
                "PC7003",
            )


def _unbound(role: Role, place: Place, what: str, faults: Faults) -> None:
    faults.add(
        place,
        f"{what}: the data_access of the role {role.name.value} would not hold for it",
        "Give the tool a `data:`; `data: none`, also of what is read, where it shows nothing.",
        "PC7003",
    )


def _place(access: DataAccess, role: Role) -> Place:
    first = next(iter(access.dimensions.values()), None)
    return role.name.place if first is None else first.entry.place


def _bindings(
    role: Role, access: DataAccess, bindings: Iterable[Binding], tool: str, faults: Faults
) -> None:
    name = role.name.value
    for binding in bindings:
        said = [access.dimensions.get(one) for one in sorted(binding.dimensions)]
        for dimension in filter(None, said):
            if (dimension.yes is None) == bool(binding.classes):
                form = "true or false" if binding.classes else "a list of values"
                faults.add(
                    dimension.entry.place, f"{tool} binds {dimension.entry.value}: say {form}"
                )
        if not any(map(_reaches, said)):
            what = ", ".join(sorted(binding.dimensions))
            faults.add(
                role.name.place,
                f"the role {name} cannot use {tool}: its data_access names nothing of {what}",
                'Name what it may reach under data_access; ["*"] for every value.',
            )


def _reaches(dimension: Dimension | None) -> bool:
    return dimension is not None and dimension.yes is not False


def masking(role: Role, tools: Sequence[Tool], *, observed: bool = False) -> frozenset[str]:
    """The servers any of whose results are masked for a role, or cut; ``*`` for all.

    Of an agent that is ``observed``, who may use what no grant names, those of all tools count.
    """
    listed = {tool.name.value: tool for tool in tools}
    mine = [tool for name in _callable(role, tools) if (tool := listed.get(name)) is not None]
    bound = [tool for tool in mine if tool.data]
    if observed:
        bound = [tool for tool in tools if tool.data or _masks(tool.obligations)]
    return _masked(role, tools).union(server_of(tool.name.value) for tool in bound)


def unbound(role: Role, tools: Iterable[Tool]) -> tuple[str, ...]:
    """The tools without ``data:`` of servers that show what the role's ``data_access`` names."""
    reached = set() if role.data_access is None else role.data_access.dimensions.keys()
    known = list(tools)
    shown = {
        server_of(tool.name.value)
        for tool in known
        if any(binding.dimensions & reached for binding in tool.data or ())
    }
    names = (tool.name.value for tool in known if tool.data is None)
    return tuple(name for name in names if server_of(name) in shown)


def _masked(role: Role, tools: Iterable[Tool]) -> frozenset[str]:
    """The servers any of whose results have masked columns for a role; ``*`` for all."""
    own, listed = role.obligations, {tool.name.value: tool for tool in tools}
    found = {ANYWHERE} if own is not None and own.mask else set()
    for name in _callable(role, listed.values()):
        tool = listed.get(name)
        if tool is not None and _masks(tool.obligations):
            found.add(server_of(name))
    found.update(
        server_of(one.value) for one in role.allowed_tools if _masks(one.terms.obligations)
    )
    masked = {
        (one.verb, one.resource) for one in role.permissions if _masks(one.entry.terms.obligations)
    }
    found.update(
        server_of(name) for name, one in listed.items() if (one.verb, one.resource) in masked
    )
    return frozenset(found)


def _masks(obligations: Obligations | None) -> bool:
    return obligations is not None and bool(obligations.mask)

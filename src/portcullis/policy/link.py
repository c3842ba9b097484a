"""What must hold between the parts of a policy: references that lead somewhere."""

from __future__ import annotations

from collections.abc import Mapping

from portcullis.policy.containment import unread
from portcullis.policy.model import Policy, Role
from portcullis.policy.quarantine import link_quarantine
from portcullis.policy.source import Faults


def server_of(qualified: str) -> str:
    """The server of a qualified name: what stands before the first dot."""
    return qualified.partition(".")[0]


def denies(role: Role, tool: str) -> bool:
    """Whether ``denied_tools`` name this tool or its whole server."""
    if not role.denied_tools:
        return False
    named = (tool, f"{server_of(tool)}.*")
    return any(entry.value in named for entry in role.denied_tools)


def link(policy: Policy, faults: Faults) -> None:
    """Note every reference that can never apply."""
    roles = {role.name.value for role in policy.roles}
    for agent in policy.agents:
        if agent.role.value not in roles:
            known = ", ".join(sorted(roles)) or "none"
            faults.add(agent.role.place, f"unknown role {agent.role.value}", f"Roles: {known}.")
    tools = {tool.name.value: tool for tool in policy.tools}
    for tool in policy.tools:
        wrong = unread(tool, tools)
        if wrong is not None:
            faults.add(
                tool.name.place,
                f"{wrong.tool} is no lookup for {tool.name.value}",
                "A lookup is a listed tool of the same server, of the class read in any case.",
            )
    link_quarantine(policy.quarantine, {name: one.risk for name, one in tools.items()}, faults)
    windows = {window.name for window in policy.windows}
    meant: dict[tuple[str, str], list[str]] = {}
    for tool in policy.tools:
        meant.setdefault((tool.verb, tool.resource), []).append(tool.name.value)
    for role in policy.roles:
        _role(role, meant, faults)
        for grant in role.grants():
            during = grant.terms.during
            if during is not None and during.value not in windows:
                known = ", ".join(sorted(windows)) or "none"
                faults.add(during.place, f"unknown window {during.value}", f"Windows: {known}.")


def _role(role: Role, meant: Mapping[tuple[str, str], list[str]], faults: Faults) -> None:
    for permission in role.permissions:
        matching = meant.get((permission.verb, permission.resource), [])
        if not matching:
            faults.add(
                permission.entry.place,
                f"no tool has verb {permission.verb} on resource {permission.resource}",
                "Give a tool under `tools:` this verb and resource.",
            )
        elif all(denies(role, tool) for tool in matching):
            faults.add(permission.entry.place, "denied_tools deny every tool of this permission")
    for entry in role.allowed_tools:
        if denies(role, entry.value):
            faults.add(entry.place, f"{entry.value} is denied by the same role's denied_tools")

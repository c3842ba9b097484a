"""A policy as Rego v1 plus data: the fixed rules, one package of bounds per tool, one document.

The bounds carry ``# file:line`` of their origin; every entry of the data carries the rule's name
and place, which verdicts and the log repeat.
"""

from __future__ import annotations

import hashlib
import json
import re
from importlib import resources
from typing import Any, Final

import msgspec

from portcullis.policy.containment import contained, model
from portcullis.policy.egress import egress_data
from portcullis.policy.inspection import profile
from portcullis.policy.link import denies, server_of
from portcullis.policy.model import Bound, Policy, Role, Tool
from portcullis.policy.yaml import Entry

_HEADER: Final = "import rego.v1\n\nimport data.portcullis.bounds\n"


class Bundle(msgspec.Struct, frozen=True):
    """Rego modules (name, text) and the data document beside them (JSON text)."""

    modules: tuple[tuple[str, str], ...]
    data: str

    def digest(self) -> str:
        """``sha256:`` hex over everything that decides."""
        return "sha256:" + hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def compile_policy(policy: Policy) -> Bundle:
    """Turn a policy that the grammar accepted into Rego and data. The same in, the same out."""
    fixed = resources.files("portcullis.policy.rego")
    modules = [
        (f"{name}.rego", fixed.joinpath(f"{name}.rego").read_text(encoding="utf-8"))
        for name in ("decide", "bounds")
    ]
    modules += [
        (f"tools/{tool.name.value}.rego", _module(tool)) for tool in policy.tools if tool.bounds
    ]
    data: dict[str, dict[str, Any]] = {
        "policy": {
            "agents": {
                agent.name.value: {"role": agent.role.value, "rule": agent.role.rule}
                for agent in policy.agents
            },
            "roles": {
                role.name.value: _role(role, policy.tools)
                | {"inspection": profile(policy.inspection, role.inspection)}
                | _contained(policy, role)
                for role in policy.roles
            },
            "catalogue": {tool.name.value: _tool(tool) for tool in policy.tools},
            "quarantine": policy.quarantine.data(),
        }
    }
    if policy.limits:  # no rule asks for them: the digest covers them
        data["policy"]["limits"] = {limit.name: limit for limit in policy.limits}
    return Bundle(tuple(modules), msgspec.json.encode(data, order="sorted").decode())


def _module(tool: Tool) -> str:
    lines = [
        f"# {tool.name.place.origin} tools.{tool.name.value}",
        f"package portcullis.tools[{_literal(tool.name.value)}]\n",
        _HEADER,
    ]
    for bound in tool.bounds:
        lines.append(f"# {bound.entry.place.origin} {bound.argument}: {bound.kind}")
        identity = _literal(_identity(bound))
        lines.append(f"held contains {identity} if {_condition(bound)}\n")
    return "\n".join(lines)


def _condition(bound: Bound) -> str:
    """The Rego that is true when the bound holds; anything else, undefined too, breaks it.

    A bound on an optional argument looks at a value that holds when the argument is absent.
    """
    name, wanted = _literal(bound.argument), _literal(bound.value)
    if bound.kind == "required":
        return f"bounds.given({name})"
    if bound.session:
        wanted = "input.session" + "".join(f"[{_literal(part)}]" for part in bound.session)
        return f"bounds.scoped(input.arguments[{name}], {wanted})"
    if bound.kind == "equals":
        return f"bounds.equal(input.arguments[{name}], {wanted})"
    function, absent = {
        "enum": ("one_of", bound.value[0] if bound.kind == "enum" else None),
        "prefix": ("under", bound.value),
        "maximum": ("at_most", bound.value),
        "minimum": ("at_least", bound.value),
        "max_length": ("not_longer", ""),
    }[bound.kind]
    return f"bounds.{function}(object.get(input.arguments, {name}, {_literal(absent)}), {wanted})"


def _literal(value: Any) -> str:
    """A value as Rego writes it, which is as JSON writes it; long lists go one item a line."""
    if isinstance(value, list):
        return "[\n" + "".join(f"\t{_literal(item)},\n" for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _identity(bound: Bound) -> str:
    return f"{bound.argument}.{bound.kind}"


def _tool(tool: Tool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "risk": tool.risk.value,
        "clear": list(tool.clear),
        "bounds": {
            _identity(bound): {
                "reason": _reason(bound),
                "rule": f"{bound.entry.path} @ {bound.entry.place.origin}",
                "session": bool(bound.session),
            }
            for bound in tool.bounds
        },
    }
    if tool.verb:
        entry |= {"verb": tool.verb, "resource": tool.resource}
    meant = (tool.roles, tool.rules, tool.results, tool.intent, tool.answers, tool.memory)
    if any(meant):
        entry["model"] = model(tool)  # no rule asks for it: the digest covers it
    return entry


def _reason(bound: Bound) -> str:
    if bound.session:
        return f"{bound.argument} must equal session.{'.'.join(bound.session)}"
    return f"{bound.argument} breaks its bound {bound.kind}"


def _role(role: Role, tools: tuple[Tool, ...]) -> dict[str, Any]:
    permissions: dict[str, dict[str, str]] = {}
    for permission in role.permissions:
        permissions.setdefault(permission.verb, {})[permission.resource] = permission.entry.rule
    whole = [entry for entry in role.denied_tools if entry.value.endswith(".*")]
    globs = [entry for entry in role.allowed_resources if "*" in entry.value]
    return {
        "permissions": permissions,
        "allowed_tools": _rules(role.allowed_tools),
        "denied_tools": _rules(role.denied_tools),
        "denied_servers": {server_of(entry.value): entry.rule for entry in whole},
        "models": [{"regex": _regex(entry.value), "rule": entry.rule} for entry in role.models],
        "provider_features": _rules(role.provider_features),
        "resources": {
            "exact": {e.value: e.rule for e in role.allowed_resources if "*" not in e.value},
            "globs": [{"regex": _regex(entry.value), "rule": entry.rule} for entry in globs],
        },
        "prompts": _rules(role.allowed_prompts),
        "server_requests": _rules(role.server_requests),
        "reach": _reach(role, tools),
        "egress": egress_data(role.egress),
    }


def _contained(policy: Policy, role: Role) -> dict[str, Any]:
    """What is done about questions of provenance: no rule asks for it, the digest covers it."""
    found = contained((policy.containment, role.containment))
    return {} if found is None else {"containment": found}


def _rules(entries: tuple[Entry, ...]) -> dict[str, str]:
    return {entry.value: entry.rule for entry in entries}


def _regex(glob: str) -> str:
    """A glob, in which only ``*`` is special, as an anchored regular expression."""
    return "^(?s:" + ".*".join(re.escape(part) for part in glob.split("*")) + ")$"


def _reach(role: Role, tools: tuple[Tool, ...]) -> dict[str, str]:
    """The servers on which the role has anything at all, each with the first rule that says so."""
    granted = {(p.verb, p.resource): p.entry for p in role.permissions}
    found = [(entry.value, entry) for entry in role.allowed_tools]
    found += [
        (tool.name.value, granted[tool.verb, tool.resource])
        for tool in tools
        if (tool.verb, tool.resource) in granted
    ]
    found = [(name, entry) for name, entry in found if not denies(role, name)]
    for entries in (role.allowed_resources, role.allowed_prompts, role.server_requests):
        found += [(entry.value, entry) for entry in entries]
    return {server_of(name): entry.rule for name, entry in reversed(found)}

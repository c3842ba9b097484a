"""A policy as Rego v1 plus data: the fixed rules, one package of bounds per tool, one document.

The bounds carry ``# file:line`` of their origin; every entry of the data carries the rule's name
and place, which verdicts and the log repeat.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import Any, Final

import msgspec

from portcullis.core.containment import RISKS
from portcullis.policy.containment import contained, model
from portcullis.policy.data_access import access_data, binding_data
from portcullis.policy.data_link import masking, unbound
from portcullis.policy.egress import egress_data
from portcullis.policy.grants import conditional, granted, plain, rule_name, rules_of
from portcullis.policy.handwritten import modules as handwritten
from portcullis.policy.inspection import profile
from portcullis.policy.link import denies, server_of
from portcullis.policy.model import Agent, Bound, Grant, Policy, Role, Tool
from portcullis.policy.obligations import obligations_data
from portcullis.policy.observe import observable

GRANTS: Final = "roles/"
"""Where the modules of roles stand: conditions, all of one package, and comments."""
_PACKAGE: Final = "package portcullis.grants\n"


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
        for name in ("decide", "terms", "values", "bounds", "obliged", "observed")
    ]
    modules += [module for role in policy.roles for module in _grants(role)]
    modules += handwritten(policy.handwritten)
    data: dict[str, dict[str, Any]] = {
        "policy": {
            "agents": {agent.name.value: _agent(agent, policy) for agent in policy.agents},
            "roles": {
                role.name.value: _role(role, policy.tools)
                | {"inspection": profile(policy.inspection, role.inspection)}
                | _contained(policy, role)
                | _obliged(role)
                for role in policy.roles
            },
            "catalogue": {tool.name.value: _tool(tool) for tool in policy.tools},
            "quarantine": policy.quarantine.data(),
        }
    }
    if policy.limits:  # no rule asks for them: the digest covers them
        data["policy"]["limits"] = {limit.name: limit for limit in policy.limits}
    if policy.handwritten:
        data["policy"]["custom"] = {one.name: one.data() for one in policy.handwritten}
    if policy.windows:
        data["policy"]["windows"] = {window.name: window.data() for window in policy.windows}
    return Bundle(tuple(modules), msgspec.json.encode(data, order="sorted").decode())


def _agent(agent: Agent, policy: Policy) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "role": agent.role.value,
        "owner": agent.owner,
        "rule": agent.role.rule,
    }
    if agent.expires is not None:
        until = agent.expires
        entry["expires"] = {
            "until": until.text,
            "rule": f"{until.entry.path} @ {until.entry.place.origin}",
        }
    if agent.observe is not None:
        role = next(one for one in policy.roles if one.name.value == agent.role.value)
        entry["observe"] = agent.observe.data() | {
            "hidden": dict.fromkeys(masking(role, policy.tools, observed=True), True),
            "unbound": dict.fromkeys(unbound(role, policy.tools), True),
        }
    return entry


def _grants(role: Role) -> Iterator[tuple[str, str]]:
    """What a role itself grants, to be read, and the conditions as rules.

    A condition that is Rego has a module of its own in the same package: it sees no imports.
    """
    own = [grant for grant in role.grants() if grant.path.startswith(f"roles.{role.name.value}.")]
    head = f"# {role.name.place.origin} roles.{role.name.value}\n{_PACKAGE}"
    written = [grant for grant in own if grant.terms.when is None or grant.terms.when.tree]
    imports = "import rego.v1\n\nimport data.portcullis.values\n"
    body = "\n".join(rules_of(written))
    yield (
        f"{GRANTS}{role.name.value}.rego",
        "\n".join([head, *([imports] if " if " in body else []), body]),
    )
    for grant in own:
        when = grant.terms.when
        if when is not None and when.tree is None:
            name = f"{GRANTS}{role.name.value}.{rule_name(when.entry.path)}.rego"
            yield name, "\n".join([head, "import rego.v1\n", *rules_of([grant])])


def _bound(bound: Bound) -> dict[str, Any]:
    """A bound, as ``bounds.held`` tests it; ``path`` is the session's value it must equal."""
    entry: dict[str, Any] = {
        "argument": bound.argument,
        "kind": bound.kind,
        "value": None if bound.session else bound.value,
        "rule": f"{bound.entry.path} @ {bound.entry.place.origin}",
    }
    if bound.session:
        entry |= {"path": list(bound.session), "session": True}
    return entry


def _tool(tool: Tool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "risk": tool.risk.value,
        "clear": list(tool.clear),
        "bounds": {f"{bound.argument}.{bound.kind}": _bound(bound) for bound in tool.bounds},
    }
    if tool.obligations is not None:
        entry["obligations"] = [obligations_data(tool.obligations)]
    if tool.data:
        entry["data"] = binding_data(tool.data)
    if tool.obligations is not None or tool.data:
        entry["owing"] = True
    if _observable(tool):
        entry["observable"] = True
    if tool.verb:
        entry |= {"verb": tool.verb, "resource": tool.resource}
    meant = (tool.roles, tool.rules, tool.results, tool.intent, tool.answers, tool.memory)
    if any(meant):
        entry["model"] = model(tool)  # no rule asks for it: the digest covers it
    return entry


def _observable(tool: Tool) -> bool:
    highest = max((tool.risk, *(rule.risk for rule in tool.rules)), key=RISKS.__getitem__)
    carries = any(argument.carries for argument in tool.roles.values())
    return observable(tool.risk, highest, carries=carries)


def _role(role: Role, tools: tuple[Tool, ...]) -> dict[str, Any]:
    permissions: dict[str, dict[str, str]] = {}
    for one in role.permissions:
        if one.entry.terms.plain:
            permissions.setdefault(one.verb, {})[one.resource] = one.entry.rule
    whole = [entry for entry in role.denied_tools if entry.value.endswith(".*")]
    globs = [entry for entry in role.allowed_resources if "*" in entry.value]
    exact = [entry for entry in role.allowed_resources if "*" not in entry.value]
    found = {
        "granted": f"granted by the role {role.name.value}",
        "permissions": permissions,
        "allowed_tools": plain(role.allowed_tools),
        "denied_tools": {entry.value: entry.rule for entry in role.denied_tools},
        "denied_servers": {server_of(entry.value): entry.rule for entry in whole},
        "models": [_globbed(entry) for entry in role.models],
        "provider_features": plain(role.provider_features),
        "resources": {
            "exact": plain(exact),
            "globs": [_globbed(entry) for entry in globs],
        },
        "prompts": plain(role.allowed_prompts),
        "server_requests": plain(role.server_requests),
        "egress": egress_data(role.egress),
    }
    named = tuple(_tools(role, tools))
    reach = list(_reach(role, named))
    found["reach"] = {name: grant.rule for name, grant in reversed(reach) if grant.terms.plain}
    on_terms = {
        "tools": conditional(named),
        "features": conditional((one.value, one) for one in role.provider_features),
        "resources": conditional((one.value, one) for one in exact),
        "prompts": conditional((one.value, one) for one in role.allowed_prompts),
        "requests": conditional((one.value, one) for one in role.server_requests),
        "reach": conditional(reach, listed=True),
    }
    return found | {"conditional": {kind: those for kind, those in on_terms.items() if those}}


def _globbed(grant: Grant) -> dict[str, Any]:
    """A grant whose name is a pattern; without ``terms`` it holds always."""
    entry = {"regex": _regex(grant.value), "rule": grant.rule}
    return entry if grant.terms.plain else entry | granted(grant)


def _tools(role: Role, tools: tuple[Tool, ...]) -> Iterator[tuple[str, Grant]]:
    """The tools that a role's grants name or, through the catalogue, mean."""
    meant: dict[tuple[str, str], list[Grant]] = {}
    for one in role.permissions:
        meant.setdefault((one.verb, one.resource), []).append(one.entry)
    yield from ((entry.value, entry) for entry in role.allowed_tools)
    for tool in tools:
        for grant in meant.get((tool.verb, tool.resource), ()):
            yield tool.name.value, grant


def _contained(policy: Policy, role: Role) -> dict[str, Any]:
    """What is done about questions of provenance: no rule asks for it, the digest covers it."""
    found = contained((policy.containment, role.containment))
    return {} if found is None else {"containment": found}


def _regex(glob: str) -> str:
    """A glob, in which only ``*`` is special, as an anchored regular expression."""
    return "^(?s:" + ".*".join(re.escape(part) for part in glob.split("*")) + ")$"


def _reach(role: Role, named: Iterable[tuple[str, Grant]]) -> Iterator[tuple[str, Grant]]:
    """The servers on which the role has anything at all, with the grants that say so."""
    for name, grant in named:
        if not denies(role, name):
            yield server_of(name), grant
    for entries in (role.allowed_resources, role.allowed_prompts, role.server_requests):
        yield from ((server_of(entry.value), entry) for entry in entries)


def _obliged(role: Role) -> dict[str, Any]:
    """What the role obliges to and which data it may reach; what it does not say is absent."""
    found: dict[str, Any] = {}
    if role.obligations is not None:
        found |= {"obligations": [obligations_data(role.obligations)], "owing": True}
    if role.data_access is not None:
        found["data_access"] = access_data(role.data_access)
    return found

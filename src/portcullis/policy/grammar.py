"""The grammar of policy files: which keys there are, and what each must look like."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, TypeVar

import yaml

from portcullis.core.call import RiskClass
from portcullis.core.limits import Limit
from portcullis.policy.bounds import Fragment, read_arguments
from portcullis.policy.containment import (
    read_answers,
    read_containment,
    read_intent,
    read_raise,
    read_results,
    read_sends,
    unnamed,
)
from portcullis.policy.data_access import read_data, read_data_access
from portcullis.policy.data_link import link_data
from portcullis.policy.egress import read_egress
from portcullis.policy.grants import (
    read_denied,
    read_environments,
    read_grants,
    read_permissions,
)
from portcullis.policy.handwritten import SUFFIX, read_handwritten
from portcullis.policy.inheritance import resolve
from portcullis.policy.inspection import read_inspection
from portcullis.policy.limits import read_limit
from portcullis.policy.link import link, server_of
from portcullis.policy.memories import read_memory
from portcullis.policy.model import (
    Agent,
    ContainmentLayer,
    Inspection,
    Policy,
    Role,
    Tool,
)
from portcullis.policy.moments import Moment, read_moment
from portcullis.policy.obligations import read_obligations
from portcullis.policy.observe import read_observe
from portcullis.policy.quarantine import QuarantineRead, read_quarantine
from portcullis.policy.resource_limits import read_resource_limits
from portcullis.policy.source import Faults, SourceFile
from portcullis.policy.windows import Window, read_windows
from portcullis.policy.yaml import Entry, Reader

VERBS: Final = ("read", "write", "execute", "delete", "admin")
_SERVER: Final = r"[a-z0-9][a-z0-9_-]{0,62}"
NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,126}"
RESOURCE: Final = r"[A-Za-z0-9][A-Za-z0-9_./-]{0,126}"
_TOOL: Final = rf"{_SERVER}\.[!-)+-~]{{1,128}}"  # printable ASCII without *
_REQUESTS: Final = ("sampling/createMessage", "elicitation/create", "roots/list")

LISTS: Final[dict[str, tuple[str, str]]] = {
    "allowed_tools": (_TOOL, "server.tool (no wildcards)"),
    "denied_tools": (rf"{_TOOL}|{_SERVER}\.\*", "server.tool or server.*"),
    "models": (r"[!-~]{1,128}", "a model name, * for any characters"),
    "provider_features": (
        r"(openai|anthropic)\.[A-Za-z0-9_.-]{1,64}",
        "openai.FEATURE or anthropic.FEATURE",
    ),
    "allowed_resources": (rf"{_SERVER}\.[!-~]{{1,1024}}", "server.URI, * for any characters"),
    "allowed_prompts": (rf"{_SERVER}\.[^*\x00-\x1f\x7f]{{1,128}}", "server.prompt (no wildcards)"),
    "server_requests": (
        rf"{_SERVER}\.({'|'.join(map(re.escape, _REQUESTS))})",
        f"server.METHOD with one of {', '.join(_REQUESTS)}",
    ),
}
KEYS: Final = {
    "allowed_tools": "tool",
    "models": "model",
    "provider_features": "feature",
    "allowed_resources": "resource",
    "allowed_prompts": "prompt",
    "server_requests": "request",
}
"""What the long form of an entry calls what the short one is."""
_EVERYONE: Final = ("inspection", "containment", "quarantine")
_AGENT_KEYS: Final = ("role", "owner", "expires", "review_by", "observe")
_ROLE_KEYS: Final = (
    *("inherits", "environments", "permissions", *LISTS, "egress", "inspection", "containment"),
    *("obligations", "data_access", "resource_limits"),
)
_RISKS: Final = tuple(RiskClass)
_TOOL_KEYS: Final = (
    *("resource", "verb", "risk", "raise"),
    *("arguments", "results", "intent", "sends", "answers", "memory"),
    *("obligations", "data"),
)

_Item = TypeVar("_Item", Agent, Role, Tool)


def parse(files: tuple[SourceFile, ...], fragment: Fragment) -> Policy:
    """Read all files into one policy. Raises one Problem (PC7002 or PC7003) for all faults.

    ``fragment`` says what is wrong with a JSON Schema fragment, or None.
    """
    faults = Faults(files)
    grammar = _Grammar(fragment, faults)
    rego = [file for file in files if file.name.endswith(SUFFIX)]
    for file in files:
        if file not in rego:
            grammar.read(Reader(file, faults))
    written = tuple(grammar.roles.values())
    roles = resolve(written, faults)
    policy = Policy(
        agents=tuple(grammar.agents.values()),
        roles=written,
        tools=tuple(grammar.tools.values()),
        inspection=grammar.inspection or Inspection(),
        containment=grammar.containment,
        quarantine=grammar.quarantine or QuarantineRead(),
        limits=(
            *grammar.limits.values(),
            *(role.limit for role in roles if role.limit is not None),
        ),
        windows=tuple(grammar.windows.values()),
        handwritten=read_handwritten(rego, faults),
    )
    link(policy, faults)
    link_data(policy.agents, roles, policy.tools, faults)
    faults.raise_any()
    return replace(policy, roles=roles)


class _Grammar:
    """Reads file after file into one set of agents, roles and tools."""

    def __init__(self, fragment: Fragment, faults: Faults) -> None:
        self.agents: dict[str, Agent] = {}
        self.roles: dict[str, Role] = {}
        self.tools: dict[str, Tool] = {}
        self.inspection: Inspection | None = None
        self.containment: ContainmentLayer | None = None
        self.limits: dict[str, Limit] = {}
        self.windows: dict[str, Window] = {}
        self.quarantine: QuarantineRead | None = None
        self._fragment = fragment
        self._faults = faults

    def read(self, reader: Reader) -> None:
        """Read one file."""
        root = reader.root()
        if root is None:
            return
        parts = reader.section(
            root,
            "the policy",
            ("version", "agents", "roles", "tools", *_EVERYONE, "limits", "windows"),
        )
        version = parts.get("version")
        if version is None:
            reader.fault(root, "the file does not say its version", "Start with `version: 1`.")
        elif (said := reader.value(version, "version")) != 1 or isinstance(said, bool):
            reader.fault(version, "unknown version", "This gate reads `version: 1`.")
        for key, node in _members(reader, parts, "agents"):
            self._add(self.agents, key, self._agent(reader, key, node))
        for key, node in _members(reader, parts, "roles"):
            self._add(self.roles, key, self._role(reader, key, node))
        for key, node in _members(reader, parts, "tools"):
            self._add(self.tools, key, self._tool(reader, key, node))
        for key, node in _members(reader, parts, "limits"):
            self._add_limit(reader, key, node)
        if "windows" in parts:
            self._add_windows(reader, parts["windows"])
        self._for_everyone(reader, parts)

    def _for_everyone(self, reader: Reader, parts: dict[str, yaml.Node]) -> None:
        once = {
            "inspection": self.inspection,
            "containment": self.containment,
            "quarantine": self.quarantine,
        }
        for name, known in once.items():
            if name in parts and known is not None:
                reader.fault(parts[name], f"{name} is defined twice")
        if "inspection" in parts:
            self.inspection = read_inspection(reader, "inspection", parts["inspection"])
        if "containment" in parts:
            self.containment = read_containment(reader, "containment", parts["containment"])
        if "quarantine" in parts:
            self.quarantine = read_quarantine(
                reader, parts["quarantine"], LISTS["allowed_tools"], LISTS["models"]
            )

    def _add(self, known: dict[str, _Item], key: Entry, item: _Item | None) -> None:
        if item is None:
            return
        if key.value in known:
            first = known[key.value].name.place
            self._faults.add(key.place, f"{key.value} is defined twice (first at {first})")
        known.setdefault(key.value, item)

    def _add_limit(self, reader: Reader, key: Entry, node: yaml.Node) -> None:
        limit = read_limit(reader, key, node)
        if key.value in self.limits:
            self._faults.add(key.place, f"{key.value} is defined twice")
        elif limit is not None:
            self.limits[key.value] = limit

    def _add_windows(self, reader: Reader, node: yaml.Node) -> None:
        for window, value in read_windows(reader, node):
            if window.name in self.windows:
                reader.fault(value, f"{window.name} is defined twice")
            self.windows[window.name] = window

    def _agent(self, reader: Reader, key: Entry, node: yaml.Node) -> Agent | None:
        path = f"agents.{key.value}"
        keys = reader.section(node, path, _AGENT_KEYS)
        owner = reader.text(keys["owner"], f"{path}.owner") if "owner" in keys else None
        if "role" not in keys:
            reader.fault(node, f"{path} has no role", "Write `role: NAME`.")
            return None
        role = reader.text(keys["role"], f"{path}.role")
        if role is None:
            return None
        return Agent(
            key,
            role,
            owner="" if owner is None else owner.value,
            expires=_moment(reader, keys.get("expires"), f"{path}.expires"),
            review_by=_moment(reader, keys.get("review_by"), f"{path}.review_by"),
            observe=read_observe(reader, f"{path}.observe", keys.get("observe")),
        )

    def _role(self, reader: Reader, key: Entry, node: yaml.Node) -> Role | None:
        if not re.fullmatch(NAME, key.value):
            self._faults.add(key.place, "a role's name is of letters, digits, _ and -")
            return None
        path = f"roles.{key.value}"
        keys = reader.section(node, path, _ROLE_KEYS)
        lists = {
            name: read_grants(reader, keys.get(name), f"{path}.{name}", word, *LISTS[name])
            for name, word in KEYS.items()
        }
        denied = read_denied(
            reader, keys.get("denied_tools"), f"{path}.denied_tools", *LISTS["denied_tools"]
        )
        return Role(
            key,
            inherits=reader.texts(
                keys.get("inherits"), f"{path}.inherits", NAME, "of a role's name"
            ),
            environments=read_environments(
                reader, keys.get("environments"), f"{path}.environments"
            ),
            permissions=read_permissions(
                reader, keys.get("permissions"), f"{path}.permissions", VERBS, RESOURCE
            ),
            denied_tools=denied,
            **lists,
            inspection=read_inspection(reader, f"{path}.inspection", keys.get("inspection")),
            containment=read_containment(reader, f"{path}.containment", keys.get("containment")),
            egress=read_egress(reader, f"{path}.egress", keys.get("egress")),
            obligations=read_obligations(reader, f"{path}.obligations", keys.get("obligations")),
            data_access=read_data_access(reader, f"{path}.data_access", keys.get("data_access")),
            limit=read_resource_limits(
                reader, f"{path}.resource_limits", keys.get("resource_limits"), key
            ),
        )

    def _tool(self, reader: Reader, key: Entry, node: yaml.Node) -> Tool | None:
        pattern, form = LISTS["allowed_tools"]
        if not re.fullmatch(pattern, key.value):
            self._faults.add(key.place, f"{key.value}: not of the form {form}")
            return None
        path = f"tools.{key.value}"
        keys = reader.section(node, path, _TOOL_KEYS)
        if ("verb" in keys) != ("resource" in keys):
            reader.fault(node, f"{path}: verb and resource go together")
        arguments = read_arguments(reader, path, keys.get("arguments"), self._fragment)
        tool = Tool(
            key,
            verb=_choice(reader, keys.get("verb"), f"{path}.verb", VERBS, ""),
            resource=_resource(reader, keys.get("resource"), f"{path}.resource"),
            risk=RiskClass(_choice(reader, keys.get("risk"), f"{path}.risk", _RISKS, "delete")),
            bounds=arguments.bounds,
            clear=arguments.clear,
            schemas=arguments.schemas,
            tolerated=arguments.tolerated,
            roles=arguments.roles,
            rules=read_raise(reader, f"{path}.raise", keys.get("raise")),
            results=read_results(reader, f"{path}.results", keys.get("results")),
            intent=read_intent(reader, f"{path}.intent", keys.get("intent")),
            bare=read_sends(reader, f"{path}.sends", keys.get("sends")),
            answers=read_answers(reader, f"{path}.answers", keys.get("answers")),
            memory=read_memory(
                reader,
                f"{path}.memory",
                keys.get("memory"),
                server=server_of(key.value),
                arguments=arguments.roles,
            ),
            obligations=read_obligations(reader, f"{path}.obligations", keys.get("obligations")),
            data=read_data(reader, f"{path}.data", keys.get("data")),
        )
        argument = unnamed(tool)
        if argument is not None:
            reader.fault(
                keys["raise"], f"{path}.raise: arguments do not name {argument}", "Give it a role."
            )
        return tool


def _members(
    reader: Reader, parts: dict[str, yaml.Node], name: str
) -> list[tuple[Entry, yaml.Node]]:
    return reader.pairs(parts[name], name) if name in parts else []


def _moment(reader: Reader, node: yaml.Node | None, path: str) -> Moment | None:
    return None if node is None else read_moment(reader, node, path)


def _choice(
    reader: Reader, node: yaml.Node | None, path: str, choices: tuple[str, ...], default: str
) -> str:
    if node is None:
        return default
    entry = reader.text(node, path, "|".join(choices), f"one of {', '.join(choices)}")
    return default if entry is None else entry.value


def _resource(reader: Reader, node: yaml.Node | None, path: str) -> str:
    entry = None if node is None else reader.text(node, path, RESOURCE, "of a resource's name")
    return "" if entry is None else entry.value

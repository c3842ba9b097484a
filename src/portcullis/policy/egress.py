"""``egress:`` of a role: where its agents may go over the network, and on what terms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from portcullis.policy.grants import TERMS, read_terms, terms_data
from portcullis.policy.model import EgressRule, Grant
from portcullis.policy.yaml import Entry, Reader
from portcullis.wire.egress import METHODS, WEBSOCKET

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_LAST: Final = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST: Final = rf"(?:\*\.)?(?:{_LABEL}\.)*{_LAST}"
"""A DNS name in lower case whose last label is no number, perhaps below a ``*.``."""
_HOST_FORM: Final = "a DNS name in lower case, or *. and one (no address, no port)"
_METHOD: Final = "|".join(sorted((*METHODS, WEBSOCKET)))
_METHOD_FORM: Final = "a method such as GET, or WEBSOCKET"
_PATH: Final = r"/[!-~]{0,512}"
_NAME: Final = r"[a-z0-9][a-z0-9_-]{0,62}"
_KEYS: Final = ("host", "ports", "methods", "paths", "terminate", "plain", "inject")
_EXACT: Final = 1000
"""An exact name is narrower than any pattern: no DNS name is as long."""


def read_egress(reader: Reader, path: str, node: yaml.Node | None) -> tuple[EgressRule, ...]:
    """Read the list; None is the empty one. What contradicts itself is a fault."""
    rules: list[EgressRule] = []
    for index, item in enumerate(reader.items(node, path)):
        rule = _rule(reader, f"{path}[{index}]", item)
        if rule is None:
            continue
        for other in rules:
            if other.host.value != rule.host.value:
                continue
            if (other.terminate, other.plain) != (rule.terminate, rule.plain):
                reader.fault(
                    item,
                    f"{path}[{index}]: terminate and plain differ from {other.host.path}",
                    "Rules for one host agree on how it is reached.",
                )
        rules.append(rule)
    return tuple(rules)


def _rule(reader: Reader, path: str, node: yaml.Node) -> EgressRule | None:
    keys = reader.section(node, path, (*_KEYS, *TERMS))
    if "host" not in keys:
        reader.fault(node, f"{path} has no host", "Write `host: NAME`.")
        return None
    host = reader.text(keys["host"], f"{path}.host", HOST, _HOST_FORM)
    if host is None:
        return None
    inject = reader.text(keys["inject"], f"{path}.inject", _NAME) if "inject" in keys else None
    rule = EgressRule(
        host=Grant(host.value, host.place, host.path, read_terms(reader, keys, path)),
        ports=_ports(reader, keys.get("ports"), f"{path}.ports"),
        methods=_texts(reader, keys, path, "methods", _METHOD, _METHOD_FORM),
        paths=_texts(reader, keys, path, "paths", _PATH, "a path, * for any characters"),
        terminate=_flag(reader, keys.get("terminate"), f"{path}.terminate"),
        plain=_flag(reader, keys.get("plain"), f"{path}.plain"),
        inject="" if inject is None else inject.value,
    )
    read = rule.terminate or rule.plain
    for name in ("methods", "paths"):
        if name in keys and not read:
            reader.fault(
                keys[name],
                f"{path}.{name}: nothing is read of an encrypted connection",
                "Add `terminate: true`.",
            )
    if "inject" in keys and (not rule.terminate or rule.plain):
        reader.fault(
            keys["inject"],
            f"{path}.inject needs terminate: true, and not plain: true",
            "A credential goes into requests that the gate reads, and never in the clear.",
        )
    return rule


def _texts(
    reader: Reader, keys: dict[str, yaml.Node], path: str, name: str, pattern: str, form: str
) -> tuple[Entry, ...] | None:
    if name not in keys:
        return None
    return reader.texts(keys[name], f"{path}.{name}", pattern, form)


def _ports(reader: Reader, node: yaml.Node | None, path: str) -> tuple[int, ...]:
    if node is None:
        return (443,)
    found: list[int] = []
    for index, item in enumerate(reader.items(node, path)):
        port = reader.value(item, f"{path}[{index}]")
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 2**16:
            reader.fault(item, f"{path}[{index}] must be a port")
        else:
            found.append(port)
    return tuple(dict.fromkeys(found))


def _flag(reader: Reader, node: yaml.Node | None, path: str) -> bool:
    if node is None:
        return False
    value = reader.value(node, path)
    if not isinstance(value, bool):
        reader.fault(node, f"{path} must be true or false")
    return value is True


def egress_data(rules: tuple[EgressRule, ...]) -> list[dict[str, Any]]:
    """The rules as Rego asks for them; the narrower of two patterns has the higher rank."""
    return [
        {
            "host": _host_regex(rule.host.value),
            "rank": len(rule.host.value) + (0 if rule.host.value.startswith("*.") else _EXACT),
            "ports": list(rule.ports),
            "methods": _values(rule.methods),
            "paths": None if rule.paths is None else [_glob(one.value) for one in rule.paths],
            "terminate": rule.terminate,
            "plain": rule.plain,
            "inject": rule.inject,
            "rule": rule.host.rule,
            **({} if rule.host.terms.plain else {"terms": terms_data(rule.host.terms)}),
        }
        for rule in rules
    ]


def terminated(rules: tuple[EgressRule, ...]) -> tuple[str, ...]:
    """The hosts, as they are written, whose TLS ends at the gate."""
    return tuple(dict.fromkeys(rule.host.value for rule in rules if rule.terminate))


def _values(entries: tuple[Entry, ...] | None) -> list[str] | None:
    return None if entries is None else [entry.value for entry in entries]


def _host_regex(host: str) -> str:
    below = host.removeprefix("*.")
    return rf"^[a-z0-9_.-]+\.{re.escape(below)}$" if below != host else f"^{re.escape(host)}$"


def _glob(path: str) -> str:
    return "^(?s:" + ".*".join(re.escape(part) for part in path.split("*")) + ")$"


def described(rule: EgressRule) -> str:
    """All that a rule lets through, in one line."""
    parts = [f"{rule.host.value}:{','.join(map(str, rule.ports))}"]
    if rule.methods is not None:
        parts.append("/".join(one.value for one in rule.methods) or "nothing")
    if rule.paths is not None:
        parts.append(" ".join(one.value for one in rule.paths) or "nowhere")
    parts += [word for word, said in (("read", rule.terminate), ("plain", rule.plain)) if said]
    parts += [f"with {rule.inject}"] if rule.inject else []
    return " ".join(parts)


def uncovered(old: tuple[EgressRule, ...], new: tuple[EgressRule, ...]) -> Iterator[str]:
    """Hosts with rules of their own before, that are now reached by a wider pattern's."""
    named = {rule.host.value for rule in new}
    for host in dict.fromkeys(rule.host.value for rule in old):
        if host in named:
            continue
        below = host.removeprefix("*.")
        for pattern in named:
            wide = pattern.removeprefix("*.")
            if wide != pattern and below.endswith(f".{wide}"):
                yield f"egress to {host} goes by {pattern}"

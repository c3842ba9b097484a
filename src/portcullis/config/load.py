"""Reading the configuration file: strict YAML, errors with line and key, anchored paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from portcullis.config.boxed import anchored as anchored_mount
from portcullis.config.common import SECRET
from portcullis.config.yaml import Unreadable, compose, construct
from portcullis.core.errors import Problem

_Model = TypeVar("_Model", bound=BaseModel)

_DEMONSTRATION: Final = "portcullis-state/demo/portcullis.yaml"
_WORDS = {"extra_forbidden": "unknown key", "missing": "this key is required"}


def load(path: Path, model: type[_Model]) -> _Model:
    """Read a configuration file as a ``model``. Raises Problem PC7001 with line and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        demonstration = path.parent / _DEMONSTRATION
        hint = "Run `portcullis init`."
        if demonstration.exists() and demonstration != path:
            hint = f"For the demonstration that is here: -c {demonstration}. Else {hint}"
        raise Problem("PC7001", f"cannot read {path}: {error}", hint=hint) from None
    try:
        root = compose(text)
        data = construct(root)
    except Unreadable as fault:
        detail = f"{path}:{fault.line}: {fault.reason}"
        raise Problem("PC7001", detail, hint=fault.hint) from None
    if not isinstance(data, dict):
        raise Problem("PC7001", f"{path}:1: expected a mapping")
    try:
        config = model.model_validate(_anchored(data, path.resolve().parent))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "[key]")
        line = _line(root, first["loc"])
        said = _WORDS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        raise Problem("PC7001", f"{path}:{line}: {place}: {said}") from None
    return config


def _anchored(data: dict[str, Any], base: Path) -> dict[str, Any]:
    """The same document with every relative path below ``base``, and without empty sections."""
    given = {key: value for key, value in data.items() if value is not None}
    found = {"state": "portcullis-state", "policy": "policy"} | given
    for key in ("state", "policy"):
        if isinstance(found[key], str):
            found[key] = str(base / found[key])
    for section in ("models", "mcp"):
        if isinstance(found.get(section), dict):
            found[section] = {
                name: _anchored_upstream(upstream, base) if isinstance(upstream, dict) else upstream
                for name, upstream in found[section].items()
            }
    if isinstance(found.get("prices"), str):
        found["prices"] = str(base / found["prices"])
    if isinstance(found.get("keys"), dict):
        found["keys"] = _anchored_paths(found["keys"], base, ("path",))
    for section, anchored in _SECTIONS.items():
        if isinstance(found.get(section), dict):
            found[section] = anchored(found[section], base)
    return found


def _anchored_tools(section: dict[str, Any], base: Path) -> dict[str, Any]:
    """Each tool is anchored as an upstream that is a command."""
    return {name: _anchored_server(server, base) for name, server in section.items()}


def _anchored_server(server: Any, base: Path) -> Any:
    if not isinstance(server, dict):
        return server
    found = dict(server)
    if isinstance(found.get("code"), dict):
        found["code"] = _anchored_upstream(found["code"], base)
    if isinstance(found.get("commands"), dict):
        found["commands"] = {
            name: _anchored_upstream(one, base) if isinstance(one, dict) else one
            for name, one in found["commands"].items()
        }
    return found


def _anchored_identity(section: dict[str, Any], base: Path) -> dict[str, Any]:
    found = dict(section)
    for name in ("federation", "kubernetes", "oidc"):
        members = found.get(name)
        if isinstance(members, dict):
            found[name] = {
                member: _anchored_paths(given, base, ("file", "jwks", "ca"))
                for member, given in members.items()
            }
    return found


def _anchored_decisions(section: dict[str, Any], base: Path) -> dict[str, Any]:
    found = dict(section)
    if isinstance(found.get("opinions"), dict):
        found["opinions"] = {
            name: _anchored_paths(one, base, ("authorities",))
            for name, one in found["opinions"].items()
        }
    return found


def _anchored_paths(section: Any, base: Path, paths: tuple[str, ...]) -> Any:
    """A section with its ``paths`` (but no URLs) and its ``file:`` references below ``base``."""
    if not isinstance(section, dict):
        return section
    return {
        name: value
        if not isinstance(value, str)
        else str(base / value)
        if name in paths and not value.startswith("https://")
        else _anchored_reference(value, base)
        for name, value in section.items()
    }


def _anchored_audit(section: dict[str, Any], base: Path) -> dict[str, Any]:
    found = dict(section)
    if isinstance(found.get("witnesses"), str):
        found["witnesses"] = str(base / found["witnesses"])
    if isinstance(found.get("exporters"), list):
        found["exporters"] = [
            _anchored_paths(one, base, ("path", "ca")) for one in found["exporters"]
        ]
    if isinstance(found.get("replicate"), list):
        found["replicate"] = [_anchored_replica(one, base) for one in found["replicate"]]
    found["content"] = _anchored_paths(found.get("content"), base, ("encrypt_to",))
    if found["content"] is None:
        del found["content"]
    stamps = found.get("timestamps")
    if isinstance(stamps, dict) and isinstance(stamps.get("authorities"), list):
        authorities = [_anchored_paths(a, base, ("certificates",)) for a in stamps["authorities"]]
        found["timestamps"] = stamps | {"authorities": authorities}
    return found


def _anchored_telemetry(section: dict[str, Any], base: Path) -> dict[str, Any]:
    traces = _anchored_paths(section.get("traces"), base, ("ca",))
    if isinstance(traces, dict) and isinstance(traces.get("headers"), dict):
        traces = traces | {"headers": _anchored_paths(traces["headers"], base, ())}
    return section | {
        "traces": traces,
        "metrics": _anchored_paths(section.get("metrics"), base, ()),
    }


def _anchored_replica(replica: Any, base: Path) -> Any:
    """Its keys; the ``file:`` of its store is a URL."""
    if not isinstance(replica, dict):
        return replica
    keys = {
        name: replica[name]
        for name in ("access_key", "secret_key", "session_token")
        if name in replica
    }
    return replica | _anchored_paths(keys, base, ())


def _anchored_inspection(section: dict[str, Any], base: Path) -> dict[str, Any]:
    found = dict(section)
    if isinstance(found.get("packs"), list):
        found["packs"] = [
            str(base / pack) if isinstance(pack, str) else pack for pack in found["packs"]
        ]
    if isinstance(found.get("dictionaries"), dict):
        names = found["dictionaries"]
        found["dictionaries"] = _anchored_paths(names, base, tuple(names))
    found["onnx"] = _anchored_paths(found.get("onnx"), base, ("model", "tokenizer"))
    return found


def _anchored_evidence(section: dict[str, Any], base: Path) -> dict[str, Any]:
    return section | {"packages": _anchored_paths(section.get("packages"), base, ("folder",))}


def _anchored_notifications(section: dict[str, Any], base: Path) -> dict[str, Any]:
    return {name: _anchored_channel(channel, base) for name, channel in section.items()}


def _anchored_channel(channel: Any, base: Path) -> Any:
    found = _anchored_paths(channel, base, ("ca", "socket"))
    if isinstance(found, dict):
        if isinstance(found.get("secrets"), list):
            found["secrets"] = [
                _anchored_reference(one, base) if isinstance(one, str) else one
                for one in found["secrets"]
            ]
        if "actions" in found:
            found["actions"] = _anchored_paths(found["actions"], base, ())
    return found


def _anchored_alerts(section: dict[str, Any], base: Path) -> Any:
    return _anchored_paths(section, base, ("rules",))


def _anchored_incidents(section: dict[str, Any], base: Path) -> Any:
    return _anchored_paths(section, base, ("playbooks",))


def _anchored_counters(section: dict[str, Any], base: Path) -> Any:
    return _anchored_paths(section, base, ())


def _anchored_egress(section: dict[str, Any], base: Path) -> dict[str, Any]:
    found: dict[str, Any] = _anchored_paths(section, base, ("authorities",))
    if isinstance(found.get("credentials"), dict):
        found["credentials"] = {
            name: _anchored_paths(one, base, ()) for name, one in found["credentials"].items()
        }
    return found


def _anchored_secrets(section: dict[str, Any], base: Path) -> dict[str, Any]:
    found = dict(section)
    if isinstance(found.get("openbao"), dict):
        found["openbao"] = _anchored_paths(found["openbao"], base, ("ca",))
        auth = _anchored_paths(found["openbao"].get("auth"), base, ("certificate", "key"))
        found["openbao"] |= {"auth": auth}
    if isinstance(found.get("known"), list):
        found["known"] = [_anchored_paths(one, base, ()) for one in found["known"]]
    return found


def _anchored_policy_source(section: dict[str, Any], base: Path) -> Any:
    return _anchored_paths(section, base, ("key", "ca"))


_SECTIONS: Final = {
    "alerts": _anchored_alerts,
    "counters": _anchored_counters,
    "feed": _anchored_counters,
    "incidents": _anchored_incidents,
    "notifications": _anchored_notifications,
    "policy_changes": _anchored_counters,
    "store": _anchored_counters,
    "shared": _anchored_counters,
    "policy_source": _anchored_policy_source,
    "audit": _anchored_audit,
    "inspection": _anchored_inspection,
    "identity": _anchored_identity,
    "evidence": _anchored_evidence,
    "telemetry": _anchored_telemetry,
    "tools": _anchored_tools,
    "secrets": _anchored_secrets,
    "egress": _anchored_egress,
    "decisions": _anchored_decisions,
}


def _anchored_upstream(upstream: dict[str, Any], base: Path) -> dict[str, Any]:
    found = dict(upstream)
    if isinstance(found.get("credential"), str):
        found["credential"] = _anchored_reference(found["credential"], base)
    if isinstance(found.get("oauth"), dict):
        found["oauth"] = _anchored_paths(found["oauth"], base, ())
    if isinstance(found.get("cwd"), str):
        found["cwd"] = str(base / found["cwd"])
    if isinstance(found.get("inject"), list):
        found["inject"] = [_anchored_injection(one, base) for one in found["inject"]]
    if isinstance(found.get("mounts"), list):
        found["mounts"] = [
            anchored_mount(one, base) if isinstance(one, str) else one for one in found["mounts"]
        ]
    if isinstance(found.get("env"), dict):
        found["env"] = {
            name: _anchored_reference(value, base) if isinstance(value, str) else value
            for name, value in found["env"].items()
        }
    return found


def _anchored_injection(injection: Any, base: Path) -> Any:
    """Its references; the template and the names of places are texts."""
    if not isinstance(injection, dict):
        return injection
    found = dict(injection)
    if isinstance(found.get("secret"), str):
        found["secret"] = _anchored_reference(found["secret"], base)
    found["secrets"] = _anchored_paths(found.get("secrets", {}), base, ())
    return found


def _anchored_reference(reference: str, base: Path) -> str:
    scheme, _, place = reference.partition(":")
    if scheme == "vault" and re.match(SECRET, reference):
        return f"openbao:{place}"  # one secret has one name
    return f"file:{base / place}" if scheme == "file" and place else reference


def _line(node: yaml.Node | None, where: tuple[int | str, ...]) -> int:
    """The line (from 1) of the deepest node on the way to ``where``."""
    line = 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(part)]
            if not found:
                continue  # a missing key, or the name of a kind, which stands in no file
            key, node = found[0]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                return line  # an element that is missing
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line

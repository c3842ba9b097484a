"""Reads what a case expects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import yaml

from portcullis.core.call import RiskClass
from portcullis.core.codes import CODES
from portcullis.policy.testing.model import Expected
from portcullis.policy.yaml import Reader

_EXPECT: Final = ("verdict", "code", "rule", "risk", "obligations", "limits", "visible")
_OBLIGED: Final = ("mask", "log", "approvers", "rows")
_LIMITS: Final = ("calls", "tokens", "seconds")
_RISKS: Final = "|".join(RiskClass)
_CODE: Final = r"PC3\d{3}|PC2\d{3}|PC9001"


def read_expected(reader: Reader, node: yaml.Node, path: str) -> Expected:
    """Read ``expect:``: a word, a code, or a mapping that says more."""
    if isinstance(node, yaml.ScalarNode):
        entry = reader.text(node, path, f"allow|deny|{_CODE}", "allow, deny or a code")
        if entry is None:
            return Expected()
        if entry.value in {"allow", "deny"}:
            return Expected(verdict="allow" if entry.value == "allow" else "deny")
        return Expected(verdict="deny", code=_known(reader, node, path, entry.value))
    parts = reader.section(node, path, _EXPECT)
    if not parts:
        reader.fault(node, f"{path} expects nothing", f"Known keys: {', '.join(_EXPECT)}.")
    verdict = _text(reader, parts, "verdict", path, "allow|deny", "allow or deny")
    code = _text(reader, parts, "code", path, _CODE, "the code of a denial")
    if verdict == "allow" and code is not None:
        reader.fault(parts["code"], f"{path}: what is allowed has no code")
    if verdict == "deny" and "obligations" in parts:
        reader.fault(parts["obligations"], f"{path}: what is denied has no obligations")
    risk = _text(reader, parts, "risk", path, _RISKS, f"one of {', '.join(RiskClass)}")
    visible = None
    if "visible" in parts:
        listed = reader.texts(parts["visible"], f"{path}.visible", r"[^\x00-\x1f]{1,1024}", "")
        visible = frozenset(entry.value for entry in listed)
    said = _verdict(verdict, code, allowed="obligations" in parts)
    found = Expected(
        verdict=said,
        code=None if code is None else _known(reader, parts["code"], path, code),
        rule=_text(reader, parts, "rule", path, r"[!-~ ]{1,256}", "the path of a rule"),
        risk=None if risk is None else RiskClass(risk),
        limits=_limits(reader, parts.get("limits"), f"{path}.limits"),
        visible=visible,
    )
    return _obliged(reader, found, parts.get("obligations"), f"{path}.obligations")


def _obliged(reader: Reader, expected: Expected, node: yaml.Node | None, path: str) -> Expected:
    """With the obligations that are expected; an empty mapping expects that there are none."""
    if node is None:
        return expected
    parts = reader.section(node, path, _OBLIGED)
    if not parts:
        return replace(expected, masks={}, log=frozenset(), approvers=0, rows={})
    masks = read_object(reader, parts.get("mask"), f"{path}.mask")
    log = reader.texts(parts.get("log"), f"{path}.log", r"[^\x00-\x1f\x7f]{1,128}", "")
    rows = {}
    for name, values in read_object(reader, parts.get("rows"), f"{path}.rows").items():
        if isinstance(values, list) and all(isinstance(one, str | int) for one in values):
            rows[name] = frozenset(values)
        else:
            reader.fault(parts["rows"], f"{path}.rows.{name} must be a list of values")
    return replace(
        expected,
        masks={key: str(value) for key, value in masks.items()} if "mask" in parts else None,
        log=frozenset(entry.value for entry in log) if "log" in parts else None,
        approvers=_number(reader, parts.get("approvers"), f"{path}.approvers"),
        rows=rows if "rows" in parts else None,
    )


def _limits(reader: Reader, node: yaml.Node | None, path: str) -> dict[str, int] | None:
    if node is None:
        return None
    parts = reader.section(node, path, _LIMITS)
    found = {name: _number(reader, one, f"{path}.{name}") for name, one in parts.items()}
    return {name: number for name, number in found.items() if number is not None}


def _number(reader: Reader, node: yaml.Node | None, path: str) -> int | None:
    value = None if node is None else reader.value(node, path)
    if node is None or type(value) is int:
        return value
    reader.fault(node, f"{path} must be a whole number")
    return None


def _text(
    reader: Reader,
    parts: dict[str, yaml.Node],
    key: str,
    path: str,
    pattern: str,
    form: str,
) -> str | None:
    if key not in parts:
        return None
    entry = reader.text(parts[key], f"{path}.{key}", pattern, form)
    return None if entry is None else entry.value


def _known(reader: Reader, node: yaml.Node, path: str, code: str) -> str:
    if code not in CODES:
        reader.fault(node, f"{path}: no code {code}", "`portcullis explain` lists them.")
    return code


def read_object(reader: Reader, node: yaml.Node | None, path: str) -> dict[str, Any]:
    """A mapping, empty when there is no node."""
    if node is None:
        return {}
    value = reader.value(node, path)
    if isinstance(value, dict):
        return value
    reader.fault(node, f"{path} must be a mapping")
    return {}


def _verdict(said: str | None, code: str | None, *, allowed: bool) -> Any:
    """Allow, deny or None: a code says that it is denied, obligations that it is allowed."""
    if said is None and code is not None:
        return "deny"
    return "allow" if said is None and allowed else said

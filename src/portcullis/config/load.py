"""Reading the configuration file: strict YAML, errors with line and key, anchored paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from portcullis.core.errors import Problem

_Model = TypeVar("_Model", bound=BaseModel)

_WORDS = {"extra_forbidden": "unknown key", "missing": "this key is required"}


def load(path: Path, model: type[_Model]) -> _Model:
    """Read a configuration file as a ``model``. Raises Problem PC7001 with line and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(
            "PC7001", f"cannot read {path}: {error}", hint="Run `portcullis init`."
        ) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_duplicates(path, root)
        data = yaml.safe_load(text)
    except RecursionError:
        raise Problem("PC7001", f"{path}: an alias refers to itself") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = 1 if mark is None else mark.line + 1
        raise Problem("PC7001", f"{path}:{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise Problem("PC7001", f"{path}: {error}") from None
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


def _refuse_duplicates(path: Path, node: yaml.Node | None) -> None:
    """A key that stands twice would lose one of its values in silence."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise Problem("PC7001", f"{path}:{line}: {key.value} stands twice")
            seen.add(key.value)
            _refuse_duplicates(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(path, item)


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
    if isinstance(found.get("keys"), dict):
        found["keys"] = _anchored_paths(found["keys"], base, ("path",))
    if isinstance(found.get("inspection"), dict):
        found["inspection"] = _anchored_inspection(found["inspection"], base)
    if isinstance(found.get("identity"), dict):
        found["identity"] = dict(found["identity"])
        for section in ("federation", "kubernetes", "oidc"):
            members = found["identity"].get(section)
            if isinstance(members, dict):
                found["identity"][section] = {
                    name: _anchored_paths(member, base, ("file", "jwks", "ca"))
                    for name, member in members.items()
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


def _anchored_upstream(upstream: dict[str, Any], base: Path) -> dict[str, Any]:
    found = dict(upstream)
    if isinstance(found.get("credential"), str):
        found["credential"] = _anchored_reference(found["credential"], base)
    if isinstance(found.get("cwd"), str):
        found["cwd"] = str(base / found["cwd"])
    if isinstance(found.get("env"), dict):
        found["env"] = {
            name: _anchored_reference(value, base) if isinstance(value, str) else value
            for name, value in found["env"].items()
        }
    return found


def _anchored_reference(reference: str, base: Path) -> str:
    scheme, _, place = reference.partition(":")
    return f"file:{base / place}" if scheme == "file" and place else reference


def _line(node: yaml.Node | None, where: tuple[int | str, ...]) -> int:
    """The line (from 1) of the deepest node on the way to ``where``."""
    line = 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(part)]
            if not found:
                return line
            key, node = found[0]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line

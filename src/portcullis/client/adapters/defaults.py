"""Defaults that a JSON Schema names: what a model leaves out is asked about too, at any depth."""

from __future__ import annotations

from typing import Any, Final

_CHOICES: Final = ("anyOf", "oneOf", "allOf")


def filled(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """A value with the defaults of what it leaves out, by a schema that ``unclear`` let pass."""
    root = schema if root is None else root
    found = _found(schema, root)
    if isinstance(value, list) and isinstance(items := found.get("items"), dict):
        return [filled(each, items, root) for each in value]
    if not isinstance(value, dict):
        return value
    whole = dict(value)
    for name, each in found.get("properties", {}).items():
        if name in whole:
            whole[name] = filled(whole[name], each, root)
        elif "default" in each:
            whole[name] = filled(each["default"], each, root)
    return whole


def unclear(schema: Any, root: dict[str, Any]) -> bool:
    """Whether it depends on the reader which defaults hold: several objects to choose from."""
    if isinstance(schema, list):
        return any(unclear(each, root) for each in schema)
    if not isinstance(schema, dict):
        return False
    for choice in _CHOICES:
        objects = _objects(schema.get(choice, ()), root)
        if len(objects) > 1 and any(map(_fills, objects)):
            return True
    return any(unclear(each, root) for each in schema.values())


def _fills(schema: dict[str, Any]) -> bool:
    needed = schema.get("required", ())
    named = schema.get("properties", {}).items()
    return any("default" in each for name, each in named if name not in needed)


def _objects(schemas: Any, root: dict[str, Any]) -> list[dict[str, Any]]:
    found = (_found(each, root) for each in schemas)
    return [each for each in found if "properties" in each or "items" in each]


def _found(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """What a schema says of an object or a list, behind references and choices."""
    if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#"):
        there: Any = root
        for step in reference[1:].split("/")[1:]:
            there = there.get(step, {})
        return _found(there, root)
    for choice in _CHOICES:
        objects = _objects(schema.get(choice, ()), root)
        if len(objects) == 1:
            return objects[0]
    return schema

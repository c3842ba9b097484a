"""Defaults that a JSON Schema names: what a model leaves out is asked about too, at any depth."""

from __future__ import annotations

from typing import Any, Final

_CHOICES: Final = ("anyOf", "oneOf", "allOf")
_UNFILLED: Final = ("additionalProperties", "patternProperties", "prefixItems")


def filled(value: Any, schema: Any, root: dict[str, Any] | None = None) -> Any:
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
        elif isinstance(each, dict) and "default" in each:
            whole[name] = filled(each["default"], each, root)
    return whole


def unclear(schema: Any, root: dict[str, Any]) -> bool:
    """Whether it depends on the reader which defaults hold.

    So it does with several objects to choose from, with defaults where ``filled`` does not look,
    and with references or defaults that never end.
    """
    if isinstance(schema, list):
        return any(unclear(each, root) for each in schema)
    if not isinstance(schema, dict):
        return False
    grows = isinstance(default := schema.get("default"), dict | list) and default != []
    if _endless(schema, root, deep=grows):
        return True
    if any(_defaults(schema.get(part), root) for part in _UNFILLED):
        return True
    for choice in _CHOICES:
        objects = _objects(schema.get(choice, ()), root)
        if len(objects) > 1 and any(map(_fills, objects)):
            return True
    return any(unclear(each, root) for each in schema.values())


def _endless(
    schema: Any, root: dict[str, Any], *, deep: bool, seen: frozenset[str] = frozenset()
) -> bool:
    """Whether references lead back to themselves, through choices or, ``deep``, in any way."""
    if isinstance(schema, list):
        return any(_endless(each, root, deep=deep, seen=seen) for each in schema)
    if not isinstance(schema, dict):
        return False
    if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#"):
        there, beyond = _there(reference, root), seen | {reference}
        return reference in seen or _endless(there, root, deep=deep, seen=beyond)
    parts = schema.values() if deep else [schema.get(choice) for choice in _CHOICES]
    return any(_endless(each, root, deep=deep, seen=seen) for each in parts)


def _defaults(schema: Any, root: dict[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    """Whether there is a default anywhere below."""
    if isinstance(schema, list):
        return any(_defaults(each, root, seen) for each in schema)
    if not isinstance(schema, dict):
        return False
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#") and reference not in seen:
        seen |= {reference}
        if _defaults(_there(reference, root), root, seen):
            return True
    return "default" in schema or any(_defaults(each, root, seen) for each in schema.values())


def _fills(schema: dict[str, Any]) -> bool:
    needed = schema.get("required", ())
    named = schema.get("properties", {}).items()
    return any(
        isinstance(each, dict) and "default" in each for name, each in named if name not in needed
    )


def _objects(schemas: Any, root: dict[str, Any]) -> list[dict[str, Any]]:
    found = (_found(each, root) for each in schemas)
    return [each for each in found if "properties" in each or "items" in each]


def _found(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """What a schema says of an object or a list, behind references and choices."""
    if not isinstance(schema, dict):
        return {}
    if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#"):
        return _found(_there(reference, root), root)
    for choice in _CHOICES:
        objects = _objects(schema.get(choice, ()), root)
        if len(objects) == 1:
            return objects[0]
    return schema


def _there(reference: str, root: dict[str, Any]) -> Any:
    there: Any = root
    for step in reference[1:].split("/")[1:]:
        there = there.get(step, {})
    return there

"""How deep a value may be before a JSON Schema validates one of its nodes too many times.

Subschemas that apply to the same place add up, and through references they multiply: thirty
lines of ``allOf`` can ask for a thousand million validations of one string, and a recursive
``anyOf`` doubles its work with each level of the value. Who writes such a schema is a server
that we do not trust, so the work is bounded before the schema is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

MAX_DEPTH: Final = 64
"""As deep as any JSON value gets into the gate."""
_LIMIT: Final = 256
"""How often one node of a value may be validated."""
_WORK: Final = 2**18
"""Most steps that the question itself may take, since nobody else is served meanwhile."""
_APPLIED: Final = 16
"""Steps for each subschema that applies to a place: it will be compiled there as well."""
_SAME_PLACE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
_SAME_PLACE_NAMED: Final = ("dependentSchemas", "dependencies")
_MEMBERS: Final = ("additionalProperties", "unevaluatedProperties", "propertyNames")
_ITEMS: Final = ("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains")


def safe_depth(schema: Any) -> int:
    """The depth of values up to which the schema stays cheap, at most MAX_DEPTH.

    -1 when there is none, when it takes too long to say, or when a reference leaves the document
    or is dynamic: only ``#`` and ``#/...`` are followed (JSON Pointer, RFC 6901).
    """
    cost = _Cost(schema)
    try:
        if cost.at(schema, MAX_DEPTH) <= _LIMIT:
            return MAX_DEPTH
        depth = -1
        while depth < MAX_DEPTH and cost.at(schema, depth + 1) <= _LIMIT:
            depth += 1
    except (_Unsupported, RecursionError):
        return -1
    return depth


class _Unsupported(Exception):  # noqa: N818 - private; ends the walk
    pass


@dataclass(frozen=True, slots=True)
class _Place:
    """What applies to one place of a value: how many subschemas, and those of what is below."""

    here: int
    items: tuple[Any, ...]
    members: tuple[Any, ...]
    named: tuple[tuple[str, Any], ...]


class _Cost:
    """Counts, per node of a value, how many subschemas apply to it at worst."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._work = _WORK
        self._places: dict[int, _Place] = {}
        self._known: dict[tuple[int, int], int] = {}

    def at(self, schema: Any, depth: int) -> int:
        """The most validations of one node, for values of that depth; capped above the limit."""
        if not isinstance(schema, dict):
            return 1
        key = (id(schema), depth)
        if key not in self._known:
            self._known[key] = self._count(self._place(schema), depth)
        return self._known[key]

    def _count(self, place: _Place, depth: int) -> int:
        if depth == 0 or place.here > _LIMIT:
            return place.here
        below = depth - 1
        self._works(len(place.items) + len(place.members) + len(place.named))
        items = sum(self.at(child, below) for child in place.items)
        members = sum(self.at(child, below) for child in place.members)
        named: dict[str, int] = {}
        for name, child in place.named:
            named[name] = named.get(name, 0) + self.at(child, below)
        members += max(named.values(), default=0)
        return min(max(place.here, items, members), _LIMIT + 1)

    def _place(self, schema: dict[str, Any]) -> _Place:
        known = self._places.get(id(schema))
        if known is None:
            here: list[dict[str, Any]] = []
            self._gather(schema, here, ())
            known = self._places[id(schema)] = _Place(
                len(here),
                tuple(child for node in here for child in _children(node, _ITEMS)),
                tuple(
                    child
                    for node in here
                    for child in (*_children(node, _MEMBERS), *_named(node, "patternProperties"))
                ),
                tuple(
                    entry
                    for node in here
                    if isinstance(properties := node.get("properties"), dict)
                    for entry in properties.items()
                ),
            )
            self._works(len(known.items) + len(known.members) + len(known.named))
        return known

    def _works(self, steps: int) -> None:
        self._work -= steps
        if self._work < 0:
            raise _Unsupported

    def _gather(self, schema: Any, here: list[dict[str, Any]], above: tuple[int, ...]) -> None:
        """Every subschema that applies to the same place as ``schema``, itself included."""
        if not isinstance(schema, dict) or len(here) > _LIMIT:
            return
        if id(schema) in above or "$dynamicRef" in schema or "$recursiveRef" in schema:
            raise _Unsupported
        if schema is not self._root and isinstance(schema.get("$id", schema.get("id")), str):
            raise _Unsupported
        self._works(_APPLIED)
        here.append(schema)
        above = (*above, id(schema))
        for child in _children(schema, _SAME_PLACE):
            self._gather(child, here, above)
        for key in _SAME_PLACE_NAMED:
            for child in _named(schema, key):
                self._gather(child, here, above)
        if "$ref" in schema:
            self._gather(self._resolve(schema["$ref"]), here, above)

    def _resolve(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not (reference == "#" or reference[:2] == "#/"):
            raise _Unsupported
        node = self._root
        for part in unquote(reference).split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and name in node:
                node = node[name]
            elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            else:
                raise _Unsupported
        return node


def _children(node: dict[str, Any], keys: tuple[str, ...]) -> Iterator[Any]:
    for key in keys:
        value = node.get(key)
        if isinstance(value, list):
            yield from value
        elif value is not None:
            yield value


def _named(node: dict[str, Any], key: str) -> Iterator[Any]:
    value = node.get(key)
    if isinstance(value, dict):
        yield from value.values()

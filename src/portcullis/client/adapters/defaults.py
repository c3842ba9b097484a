"""Defaults that a JSON Schema names: what a model leaves out is asked about too, at any depth.

Whoever reads the arguments after the gate fills in what is missing. So it is filled in before the
gate is asked: in objects, in what their properties and items refer to, and in the only object of
a choice. A schema with a default anywhere else is refused, for nobody could say what would run.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

from portcullis.client.refused import Refused
from portcullis.wire.json import MAX_DEPTH, MAX_VALUES

_CHOICES: Final = ("anyOf", "oneOf", "allOf")
_NAMED: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "dependencies"})
"""Keywords whose values are schemas by name."""
_NO_SCHEMAS: Final = frozenset({"default", "const", "enum", "example", "examples", "required"})
_APART: Final = frozenset({"$defs", "definitions"})
"""What stands there counts where it is referred to."""
_NOTHING: Final[frozenset[str]] = frozenset()
_ELSEWHERE: Final = ("$dynamicRef", "$recursiveRef")


class Defaults:
    """The defaults of ``tool``'s schema. Raises TypeError when they depend on who reads it.

    So it does with defaults beside a reference or in several objects to choose from, and with
    references that lead nowhere, elsewhere, or back to themselves.
    """

    def __init__(self, tool: str, schema: dict[str, Any]) -> None:
        self._meanings: dict[int, Any] = {}
        self._looked: set[tuple[int, frozenset[str] | None]] = set()
        self._count = itertools.count()
        try:
            self._root = copy.deepcopy(schema)
            self._look(self._root)
        except (_UnclearError, Refused, RecursionError):
            message = f"{tool}: which defaults hold depends on how its schema is read"
            raise TypeError(message) from None

    def filled(self, value: Any) -> Any:
        """A value with the defaults of what it leaves out.

        Raises Refused, PC1005 or PC1015, for one that gets deeper or larger than a call may be.
        """
        return self._filled(value, self._root, itertools.count(), MAX_DEPTH)

    def _filled(self, value: Any, schema: Any, count: Iterator[int], depth: int) -> Any:
        if next(count) > MAX_VALUES:
            raise Refused("PC1015", f"with its defaults it holds more than {MAX_VALUES} values")
        if not isinstance(value, dict | list):
            return value
        if not depth:
            raise Refused("PC1005", f"with its defaults it is deeper than {MAX_DEPTH} levels")
        found = self._meaning(schema)
        if isinstance(value, list):
            items = found.get("items")
            return [self._filled(each, items, count, depth - 1) for each in value]
        whole = dict(value)
        for name, each in found.get("properties", {}).items():
            if name in whole:
                whole[name] = self._filled(whole[name], each, count, depth - 1)
            elif isinstance(each, dict) and "default" in each:
                whole[name] = self._filled(each["default"], each, count, depth - 1)
        return whole

    def _look(self, schema: Any) -> None:
        """See that each default at or below a schema is one that ``_filled`` comes by."""
        if not isinstance(schema, dict) or self._known(schema, None):
            return
        self._meaning(schema)
        there = self._next(schema)
        if there is not None:
            if isinstance(there, dict) and "default" in there:
                raise _UnclearError
            self._pass_by(schema, there)
            self._look(there)
            return
        for each in schema.get("properties", {}).values():
            if isinstance(each, dict) and "default" in each:
                self._filled(each["default"], each, self._count, MAX_DEPTH)
            self._look(each)
        items = schema.get("items")
        if isinstance(items, dict) and "default" not in items:
            self._look(items)
        else:
            self._without(items)
        self._pass_by(schema, schema.get("properties"), items)

    def _pass_by(self, schema: dict[str, Any], *but: Any) -> None:
        """See that there is no default below a schema, but for those parts of it."""
        for name, said in schema.items():
            if name in _APART or name in _NO_SCHEMAS or any(said is each for each in but):
                continue
            parts = said if isinstance(said, list) else [said]
            if name in _NAMED and isinstance(said, dict):
                parts = list(said.values())  # names are no keywords
            given = self._needed(parts) if name in _CHOICES else _NOTHING
            for each in parts:
                if not any(each is one for one in but):
                    self._without(each, given)

    def _needed(self, choice: list[Any]) -> frozenset[str]:
        """What no object can leave out that fits any of these: the gate sees that it fits one."""
        objects = [each for each in choice if not _is_no_object(each)]
        needed = [frozenset(self._meaning(each).get("required", ())) for each in objects]
        return frozenset.intersection(*needed) if needed else _NOTHING

    def _without(self, schema: Any, given: frozenset[str] = frozenset()) -> None:
        """See that there is no default at or below what ``_filled`` passes by.

        Those of what is ``given`` in any case do not count: no reader needs them.
        """
        if isinstance(schema, list):
            for each in schema:
                self._without(each)
            return
        if not isinstance(schema, dict) or self._known(schema, given):
            return
        if "default" in schema:
            raise _UnclearError
        self._without(self._referred(schema), given)
        for name, each in schema.get("properties", {}).items():
            if name in given and isinstance(each, dict):
                self._without(self._referred(each))
                self._pass_by(each)
            else:
                self._without(each)
        self._pass_by(schema, schema.get("properties"))

    def _known(self, schema: dict[str, Any], how: frozenset[str] | None) -> bool:
        """Whether a schema was looked at before, or passed by with this given."""
        known = (id(schema), how) in self._looked
        self._looked.add((id(schema), how))
        return known

    def _meaning(self, schema: Any) -> dict[str, Any]:
        """What a schema says of an object or a list, behind references and choices."""
        if not isinstance(schema, dict):
            return {}
        key = id(schema)
        if key not in self._meanings:
            self._meanings[key] = None
            there = self._next(schema)
            self._meanings[key] = schema if there is None else self._meaning(there)
        if self._meanings[key] is None:
            raise _UnclearError  # it leads back to itself
        found: dict[str, Any] = self._meanings[key]
        return found

    def _next(self, schema: dict[str, Any]) -> Any:
        """What a schema stands for: what it refers to, or the only object of a choice."""
        _well_formed(schema, is_root=schema is self._root)
        if "$ref" in schema:
            return self._referred(schema)
        for choice in _CHOICES:
            objects = [
                each
                for each in schema.get(choice, ())
                if {"properties", "items"} & self._meaning(each).keys()
            ]
            if len(objects) == 1:
                return objects[0]
        return None

    def _referred(self, schema: dict[str, Any]) -> Any:
        """What a schema refers to (RFC 6901), None for one that does not refer."""
        _well_formed(schema, is_root=schema is self._root)
        reference = schema.get("$ref")
        if reference is None:
            return None
        there: Any = self._root
        start, *steps = unquote(reference).split("/")
        try:
            for step in steps:
                name = step.replace("~1", "/").replace("~0", "~")
                there = there[int(name) if isinstance(there, list) else name]
        except (LookupError, ValueError, TypeError):
            raise _UnclearError from None
        if start != "#":
            raise _UnclearError
        return there


class _UnclearError(Exception):
    """Readers may differ."""


def _is_no_object(schema: Any) -> bool:
    """Whether no object fits, as far as the schema says so itself."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    return schema is False or (isinstance(kind, str) and kind != "object")


def _well_formed(schema: dict[str, Any], *, is_root: bool) -> None:
    """Raise _UnclearError for a schema that we would not read as everybody else does."""
    named, needed = schema.get("properties", {}), schema.get("required", [])
    choices = [schema.get(choice, []) for choice in _CHOICES]
    if (
        not isinstance(named, dict)
        or not all(isinstance(each, list) for each in (*choices, needed))
        or not all(isinstance(each, str) for each in needed)
        or not isinstance(schema.get("$ref", ""), str)
        or any(name in schema for name in _ELSEWHERE)
        or ("$id" in schema and not is_root)  # references are relative to it
    ):
        raise _UnclearError

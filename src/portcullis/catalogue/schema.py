"""JSON Schemas from servers we do not trust: compiled offline, bounded in size, time and depth.

No reference leaves the document, patterns run on a linear-time engine, and a schema that could
make validation explode is unusable beyond the depth at which it stays cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import jsonschema_rs
import msgspec

from portcullis.catalogue.cost import MAX_DEPTH, safe_depth
from portcullis.core.inspection import SHOWN

MAX_SCHEMA_BYTES: Final = 128 * 1024
_SHOWN: Final = 8
_INDEX: Final = 10**6
"""A number from here on is no index but a name made of digits."""
_REGEX_BYTES: Final = 2**20
_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES)


class UnusableSchema(Exception):  # noqa: N818 - says what it is; it never leaves this package
    """A schema that cannot be enforced; ``str()`` says why, without its content."""


class Validator:
    """A compiled schema. ``check`` returns what a value breaks; no value is ever quoted."""

    def __init__(self, schema: Any) -> None:
        """Raise UnusableSchema for what cannot be compiled within the bounds."""
        try:
            size = len(msgspec.json.encode(schema))
        except (TypeError, ValueError, RecursionError):
            raise UnusableSchema("not a JSON value") from None
        if size > MAX_SCHEMA_BYTES:
            raise UnusableSchema(f"larger than {MAX_SCHEMA_BYTES} bytes")
        self._depth = safe_depth(schema)
        if self._depth < 0:
            raise UnusableSchema("a reference out of the document, or too costly to validate")
        try:
            self._compiled = jsonschema_rs.validator_for(
                schema, offline=True, pattern_options=_PATTERNS, validate_formats=True
            )
        except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
            raise UnusableSchema(f"not a usable JSON Schema ({type(error).__name__})") from None

    def check(self, value: Any) -> tuple[str, ...]:
        """Each broken rule as ``path: keyword``; empty when the value fits."""
        if not _within(value, self._depth):
            return ("$: nested too deeply for the schema",)
        try:
            if self._compiled.is_valid(value):
                return ()
            return tuple(
                _name(error) for error in islice(self._compiled.iter_errors(value), _SHOWN)
            )
        except (ValueError, TypeError):
            return ("$: not a JSON value",)


def fault(schema: Any) -> str | None:
    """Why a schema cannot be enforced, or None when it can."""
    if not isinstance(schema, dict | bool):
        return "a schema is a mapping or a boolean"
    try:
        Validator(schema)
    except UnusableSchema as unusable:
        return str(unusable)
    return None


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema, refusing arguments it does not name where it leaves that open.

    JSON Schema lets unknown members pass unless told otherwise; an argument that the schema does
    not name is one that no check understands. What the server says explicitly stands.
    """
    said = {"additionalProperties", "unevaluatedProperties"} & schema.keys()
    if "properties" not in schema or said:
        return dict(schema)
    draft = str(schema.get("$schema", "2020-12"))
    new = "2020-12" in draft or "2019-09" in draft
    return {**schema, ("unevaluatedProperties" if new else "additionalProperties"): False}


def named(schema: Any) -> frozenset[str] | None:
    """The arguments that a tool's schema knows, None where others may be as good."""
    if not isinstance(schema, Mapping) or {"$ref", "allOf", "anyOf", "oneOf", "if"} & schema.keys():
        return None
    shut = closed(schema)
    rest = shut.get("unevaluatedProperties", shut.get("additionalProperties"))
    known = shut.get("properties")
    if rest is not False or "patternProperties" in shut or not isinstance(known, Mapping):
        return None
    return frozenset(known)


def _name(error: jsonschema_rs.ValidationError) -> str:
    parts = [_safe(part) for part in error.instance_path]
    about = error.kind.as_dict()
    missing = [about["property"]] if "property" in about else about.get("unexpected", [])
    names = [_safe(name) for name in missing[:_SHOWN]]
    place = ".".join(["$", *parts])
    return f"{place}: {error.kind.name}" + (f" ({', '.join(names)})" if names else "")


def _safe(name: str | int) -> str:
    """A member's name as it may stand in a message: nothing that could be content."""
    shown = name < _INDEX if isinstance(name, int) else SHOWN.fullmatch(name)
    return str(name) if shown else "?"


def _within(value: Any, depth: int) -> bool:
    """Whether a value is at most so deep; MAX_DEPTH holds for all that the gate decodes."""
    if depth >= MAX_DEPTH or not isinstance(value, Mapping | list):
        return True
    if depth == 0:
        return not value
    children = value.values() if isinstance(value, Mapping) else value
    return all(_within(child, depth - 1) for child in children)

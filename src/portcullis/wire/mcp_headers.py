"""The routing headers of MCP 2026-07-28: what they repeat of the body, and what follows if not.

``Mcp-Method``, ``Mcp-Name`` and ``Mcp-Param-*`` let intermediaries route without reading the
body. The gate decides on the body alone: it refuses a request whose headers say anything else,
and computes those that it sends itself. A parameter is mirrored when its tool's input schema
marks it with ``x-mcp-header`` (Streamable HTTP, "Custom headers").
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from portcullis.core.errors import Problem

NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""The methods with an ``Mcp-Name``, and the parameter that it repeats."""

_PREFIX: Final = "mcp-param-"
_PLAIN = re.compile(r"[\x20-\x7e]*")
_WRAPPED = re.compile(r"=\?base64\?(.*)\?=")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL = re.compile(r"(-?[0-9]+)(?:\.0+)?")
_TYPES: Final = frozenset({"string", "integer", "boolean"})
_ONE: Final = frozenset(
    [
        "items",
        "contains",
        "unevaluatedItems",
        "additionalProperties",
        "propertyNames",
        "unevaluatedProperties",
        "not",
        "if",
        "then",
        "else",
        "contentSchema",
    ]
)
_MANY: Final = frozenset(["allOf", "anyOf", "oneOf", "prefixItems"])
_NAMED: Final = frozenset(["patternProperties", "dependentSchemas", "$defs", "definitions"])


def compute(
    version: str, method: str, params: Mapping[str, Any], schema: Mapping[str, Any] | None
) -> dict[str, str]:
    """The headers of a request with this body; ``schema`` is the called tool's input schema."""
    headers = {"mcp-protocol-version": version, "mcp-method": method}
    if method in NAMED:
        headers["mcp-name"] = _wrap(str(params[NAMED[method]]))
    if method == "tools/call" and schema is not None:
        arguments = params.get("arguments", {})
        for path, (header, _) in mirrored(schema).items():
            text = _render(_at(arguments, path))
            if text is not None:
                headers[_PREFIX + header] = _wrap(text)
    return headers


def verify(
    headers: Mapping[str, str], version: str, method: str, params: Mapping[str, Any]
) -> None:
    """Refuse headers (by lower-case name) that do not repeat version, method and name.

    Raises Problem PC1032. Parameters are left to ``verify_parameters``.
    """
    if headers.get("mcp-protocol-version") != version:
        raise Problem("PC1032", "MCP-Protocol-Version is not the version in params._meta")
    if headers.get("mcp-method") != method:
        raise Problem("PC1032", "Mcp-Method is missing or not the body's method")
    member = NAMED.get(method)
    if member is not None and _unwrap(headers.get("mcp-name")) != params.get(member):
        raise Problem("PC1032", f"Mcp-Name is missing or not the body's params.{member}")


def verify_parameters(
    headers: Mapping[str, str], arguments: Mapping[str, Any], schema: Mapping[str, Any]
) -> None:
    """Refuse a tool call whose mirrored parameters and ``Mcp-Param-*`` headers disagree.

    Raises Problem PC1032 when one is present without the other, or they differ.
    """
    for path, (header, kind) in mirrored(schema).items():
        raw = headers.get(_PREFIX + header)
        value = _at(arguments, path)
        text = _render(value)
        if (raw is None) != (text is None):
            raise Problem("PC1032", f"{_PREFIX}{header} and its argument must come together")
        if raw is not None and not _same(kind, value, text, _unwrap(raw)):
            raise Problem("PC1032", f"{_PREFIX}{header} is not the argument in the body")


def mirrored(schema: Any) -> dict[tuple[str, ...], tuple[str, str]]:
    """Property path -> (header name in lower case, JSON type) of each mirrored parameter.

    Empty when any annotation is invalid: conforming clients then send no header at all.
    """
    found: dict[tuple[str, ...], tuple[str, str]] = {}
    for path, node in _positions(schema):
        if "x-mcp-header" not in node:
            continue
        header, kind = node["x-mcp-header"], node.get("type")
        valid = (
            path
            and type(header) is str
            and _TOKEN.fullmatch(header)
            and type(kind) is str
            and kind in _TYPES
            and header.lower() not in {name for name, _ in found.values()}
        )
        if not valid or path is None:
            return {}
        found[path] = (str(header).lower(), str(kind))
    return found


def _positions(root: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Every schema within a schema, with its property path, or None off the properties chain."""
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if type(node) is not dict:
            continue
        yield path, node
        for keyword, value in node.items():
            if keyword == "properties" and type(value) is dict:
                stack += [(None if path is None else (*path, k), v) for k, v in value.items()]
            elif keyword in _ONE:
                stack.append((None, value))
            elif keyword in _MANY and type(value) is list:
                stack += [(None, item) for item in value]
            elif keyword in _NAMED and type(value) is dict:
                stack += [(None, item) for item in value.values()]


def _at(arguments: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if type(arguments) is not dict:
            return None
        arguments = arguments.get(key)
    return arguments


def _render(value: Any) -> str | None:
    if type(value) is bool:
        return "true" if value else "false"
    return str(value) if type(value) in {str, int, float} else None


def _same(kind: str, value: Any, text: str | None, header: str | None) -> bool:
    """Equal as text; an integer also as a number (42 and 42.0), never through a float."""
    if header is not None and kind == "integer" and type(value) in {int, float}:
        number = _DECIMAL.fullmatch(header)
        if number and len(number[1]) < 32 and value == int(number[1]):  # noqa: PLR2004 - beyond 64 bits
            return True
    return header is not None and header == text


def _wrap(text: str) -> str:
    """A header value: as it is when that is safe, else in the specification's base64 form."""
    if _PLAIN.fullmatch(text) and text == text.strip() and not _WRAPPED.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode('ascii')}?="


def _unwrap(value: str | None) -> str | None:
    """The text of a header value, None when its base64 is malformed or not canonical."""
    wrapped = _WRAPPED.fullmatch(value) if value is not None else None
    if wrapped is None:
        return value
    try:
        raw = base64.b64decode(wrapped[1], validate=True)
        text = raw.decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    return text if base64.b64encode(raw).decode("ascii") == wrapped[1] else None

"""What the gate reads and changes in MCP results, and what it makes of them for the client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from portcullis.core.call import ToolSpec
from portcullis.core.errors import Problem
from portcullis.wire.mcp import LEGACY_VERSIONS, MODERN_VERSIONS, Era

LISTS: Final = {
    "tools/list": ("tools", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
    "prompts/list": ("prompts", "name"),
}
"""Each list method: the member that holds the items, and the member that names an item."""

_CACHEABLE: Final = frozenset({*LISTS, "resources/read", "server/discover"})
_ROUNDS: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
_TYPES: Final = {Era.MODERN: ("complete", "input_required"), Era.LEGACY: ("complete",)}
"""What a result may say that it is. A tool's output is held to its schema when it is complete."""
_PROMISED: Final = ("tasks",)
"""Capabilities whose methods the gate refuses: a client is not told of them."""


def check(era: Era, method: str, result: dict[str, Any]) -> None:
    """Refuse a result in which the gate could overlook something: Problem PC5003."""
    if method in LISTS:
        member, name = LISTS[method]
        items = result.get(member)
        if type(items) is not list or any(
            type(item) is not dict or type(item.get(name)) is not str for item in items
        ):
            raise Problem("PC5003", f"{method} has no list of named {member}")
    elif method == "initialize" and result.get("protocolVersion") not in LEGACY_VERSIONS:
        raise Problem("PC5003", "initialize settled on a version that the gate does not speak")
    if result.get("resultType", "complete") not in _TYPES[era]:
        raise Problem("PC5003", "the result is of a type that the gate does not know")
    if input_required(era, result) and method not in _ROUNDS:
        raise Problem("PC5003", f"{method} cannot ask for input")


def adapt(era: Era, method: str, result: dict[str, Any]) -> dict[str, Any]:
    """The result as the client sees it: what the gate filtered must not be cached for others.

    Lists of the modern era become private and stale at once; other cacheable results private.
    Capabilities that the gate refuses, and versions that it does not speak, are left out.
    """
    changes: dict[str, Any] = {}
    if era is Era.MODERN and method in _CACHEABLE and not input_required(era, result):
        changes["cacheScope"] = "private"
        if method in LISTS:
            changes["ttlMs"] = 0
    if method in {"initialize", "server/discover"}:
        capabilities = result.get("capabilities")
        if type(capabilities) is dict:
            changes["capabilities"] = {k: v for k, v in capabilities.items() if k not in _PROMISED}
        versions = result.get("supportedVersions")
        if type(versions) is list:
            known = {*MODERN_VERSIONS, *LEGACY_VERSIONS}
            changes["supportedVersions"] = [v for v in versions if type(v) is str and v in known]
    return result | changes if changes else result


APPROVAL_KEY: Final = "portcullis/approval"
"""In ``_meta`` of a result that says that a call waits: the approval's id."""


def waits(era: Era, problem: Problem) -> dict[str, Any]:
    """The result of a tool that waits for a human: an error that the model can read."""
    said = (
        f"{problem.code} {problem.entry.title}. The tool was not called: {problem.detail}. Do"
        " something else meanwhile; to have it done once it is approved, call the same tool again"
        " with exactly the same arguments. With any others it is a new request."
    )
    result: dict[str, Any] = {
        "content": [{"type": "text", "text": said}],
        "isError": True,
        "_meta": {APPROVAL_KEY: problem.approval},
    }
    return result | ({"resultType": "complete"} if era is Era.MODERN else {})


def input_required(era: Era, result: Mapping[str, Any]) -> bool:
    """Whether a result is a question back to the client (multi-round-trip, modern only)."""
    return era is Era.MODERN and result.get("resultType") == "input_required"


def input_requests(result: Mapping[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Key -> (method, params) of what an ``input_required`` result asks; Problem PC5003."""
    requests = result.get("inputRequests")
    if requests is None:
        return {}
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for key, item in requests.items() if type(requests) is dict else [("", None)]:
        params = item.get("params", {}) if type(item) is dict else None
        if (
            type(item) is not dict
            or item.keys() - {"method", "params"}
            or type(item.get("method")) is not str
            or type(params) is not dict
        ):
            raise Problem("PC5003", "inputRequests is malformed")
        found[key] = (item["method"], params)
    return found


def tool_specs(result: Mapping[str, Any]) -> list[ToolSpec]:
    """The tools of a ``tools/list`` result, or of several pages joined.

    Raises Problem PC5003 when one has no name or schema, or two have the same name.
    """
    specs: dict[str, ToolSpec] = {}
    tools = result.get("tools")
    for tool in tools if type(tools) is list else [None]:
        output = tool.get("outputSchema") if type(tool) is dict else None
        if (
            type(tool) is not dict
            or type(tool.get("name")) is not str
            or type(tool.get("inputSchema")) is not dict
            or (output is not None and type(output) is not dict)
        ):
            raise Problem("PC5003", "tools/list holds a malformed tool")
        name = tool["name"]
        if name in specs:
            raise Problem("PC5003", "tools/list names a tool twice")
        specs[name] = ToolSpec(
            name=name,
            input_schema=tool["inputSchema"],
            output_schema=output,
            definition=msgspec.json.encode(tool, order="sorted").decode(),
        )
    return list(specs.values())

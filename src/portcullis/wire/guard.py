"""The guard API's bodies (docs/guard.md), and how a call of it looks to whatever judges MCP's.

A tool that is a function in the agent's own program is called as one of an MCP server: the
request is a ``tools/call``, what comes back a ``CallToolResult``. A text is its content; any
other value is its structure, and so is a text of a tool that declares what it returns.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from portcullis.core.call import ToolSpec
from portcullis.core.errors import Problem
from portcullis.wire.fields import (
    anything,
    boolean,
    fit_request,
    mapping,
    need,
    record,
    string,
)
from portcullis.wire.jsonrpc import request_message

METHOD: Final = "tools/call"
MAX_DEFINITION: Final = 64 * 1024
"""Longest definition of a tool, in bytes of JSON."""
MAX_NAME: Final = 128
"""Longest name of a tool, in characters (MCP, tools, tool names)."""
_TOOL: Final = record(
    {
        "name": need(string),
        "description": need(string),
        "inputSchema": need(mapping),
        "outputSchema": mapping,
    }
)
_CALL: Final = record({"toolset": need(string), "tool": need(_TOOL), "arguments": need(mapping)})
_RESULT: Final = record({"result": need(anything), "is_error": boolean})


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent asks to run."""

    toolset: str
    tool: ToolSpec
    arguments: dict[str, Any]


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: any JSON value; ``is_error`` says that the tool failed with it."""

    result: Any
    is_error: bool


def asked(body: Any) -> Asked:
    """The body of ``POST /v1/calls``.

    Raises Problem PC1020 or PC1021 for what does not fit, PC1007 for a definition that is too long.
    """
    fit_request(_CALL, body)
    said = {name: value for name, value in body["tool"].items() if value is not None}
    if not 0 < len(said["name"]) <= MAX_NAME:
        raise Problem("PC1020", f"tool.name: expected 1 to {MAX_NAME} characters")
    definition = msgspec.json.encode(said, order="sorted")
    if len(definition) > MAX_DEFINITION:
        raise Problem(
            "PC1007",
            f"tool: the definition is larger than {MAX_DEFINITION} bytes",
            hint="Say less in its description and schemas.",
        )
    spec = ToolSpec(
        name=said["name"],
        input_schema=said["inputSchema"],
        output_schema=said.get("outputSchema"),
        definition=definition.decode(),
    )
    return Asked(toolset=body["toolset"], tool=spec, arguments=body["arguments"])


def reported(body: Any) -> Reported:
    """The body of ``POST /v1/calls/{id}/result``. Raises Problem PC1020 or PC1021."""
    fit_request(_RESULT, body)
    return Reported(result=body["result"], is_error=body.get("is_error") is True)


def request(call_id: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The call as a message to an MCP server."""
    return request_message(call_id, METHOD, {"name": name, "arguments": arguments})


def arguments_of(message: Any) -> Any:
    """The arguments in such a message, as they are to be used."""
    return message["params"]["arguments"]


def result(said: Reported, tool: ToolSpec | None) -> dict[str, Any]:
    """What came of it as MCP's ``CallToolResult``."""
    typed = tool is not None and tool.output_schema is not None and not said.is_error
    if isinstance(said.result, str) and not typed:
        shown: dict[str, Any] = {"content": [{"type": "text", "text": said.result}]}
    else:
        shown = {"content": [], "structuredContent": said.result}
    return shown | ({"isError": True} if said.is_error else {})


def value(shown: Any) -> Any:
    """The value in such a result, as it may go on."""
    if "structuredContent" in shown:
        return shown["structuredContent"]
    return shown["content"][0]["text"]

"""Tools of the OpenAI Agents SDK behind the guard (the extra ``openai-agents``).

    agent = Agent(name="support", tools=guarded(guard, [refund, lookup]))

Whatever a tool's own policy for failures makes of an error is what is judged as its result.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Iterable
from typing import Any

from portcullis.client.adapters.defaults import Defaults
from portcullis.client.adapters.extra import extra
from portcullis.client.guard import Guard, Refused
from portcullis.client.guard import Tool as Described
from portcullis.core.errors import Problem
from portcullis.wire.json import decode, encode

with extra("openai-agents"):
    from agents import FunctionTool, Tool, default_tool_error_function
    from agents.tool import resolve_function_tool_failure_error_function
    from agents.tool_context import ToolContext


def guarded(guard: Guard, tools: Iterable[Tool], *, wait: float | None = None) -> list[Tool]:
    """The same tools, each of which asks the gate before it runs.

    A refusal goes the way of any failure of the tool: its ``failure_error_function`` says what the
    model is told, and without one the run ends with the SDK's UserError. Only the default is not
    asked: it would tell the model to try again, and so the model is told the refusal. Raises
    TypeError for tools that do not run in this process (hosted ones): those are decided on where
    the model is called.
    """
    return [_guarded(guard, each, wait) for each in tools]


def _guarded(guard: Guard, tool: Tool, wait: float | None) -> Tool:
    if not isinstance(tool, FunctionTool):
        raise TypeError(f"{type(tool).__name__} does not run here: no guard can stand before it")
    described = Described(
        name=tool.name,
        description=tool.description,
        input_schema=tool.params_json_schema,
        shown=str,
    )
    defaults = Defaults(tool.name, tool.params_json_schema)

    async def invoke(context: ToolContext[Any], text: str) -> Any:
        async def run(given: str) -> Any:
            return await tool.on_invoke_tool(_with(context, given), given)

        try:
            asked = _arguments(text, defaults)
            return await guard.acall(described, asked, run, read=_text, wait=wait)
        except Refused as refused:
            failure = resolve_function_tool_failure_error_function(tool, context)
            if failure is None:
                raise
            if failure is default_tool_error_function:
                return refused.message
            told = failure(context, refused)
            return await told if inspect.isawaitable(told) else told

    return dataclasses.replace(tool, on_invoke_tool=invoke)


def _arguments(text: str, defaults: Defaults) -> dict[str, Any]:
    """What the model wrote, and the defaults of what it left out. Raises Refused."""
    try:
        written = decode(text.encode("utf-8", "surrogatepass") or b"{}")
    except Problem as problem:
        raise Refused.of(problem) from None
    if not isinstance(written, dict):
        raise Refused("PC1020", "the arguments are no JSON object")
    return dict(defaults.filled(written))


def _text(given: dict[str, Any]) -> str:
    return encode(given).decode()


def _with(context: ToolContext[Any], given: str) -> ToolContext[Any]:
    """The same context, in which the tool finds what was decided on and not what was asked."""
    shown = copy.copy(context)
    shown.tool_arguments = given
    if shown.tool_call is not None:
        shown.tool_call = shown.tool_call.model_copy(update={"arguments": given})
    return shown

"""Tools of PydanticAI behind the guard (the extra ``pydantic-ai``).

    agent = Agent(model, toolsets=[guarded(guard, [refund, lookup])])

Arguments are asked about as they are validated, defaults included, and validated again before they
run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from portcullis.client.adapters.extra import extra
from portcullis.client.guard import Guard, Held, Refused, Tool, ToolError
from portcullis.client.signature import as_json, exactly, in_python
from portcullis.wire.json import decode, encode

with extra("pydantic-ai"):
    from pydantic_ai import ApprovalRequired, CallDeferred, RunContext, ToolFailed, ToolReturn
    from pydantic_ai import Tool as FunctionTool
    from pydantic_ai.messages import tool_return_ta
    from pydantic_ai.tools import AgentDepsT
    from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, ToolsetTool, WrapperToolset


def guarded(
    guard: Guard,
    tools: AbstractToolset[AgentDepsT] | Sequence[FunctionTool[AgentDepsT] | Callable[..., Any]],
    *,
    wait: float | None = None,
    defer: bool = False,
) -> AbstractToolset[AgentDepsT]:
    """A toolset of the same tools, each of which asks the gate before it runs.

    A refusal is ToolFailed: the model is told, and not asked to try again; its cause is the
    guard's Refused. With ``defer`` a call that waits for a human ends the run with
    DeferredToolRequests (ApprovalRequired, whose metadata names the approval); once that is
    answered with a yes, the gate is asked again. Tools that run outside the run (external ones)
    are not asked about.
    """
    inner = tools if isinstance(tools, AbstractToolset) else FunctionToolset(list(tools))
    return _Guarded(inner, guard, wait, defer)


@dataclass
class _Guarded(WrapperToolset[AgentDepsT]):
    guard: Guard
    wait: float | None
    defer: bool

    @property
    def id(self) -> str | None:
        return self.wrapped.id

    async def call_tool(
        self,
        name: str,
        tool_args: dict[str, Any],
        ctx: RunContext[AgentDepsT],
        tool: ToolsetTool[AgentDepsT],
    ) -> Any:
        described = Tool(
            name=name,
            description=tool.tool_def.description or "",
            input_schema=tool.tool_def.parameters_json_schema,
            shown=_text,
            signals=(ApprovalRequired, CallDeferred),
        )
        flat = False

        def validated(written: dict[str, Any]) -> dict[str, Any]:
            read: dict[str, Any] = tool.args_validator.validate_json(
                encode(written), context=ctx.validation_context
            )
            return read

        def read(given: dict[str, Any]) -> dict[str, Any]:
            runs = validated(given)
            _exactly(given, runs, flat=flat)
            return runs

        async def run(given: dict[str, Any]) -> Any:
            return await self.wrapped.call_tool(name, given, ctx, tool)

        try:
            flat = _is_flat(tool_args, validated)
            asked = _told(tool_args, flat=flat)
            return await self.guard.acall(described, asked, run, read=read, wait=self.wait)
        except Held as held:
            if self.defer:
                raise ApprovalRequired({"approval": held.approval, "code": held.code}) from held
            raise ToolFailed(held.message) from held
        except Refused as refused:
            raise ToolFailed(refused.message) from refused
        except ToolError as error:
            raise ToolFailed(str(error)) from None


def _told(arguments: dict[str, Any], *, flat: bool) -> dict[str, Any]:
    """The arguments as the model writes them: those of one model, ``flat``, as its fields."""
    told: dict[str, Any] = as_json(arguments, by_alias=True)
    return next(iter(told.values())) if flat else told


def _exactly(given: dict[str, Any], runs: dict[str, Any], *, flat: bool) -> None:
    held = in_python(runs, by_alias=True)
    if flat and held is not None:
        held = next(iter(held.values()))
    exactly(given, _told(runs, flat=flat), held)


def _is_flat(
    arguments: dict[str, Any], validated: Callable[[dict[str, Any]], dict[str, Any]]
) -> bool:
    """Which of both is read as these arguments. Raises Refused if neither is."""
    told = _told(arguments, flat=False)
    for flat in (True, False):
        if flat and not (len(told) == 1 and isinstance(next(iter(told.values())), dict)):
            continue
        with contextlib.suppress(ValueError):
            _exactly(told, validated(_told(arguments, flat=flat)), flat=False)
            return flat
    raise Refused("PC1020", "the arguments would be read as others than they are")


def _text(result: Any) -> str:
    """What PydanticAI shows a model of a result; of ToolReturn, what of it is for models."""
    if isinstance(result, ToolReturn):
        shown = {"return_value": result.return_value, "content": result.content}
        result = shown if result.content else result.return_value
    try:
        text = tool_return_ta.dump_json(result, by_alias=True).decode()
    except ValueError:
        return str(result)
    return str(decode(text.encode())) if text.startswith('"') else text

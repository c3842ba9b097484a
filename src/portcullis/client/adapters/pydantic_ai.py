"""Tools of PydanticAI behind the guard (the extra ``pydantic-ai``).

    agent = Agent(model, toolsets=[guarded(guard, [refund, lookup])])

Arguments are asked about as they are validated, defaults included, and validated again before they
run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_ai import ApprovalRequired, RunContext, ToolFailed
from pydantic_ai import Tool as FunctionTool
from pydantic_ai.tools import AgentDepsT
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, ToolsetTool, WrapperToolset

from portcullis.client.guard import Guard, Held, Refused, Tool, ToolError
from portcullis.client.signature import jsonable
from portcullis.wire.json import encode


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
            as_text=True,
        )

        async def run(given: dict[str, Any]) -> Any:
            read = tool.args_validator.validate_json(encode(given), context=ctx.validation_context)
            return await self.wrapped.call_tool(name, read, ctx, tool)

        try:
            asked = _asked(tool_args, described.input_schema)
            return await self.guard.acall(described, asked, run, wait=self.wait)
        except Held as held:
            if self.defer:
                raise ApprovalRequired({"approval": held.approval, "code": held.code}) from held
            raise ToolFailed(held.message) from held
        except Refused as refused:
            raise ToolFailed(refused.message) from refused
        except ToolError as error:
            raise ToolFailed(str(error)) from None


def _asked(arguments: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The arguments as the model writes them: those of one model as its fields."""
    asked: dict[str, Any] = jsonable(arguments)
    if len(asked) == 1:
        [(name, only)] = asked.items()
        if name not in schema.get("properties", {}) and isinstance(only, dict):
            return only
    return asked

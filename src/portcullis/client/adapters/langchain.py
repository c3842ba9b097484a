"""Tools of LangChain and LangGraph behind the guard (the extra ``langchain``).

    agent = create_agent(model, guarded(guard, [refund, lookup]))

Arguments are asked about as the tool's schema validates them, defaults included.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from langchain_core.tools import BaseTool, ToolException, tool
from langchain_core.tools import Tool as TextTool
from langchain_core.tools.base import _get_runnable_config_param
from pydantic import BaseModel

from portcullis.client.guard import Guard, Held, Refused, Tool, ToolError
from portcullis.client.signature import jsonable
from portcullis.wire.json import encode


def guarded(
    guard: Guard,
    tools: Iterable[BaseTool | Callable[..., Any]],
    *,
    wait: float | None = None,
    defer: bool = False,
) -> list[BaseTool]:
    """The same tools, each of which asks the gate before it runs.

    A refusal is raised as ToolException, which the tool's ``handle_tool_error`` treats as it does
    any other; its cause is the guard's Refused. What a graph injects (state, store, runtime,
    configuration) is not told to the gate, nor is an artifact, which is left out beside a content
    that the gate changed. With ``defer`` a call that waits for a human interrupts the graph, which
    needs a checkpointer; resumed, it asks again.
    """
    return [_guarded(guard, each, wait, defer=defer) for each in tools]


def _guarded(
    guard: Guard, made: BaseTool | Callable[..., Any], wait: float | None, *, defer: bool
) -> BaseTool:
    inner = made if isinstance(made, BaseTool) else tool(made)
    passage = _Passage(inner)
    kind = type(inner)
    looked_at = kind._run if kind._arun is BaseTool._arun else kind._arun  # noqa: SLF001 - the one LangChain reads

    class Guarded(kind):  # type: ignore[valid-type,misc]
        """The same kind of tool, whatever else it can do."""

        @functools.wraps(kind._run)  # noqa: SLF001 - LangChain reads its signature
        def _run(self, *args: Any, **kwargs: Any) -> Any:
            way = passage.way(args, kwargs)
            while True:
                try:
                    given = guard.call(passage.tool, way.asked, way.run, wait=wait)
                    return way.whole(given)
                except (Refused, ToolError) as error:
                    _surface(error, passage.tool.name, defer=defer)

        @functools.wraps(looked_at)
        async def _arun(self, *args: Any, **kwargs: Any) -> Any:
            way = passage.way(args, kwargs)
            while True:
                try:
                    given = await guard.acall(passage.tool, way.asked, way.arun, wait=wait)
                    return way.whole(given)
                except (Refused, ToolError) as error:
                    _surface(error, passage.tool.name, defer=defer)

    copied = inner.model_copy()
    object.__setattr__(copied, "__class__", Guarded)
    return copied


class _Passage:
    """What one tool is, to the gate and to the framework."""

    def __init__(self, inner: BaseTool) -> None:
        self.inner = inner
        self.pair = inner.response_format == "content_and_artifact"
        self.visible = inner.tool_call_schema
        self.tool = Tool(
            name=inner.name,
            description=inner.description,
            input_schema=self._schema(),
            as_text=True,
        )
        self.injected = self._injected()

    def way(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Way:
        """The way of one call."""
        placed = dict(zip(self.inner.args, args, strict=False)) if args else {}
        asked = placed | {name: kwargs[name] for name in kwargs if name not in self.injected}
        beside = {name: kwargs[name] for name in kwargs if name in self.injected}
        return _Way(self, jsonable(asked), beside, tuple(placed))

    def typed(self, given: dict[str, Any]) -> dict[str, Any]:
        """Arguments from the gate, in the types that the tool declares."""
        if isinstance(self.visible, dict) or not issubclass(self.visible, BaseModel):
            return given
        if isinstance(self.inner, TextTool):
            return given
        read = self.visible.model_validate_json(encode(given), by_alias=False, by_name=True)
        return {name: getattr(read, name) for name in given}

    def _schema(self) -> dict[str, Any]:
        if isinstance(self.visible, dict):
            return self.visible
        if isinstance(self.inner, TextTool):
            return {
                "type": "object",
                "properties": self.inner.args,
                "required": list(self.inner.args),
                "additionalProperties": False,
            }
        if not issubclass(self.visible, BaseModel):
            raise TypeError(f"{self.inner.name}: arguments of pydantic 1 cannot be guarded")
        schema = self.visible.model_json_schema(by_alias=False)
        return {"additionalProperties": False} | schema

    def _injected(self) -> set[str]:
        """Arguments that are the framework's: all others are asked about."""
        run = type(self.inner)._run  # noqa: SLF001 - what LangChain looks at too
        found = set(self.inner._injected_args_keys)  # noqa: SLF001 - as above
        if "run_manager" in inspect.signature(run).parameters:
            found.add("run_manager")
        if config := _get_runnable_config_param(run):
            found.add(config)
        full = self.inner.args_schema
        for schema, change in ((full, found.update), (self.visible, found.difference_update)):
            if isinstance(schema, type) and issubclass(schema, BaseModel):
                change(schema.model_fields)
        return found


class _Way:
    """One call: what is asked, and what stays beside it."""

    def __init__(
        self,
        passage: _Passage,
        asked: dict[str, Any],
        beside: dict[str, Any],
        placed: tuple[str, ...],
    ) -> None:
        self.asked = asked
        self._passage = passage
        self._beside = beside
        self._placed = placed
        self._artifact: tuple[Any, Any] | None = None

    def run(self, given: dict[str, Any]) -> Any:
        """Run the tool."""
        args, kwargs = self._with(given)
        return self._shown(self._passage.inner._run(*args, **kwargs))  # noqa: SLF001 - its own way in

    async def arun(self, given: dict[str, Any]) -> Any:
        """Run the tool."""
        args, kwargs = self._with(given)
        return self._shown(await self._passage.inner._arun(*args, **kwargs))  # noqa: SLF001 - as above

    def whole(self, content: Any) -> Any:
        """The content with its artifact, for a tool that has one."""
        if not self._passage.pair:
            return content
        shown, artifact = self._artifact or (None, None)
        return content, artifact if content is shown else None

    def _with(self, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        typed = self._passage.typed(given)
        return [typed.pop(name) for name in self._placed], typed | self._beside

    def _shown(self, result: Any) -> Any:
        if not self._passage.pair:
            return result
        content, artifact = result
        self._artifact = content, artifact
        return content


def _surface(error: Refused | ToolError, name: str, *, defer: bool) -> None:
    """Raise what the framework knows; return, to ask again, when an interrupted graph goes on."""
    if isinstance(error, ToolError):
        raise ToolException(str(error)) from None
    if not (defer and isinstance(error, Held)):
        raise ToolException(error.message) from error
    from langgraph.types import interrupt  # noqa: PLC0415 - of LangGraph, which LangChain needs not

    interrupt({"approval": error.approval, "tool": name, "code": error.code})

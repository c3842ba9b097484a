"""Tools of LangChain and LangGraph behind the guard (the extra ``langchain``).

    agent = create_agent(model, guarded(guard, [refund, lookup]))

Arguments are asked about as the tool's schema validates them, defaults included.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, TypeGuard

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError

from portcullis.client.adapters.defaults import Defaults
from portcullis.client.adapters.extra import extra
from portcullis.client.guard import Guard, Held, Refused, Tool, ToolError
from portcullis.client.outcome import plain
from portcullis.client.signature import as_json, exactly, in_python
from portcullis.wire.json import encode

with extra("langchain"):
    from langchain_core.tools import BaseTool, InjectedToolCallId, ToolException, tool
    from langchain_core.tools import Tool as TextTool
    from langchain_core.tools.base import (
        _get_runnable_config_param,
        _get_type_hints,
        _stringify,
        get_all_basemodel_annotations,
    )

_INJECTED: Final = frozenset({"InjectedState", "InjectedStore", "ToolRuntime"})
_Call: TypeAlias = tuple[list[Any], dict[str, Any]]


def guarded(
    guard: Guard,
    tools: Iterable[BaseTool | Callable[..., Any]],
    *,
    wait: float | None = None,
    defer: bool = False,
) -> list[BaseTool]:
    """The same tools, each of which asks the gate before it runs.

    A refusal is raised as ToolException, which the tool's ``handle_tool_error`` treats as it does
    any other; its cause is the guard's Refused. What only a graph fills in (state, store, runtime,
    call id, configuration) is not told to the gate, nor is an artifact, which is left out beside a
    content that the gate changed. With ``defer`` a call that waits for a human interrupts the
    graph, which needs a checkpointer; resumed, it asks again.
    """
    return [_guarded(guard, each, wait, defer=defer) for each in tools]


def _guarded(
    guard: Guard, made: BaseTool | Callable[..., Any], wait: float | None, *, defer: bool
) -> BaseTool:
    inner = made if isinstance(made, BaseTool) else tool(made)
    passage = _Passage(inner)
    kind = type(inner)
    for way_in in ("run", "arun", "invoke", "ainvoke"):
        if not getattr(kind, way_in).__module__.startswith("langchain_core."):
            raise TypeError(f"{kind.__name__} has a {way_in} of its own: it may pass the guard by")
    looked_at = kind._run if kind._arun is BaseTool._arun else kind._arun  # noqa: SLF001 - the one LangChain reads

    class Guarded(kind):  # type: ignore[valid-type,misc]
        """The same kind of tool, whatever else it can do."""

        @functools.wraps(kind._run)  # noqa: SLF001 - LangChain reads its signature
        def _run(self, *args: Any, **kwargs: Any) -> Any:
            while True:
                try:
                    way = passage.way(args, kwargs)
                    shown = guard.call(passage.tool, way.asked, way.run, read=way.read, wait=wait)
                    return way.whole(shown)
                except (Refused, ToolError) as error:
                    _surface(error, passage.tool.name, defer=defer)

        @functools.wraps(looked_at)
        async def _arun(self, *args: Any, **kwargs: Any) -> Any:
            while True:
                try:
                    way = passage.way(args, kwargs)
                    shown = await guard.acall(
                        passage.tool, way.asked, way.arun, read=way.read, wait=wait
                    )
                    return way.whole(shown)
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
        full = inner.args_schema
        self.open = _is_model(full) and full.model_config.get("extra") == "allow"
        visible = self.visible
        self.defaults = Defaults(inner.name, visible) if isinstance(visible, dict) else None
        self.beside, self.told = self._injected()
        self.tool = Tool(
            name=inner.name,
            description=inner.description,
            input_schema=self._schema(),
            shown=_stringify,
            signals=_signals(),
        )

    def way(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Way:
        """The way of one call. Raises Refused for arguments that JSON or a call cannot hold."""
        placed = dict(zip(self.inner.args, args, strict=False)) if args else {}
        asked = placed | {name: kwargs[name] for name in kwargs if name not in self.beside}
        beside = {name: kwargs[name] for name in kwargs if name in self.beside}
        asked = as_json(asked, by_alias=False)
        if self.defaults is not None:
            asked = self.defaults.filled(asked)
        return _Way(self, asked, beside, tuple(placed))

    def typed(self, given: dict[str, Any]) -> dict[str, Any]:
        """Arguments from the gate, in the types that the tool declares.

        Raises ValueError and KeyError for those that do not fit, or would run as others.
        """
        kind = self.visible
        if isinstance(kind, dict) or not issubclass(kind, BaseModel) or self._is_text():
            return given
        read = kind.model_validate_json(encode(given), by_alias=False, by_name=True)
        held = (given if self.open else {}) | read.__dict__
        for name in self.told.keys() & given.keys():
            held[name] = self.told[name].validate_json(encode(given[name]))
        typed = {name: held[name] for name in given}
        exactly(given, as_json(typed, by_alias=False), in_python(typed, by_alias=False))
        return typed

    def _is_text(self) -> bool:
        return isinstance(self.inner, TextTool)

    def _schema(self) -> dict[str, Any]:
        if isinstance(self.visible, dict):
            return self.visible
        if self._is_text():
            return {
                "type": "object",
                "properties": self.inner.args,
                "required": list(self.inner.args),
                "additionalProperties": False,
            }
        if not issubclass(self.visible, BaseModel):
            raise TypeError(f"{self.inner.name}: arguments of pydantic 1 cannot be guarded")
        schema = {"additionalProperties": self.open} | self.visible.model_json_schema(
            by_alias=False
        )
        named = schema.get("properties", {}) | {name: {} for name in self.told}
        return schema | {"properties": named}

    def _injected(self) -> tuple[set[str], dict[str, TypeAdapter[Any]]]:
        """Arguments that are the framework's alone, and those that a model could write too.

        The latter are asked about like any other, unless JSON cannot hold them.
        """
        run = type(self.inner)._run  # noqa: SLF001 - what LangChain looks at too
        beside: set[str] = set()
        if "run_manager" in inspect.signature(run).parameters:
            beside.add("run_manager")
        if config := _get_runnable_config_param(run):
            beside.add(config)
        function = getattr(self.inner, "func", None) or getattr(self.inner, "coroutine", None)
        hints: dict[str, Any] = dict(_get_type_hints(function or run, include_extras=True) or {})
        names = set(self.inner._injected_args_keys)  # noqa: SLF001 - as above
        full, visible = self.inner.args_schema, self.visible
        if _is_model(full):
            hints.update(get_all_basemodel_annotations(full))
            shown = visible.model_fields if _is_model(visible) else {}
            names |= full.model_fields.keys() - shown.keys()
        told = {}
        for name in names - beside:
            adapter = None if _is_frameworks(hints.get(name)) else _adapter(hints.get(name, Any))
            if adapter is None:
                beside.add(name)
            else:
                told[name] = adapter
        return beside, told


def _is_model(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_frameworks(hint: Any) -> bool:
    """Whether it is always the framework that fills it in: state, store, runtime, call's id."""
    marks = (typing.get_origin(hint) or hint, *typing.get_args(hint)[1:])
    kinds = (each if isinstance(each, type) else type(each) for each in marks)
    return any(
        issubclass(each, InjectedToolCallId)
        or any(
            base.__module__.startswith("langgraph.") and base.__name__ in _INJECTED
            for base in each.__mro__
        )
        for each in kinds
    )


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """A reader of what JSON can hold, or None: then no model can write it."""
    try:
        adapter = TypeAdapter[Any](hint)
        adapter.json_schema()
    except PydanticUserError:
        return None
    return adapter


def _signals() -> tuple[type[Exception], ...]:
    try:
        from langgraph.errors import GraphInterrupt  # noqa: PLC0415 - LangChain needs it not
    except ImportError:
        return ()
    return (GraphInterrupt,)


class _RanError(ToolException, RuntimeError):
    """The tool has run: as a RuntimeError, it is nothing that LangGraph retries by default."""


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

    def read(self, given: dict[str, Any]) -> _Call:
        """What to run the tool with."""
        typed = self._passage.typed(given)
        return [typed[name] for name in self._placed], {
            name: value for name, value in typed.items() if name not in self._placed
        } | self._beside

    def run(self, call: _Call) -> Any:
        """Run the tool."""
        return self._shown(self._passage.inner._run(*call[0], **call[1]))  # noqa: SLF001 - its own way in

    async def arun(self, call: _Call) -> Any:
        """Run the tool."""
        return self._shown(await self._passage.inner._arun(*call[0], **call[1]))  # noqa: SLF001 - as above

    def whole(self, content: Any) -> Any:
        """The content with its artifact, for a tool that has one."""
        if not self._passage.pair:
            return content
        shown, artifact = self._artifact or (None, None)
        return content, artifact if plain(shown) and content == shown else None

    def _shown(self, result: Any) -> Any:
        if not self._passage.pair:
            return result
        content, artifact = result
        self._artifact = content, artifact
        return content


def _surface(error: Refused | ToolError, name: str, *, defer: bool) -> None:
    """Raise what the framework knows; return, to ask again, when an interrupted graph goes on."""
    if isinstance(error, ToolError):
        raise _RanError(str(error)) from None
    if error.ran:
        raise _RanError(error.message) from error
    if not (defer and isinstance(error, Held)):
        raise ToolException(error.message) from error
    from langgraph.types import interrupt  # noqa: PLC0415 - of LangGraph, which LangChain needs not

    interrupt({"approval": error.approval, "tool": name, "code": error.code})

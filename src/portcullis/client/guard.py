"""Tools that are Python functions of the agent's own, asked about at the gate before they run.

    guard = Guard(toolset="crm")             # reaches the gate through `portcullis agent connect`

    @guard.tool
    def refund(order: str, amount: float) -> str: ...

A call is allowed, denied (``Refused``) or held for a human (``Held``). An allowed one runs with
exactly the arguments that the gate gave back, and what it returns, or fails with, goes on only as
the gate lets it. Without a yes nothing runs, and nothing is sent twice that might have run.

This stands in the agent's process: it holds a model's tool calls, not code that wants around it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, Self, TypeVar, overload

import aiohttp
import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from portcullis.client.aiohttp import session
from portcullis.client.ask import origin
from portcullis.client.connector import KEY_HEADER
from portcullis.client.gate import Access
from portcullis.client.line import Begun, Line
from portcullis.client.refused import Held, Refused, ToolError
from portcullis.client.signature import Arguments, jsonable
from portcullis.core.errors import Problem
from portcullis.wire.json import encode

__all__ = ["Guard", "Held", "Refused", "Tool", "ToolError"]

_URL: Final = "PORTCULLIS_URL"
_KEY: Final = "PORTCULLIS_KEY"

P = ParamSpec("P")
R = TypeVar("R")


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as the gate is told about it. ``input_schema`` is JSON Schema.

    ``returns`` is the type of its results, for one that the gate has changed; without it, such a
    one has to fit the type of the result that it takes the place of. With ``as_text`` what has no
    JSON is judged by its ``str``, for frameworks that show a model just that.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    returns: Any = None
    as_text: bool = False


class Guard:
    """The tools of one ``toolset`` (the gate's configuration names it), and the way to the gate.

    Without ``access``, ``url`` is where ``portcullis agent connect`` listens: ``http://...`` on
    this machine or ``unix:PATH``, by default the environment's ``PORTCULLIS_URL``. ``key`` is its
    local key, by default ``PORTCULLIS_KEY``. ``delegation`` is the token of the session that calls
    are made in; ``session`` names another for a task. ``wait`` is how many seconds a tool waits for
    a human's decision; ``timeout``, how many the gate may take to answer (more than its
    ``approvals.wait_seconds``). Use it from any thread and any event loop, and ``close`` it at the
    end.
    """

    def __init__(
        self,
        access: Access | None = None,
        *,
        toolset: str,
        url: str = "",
        key: str = "",
        delegation: str = "",
        wait: float = 0,
        timeout: float = 60,
    ) -> None:
        self._toolset = toolset
        self._wait = wait
        self._delegation: ContextVar[str] = ContextVar("delegation", default=delegation)
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=5)
        self._line = _direct(access, limits) if access else _beside(url, key, limits)
        self._end = weakref.finalize(self, self._line.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections and thread. From now on every call is refused."""
        self._end()

    @contextlib.contextmanager
    def session(self, delegation: str) -> Iterator[None]:
        """Make the calls of this task, and of what it starts, in the session of this token."""
        before = self._delegation.set(delegation)
        try:
            yield
        finally:
            self._delegation.reset(before)

    @overload
    def tool(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def tool(
        self, /, *, name: str = "", description: str = "", wait: float | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def tool(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str = "",
        description: str = "",
        wait: float | None = None,
    ) -> Callable[..., Any]:
        """Guard a function, sync or async; it keeps its signature and its nature.

        Its name and its docstring are the tool's unless given. Raises TypeError for what cannot
        be guarded: generators, ``*args`` and ``**kwargs``, parameters that JSON cannot hold.
        """
        if function is None:
            return functools.partial(self._guarded, name=name, description=description, wait=wait)
        return self._guarded(function, name=name, description=description, wait=wait)

    def call(
        self,
        tool: Tool,
        arguments: dict[str, Any],
        run: Callable[[dict[str, Any]], R],
        *,
        wait: float | None = None,
    ) -> R:
        """Call a tool of any kind: ``run`` gets the arguments that the gate gave back.

        Raises Refused, and whatever ``run`` raises; ToolError in its place where the gate changed
        what may be said of it.
        """
        begun = self._line.now(self._asking(tool, arguments, wait))
        try:
            result = run(begun.arguments)
            told = _told(tool, result)
        except Exception as error:
            said = _failure(error)
            _hold_back(said, self._line.now(self._line.report(begun, said, is_error=True)))
            raise
        except BaseException as error:
            self._abandon(begun, error)
            raise
        back = self._line.now(self._line.report(begun, told))
        return _returned(tool, result, told, back)

    async def acall(
        self,
        tool: Tool,
        arguments: dict[str, Any],
        run: Callable[[dict[str, Any]], Awaitable[R]],
        *,
        wait: float | None = None,
    ) -> R:
        """``call`` for an asynchronous ``run``."""
        begun = await self._line.soon(self._asking(tool, arguments, wait))
        try:
            result = await run(begun.arguments)
            told = _told(tool, result)
        except Exception as error:
            said = _failure(error)
            _hold_back(said, await self._line.soon(self._line.report(begun, said, is_error=True)))
            raise
        except BaseException as error:
            self._abandon(begun, error)
            raise
        back = await self._line.soon(self._line.report(begun, told))
        return _returned(tool, result, told, back)

    def _asking(
        self, tool: Tool, arguments: dict[str, Any], wait: float | None
    ) -> Coroutine[Any, Any, Begun]:
        """The question, put in the session of the caller's task."""
        described = {
            "name": tool.name,
            "description": tool.description,
            "inputSchema": tool.input_schema,
        }
        call = {"toolset": self._toolset, "tool": described, "arguments": arguments}
        return self._line.begin(call, self._delegation.get(), self._wait if wait is None else wait)

    def _abandon(self, begun: Begun, error: BaseException) -> None:
        """Say that it ended, and wait for nothing: the task is cancelled or the program ends."""
        with contextlib.suppress(Refused):
            self._line.later(self._line.report(begun, type(error).__name__, is_error=True))

    def _guarded(
        self, function: Callable[..., Any], *, name: str, description: str, wait: float | None
    ) -> Callable[..., Any]:
        if not inspect.isfunction(function):
            raise TypeError("a function or method is guarded, and below @classmethod, not above it")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("a generator has run in part before its result can be judged")
        arguments = Arguments(function)
        tool = Tool(
            name=name or function.__name__,
            description=description or inspect.getdoc(function) or "",
            input_schema=arguments.schema,
            returns=arguments.returns,
        )

        def runs(owner: Any) -> Callable[[dict[str, Any]], Any]:
            def run(given: dict[str, Any]) -> Any:
                bound = arguments.given(owner, given)
                return function(*bound.args, **bound.kwargs)

            return run

        @functools.wraps(function)
        def at_once(*args: Any, **kwargs: Any) -> Any:
            owner, asked = arguments.asked(args, kwargs)
            return self.call(tool, asked, runs(owner), wait=wait)

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            owner, asked = arguments.asked(args, kwargs)
            return await self.acall(tool, asked, runs(owner), wait=wait)

        return awaited if inspect.iscoroutinefunction(function) else at_once


def _direct(access: Access, limits: aiohttp.ClientTimeout) -> Line:
    """The way under an identity of this process's own."""
    return Line(
        access.url,
        lambda: session(access, timeout=limits, cookie_jar=aiohttp.DummyCookieJar()),
    )


def _beside(url: str, key: str, limits: aiohttp.ClientTimeout) -> Line:
    """The way through the side process, which has the identity."""
    where = url or os.environ.get(_URL, "")
    if not where:
        hint = f"Set {_URL} to what `portcullis agent connect` says, or give `access`."
        raise Problem("PC7004", "the guard was not told where the gate is", hint=hint)
    key = key or os.environ.get(_KEY, "")
    headers = {KEY_HEADER: key} if key else {}
    path = where.removeprefix("unix:")

    def opened() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector() if path == where else aiohttp.UnixConnector(path)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=limits,
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    return Line(origin(where) if path == where else "http://localhost", opened)


def _told(tool: Tool, result: Any) -> msgspec.Raw:
    """A result as JSON. Raises ValueError for one that has none."""
    return msgspec.Raw(encode(jsonable(result, as_text=tool.as_text)))


def _failure(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _hold_back(said: str, back: Any) -> None:
    """Raise ToolError where the gate changed what a failure says."""
    if back != said:
        raise ToolError(str(back)) from None


def _returned(tool: Tool, result: R, told: msgspec.Raw, back: Any) -> R:
    """The result itself, or what the gate made of it in the type that it has to have."""
    body = encode(back)
    if body == bytes(told):
        return result
    try:
        kind = TypeAdapter[R](type(result) if tool.returns is None else tool.returns)
        return kind.validate_json(body)
    except (ValidationError, PydanticUserError):
        problem = Problem("PC5009", "what the gate left of the result does not fit its type")
        raise Refused.of(problem, ran=True) from None

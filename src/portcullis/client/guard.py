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
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, Self, TypeVar, cast, overload

import aiohttp

from portcullis.client.aiohttp import session
from portcullis.client.ask import origin
from portcullis.client.connector import KEY_HEADER
from portcullis.client.gate import Access
from portcullis.client.line import Begun, Line
from portcullis.client.outcome import Failed, Returned, Tool
from portcullis.client.refused import Held, Refused, ToolError
from portcullis.client.signature import Arguments, written
from portcullis.core.errors import Problem

__all__ = ["Guard", "Held", "Refused", "Tool", "ToolError"]

_URL: Final = "PORTCULLIS_URL"
_KEY: Final = "PORTCULLIS_KEY"

P = ParamSpec("P")
R = TypeVar("R")
G = TypeVar("G")


class Guard:
    """The tools of one ``toolset`` (the gate's configuration names it), and the way to the gate.

    Without ``access``, ``url`` is where ``portcullis agent connect`` listens: ``http://...`` on
    this machine or ``unix:PATH``, by default the environment's ``PORTCULLIS_URL``. ``key`` is its
    local key, by default ``PORTCULLIS_KEY``. ``delegation`` is the token of the session that calls
    are made in; ``session`` names another for a task. Once it has, calls outside of any session are
    refused, unless there is a ``delegation`` or the guard is ``sessionless``. ``wait`` is how many
    seconds a tool waits for a human's decision; ``timeout``, how many the gate may take to answer
    (more than its ``approvals.wait_seconds``). Use it from any thread and any event loop, and
    ``close`` it at the end.
    """

    def __init__(
        self,
        access: Access | None = None,
        *,
        toolset: str,
        url: str = "",
        key: str = "",
        delegation: str = "",
        sessionless: bool = False,
        wait: float = 0,
        timeout: float = 60,
    ) -> None:
        self._toolset = toolset
        self._wait = wait
        self._delegation = delegation
        self._sessionless = sessionless
        self._current: ContextVar[str] = ContextVar("session", default="")
        self._sessions = False
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
        """Make the calls of this task, and of what it starts, in the session of this token.

        A thread is of it that was started in a copy of its context.
        """
        self._sessions = True
        before = self._current.set(delegation)
        try:
            yield
        finally:
            self._current.reset(before)

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
        run: Callable[[G], R],
        *,
        read: Callable[[dict[str, Any]], G],
        wait: float | None = None,
    ) -> R:
        """Call a tool of any kind: ``run`` gets the arguments that the gate gave back, as ``read``.

        ``read`` raises what it will for those that are not what was decided on: nothing runs then.
        Raises Refused, and whatever ``run`` raises; ToolError in its place where that says more
        than the gate lets pass.
        """
        begun = self._line.begin_now(*self._asking(arguments, tool, wait))
        given = self._given(begun, read)
        outcome: Returned | Failed
        try:
            outcome = Returned(tool, run(given))
        except Exception as error:  # noqa: BLE001 - it is judged, and raised again if it may be
            outcome = Failed(tool, error)
        except BaseException as error:
            self._line.abandon(begun, type(error).__name__)
            raise
        back = self._line.report_now(begun, outcome.told, is_error=outcome.is_error)
        return cast("R", outcome.after(back))

    async def acall(
        self,
        tool: Tool,
        arguments: dict[str, Any],
        run: Callable[[G], Awaitable[R]],
        *,
        read: Callable[[dict[str, Any]], G],
        wait: float | None = None,
    ) -> R:
        """``call`` for an asynchronous ``run``."""
        begun = await self._line.begin_soon(*self._asking(arguments, tool, wait))
        given = self._given(begun, read)
        outcome: Returned | Failed
        try:
            outcome = Returned(tool, await run(given))
        except Exception as error:  # noqa: BLE001 - as above
            outcome = Failed(tool, error)
        except BaseException as error:
            self._line.abandon(begun, type(error).__name__)
            raise
        back = await self._line.report_soon(begun, outcome.told, is_error=outcome.is_error)
        return cast("R", outcome.after(back))

    def _asking(
        self, arguments: dict[str, Any], tool: Tool, wait: float | None
    ) -> tuple[bytes, str, float]:
        """The question, in which session it is put, and for how long."""
        described = {
            "name": tool.name,
            "description": tool.description,
            "inputSchema": tool.input_schema,
        }
        call = {"toolset": self._toolset, "tool": described, "arguments": arguments}
        delegation = self._current.get() or self._delegation
        if self._sessions and not delegation and not self._sessionless:
            hint = "Start threads in contextvars.copy_context().run, or make it sessionless."
            raise Refused("PC7004", "this thread or task is in no session", hint=hint)
        return written(call), delegation, self._wait if wait is None else wait

    def _given(self, begun: Begun, read: Callable[[dict[str, Any]], G]) -> G:
        """The arguments as they run. Raises Refused for others than were decided on."""
        with contextlib.suppress(Exception):
            return read(begun.arguments)
        self._line.abandon(begun, "the arguments that were given back do not fit: it did not run")
        raise Refused("PC1020", "what would run is not what the gate decided on")

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

        def run(bound: inspect.BoundArguments) -> Any:
            return function(*bound.args, **bound.kwargs)

        @functools.wraps(function)
        def at_once(*args: Any, **kwargs: Any) -> Any:
            owner, asked = arguments.asked(args, kwargs)
            read = functools.partial(arguments.given, owner)
            return self.call(tool, asked, run, read=read, wait=wait)

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            owner, asked = arguments.asked(args, kwargs)
            read = functools.partial(arguments.given, owner)
            return await self.acall(tool, asked, run, read=read, wait=wait)

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

"""MCP over a child's standard input and output: one JSON-RPC message per line, both eras."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final

import structlog

from portcullis.config import Limits
from portcullis.core.errors import Problem
from portcullis.core.ports import Incoming
from portcullis.execution.credential import Credential, reflected
from portcullis.execution.mcp.mailbox import Mailbox
from portcullis.execution.mcp.messages import (
    cancelled,
    decode,
    is_request,
    is_response,
    refusal,
    same_id,
)
from portcullis.execution.mcp.pending import Pending, outgoing, owner, progress_token, restored
from portcullis.execution.mcp.process import Child
from portcullis.wire import json

_MAILBOX: Final = 256
"""How many messages outside any request are kept for a listener."""
_GARBAGE: Final = 64
"""How many lines that are no message a server may write between two answers."""
_UNWANTED: Final = 10_000
"""How many messages that nobody waits for a server may send between two answers."""
_ASIDES: Final = 1024
"""How many cancellations and refusals may wait for a server to read them."""
_LAST_WORDS_SECONDS: Final = 0.2

_log = structlog.get_logger(__name__)


class StdioChannel:
    """A ``Channel`` to one process, which lives as long as the channel does.

    Requests run concurrently under ids of ours, so that no two users of the channel collide;
    progress and subscription notifications find their request by them. What else the server
    says goes to ``listen`` when somebody listens, else to the youngest request in flight, else
    it waits for a listener; a server's request that must be dropped is answered with an error,
    so that the server does not wait for ever. When the process ends, everything raises Problem
    PC5011. A message that holds one of ``credentials`` is withheld: its request fails with
    PC5005. ``gone`` is called once, after the process has been reaped.
    """

    def __init__(
        self,
        server: str,
        child: Child,
        *,
        limits: Limits,
        credentials: Sequence[Credential],
        gone: Callable[[], None],
    ) -> None:
        self._server = server
        self._child = child
        self._limits = limits
        self._credentials = tuple(credentials)
        self._gone = gone
        self._pending: dict[int, Pending] = {}
        self._last = 0
        self._mailbox = Mailbox(count=_MAILBOX, size=limits.held_bytes)
        self._problem: Problem | None = None
        self._closed = False
        self._garbage = 0
        self._unwanted = 0
        self._asides: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_ASIDES)
        self._saying = asyncio.create_task(self._say_asides())
        self._reading = asyncio.create_task(self._read())
        self._supervisor = asyncio.create_task(self._supervise())

    @property
    def alive(self) -> bool:
        """Whether the process still serves requests."""
        return self._problem is None

    @property
    def closed(self) -> bool:
        """Whether it was ended by ``close``, and not by the server."""
        return self._closed

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        return self._child.pid

    async def request(
        self, message: dict[str, Any], headers: Mapping[str, str]
    ) -> AsyncGenerator[Incoming, None]:
        """Send a request and yield what belongs to it, the response last.

        ``headers`` have no place on this transport. Silence of more than
        ``limits.request_seconds`` (for a subscription: ``limits.stream_seconds``) is PC5002.
        """
        del headers
        self._check()
        if len(self._pending) >= self._limits.calls_in_flight:
            raise Problem("PC5006", f"{len(self._pending)} requests to {self._server} in flight")
        self._last += 1
        own = self._last
        pending = Pending(message["id"], progress_token(message), self._limits.result_bytes)
        self._pending[own] = pending
        listens = message["method"] == "subscriptions/listen"
        patience = self._limits.stream_seconds if listens else self._limits.request_seconds
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.stream_seconds
        try:
            await self._write(outgoing(message, own))
            while not pending.answered:
                try:
                    async with asyncio.timeout(min(patience, deadline - loop.time())):
                        incoming = await pending.get()
                except TimeoutError:
                    raise Problem("PC5002", "the server did not answer in time") from None
                pending.answered = is_response(incoming.message)
                yield incoming
        finally:
            del self._pending[own]
            self._leave(own, pending, cancel=message["method"] != "initialize")

    async def notify(self, message: dict[str, Any], headers: Mapping[str, str]) -> None:
        """Send a notification, or the response to a request of the server's.

        A cancellation of a request that is not in flight is dropped: it would name another's.
        """
        del headers
        self._check()
        if message.get("method") == "notifications/cancelled":
            params = message.get("params")
            named = params.get("requestId") if isinstance(params, dict) else None
            own = self._own(named)
            if own is None:
                return
            message = {**message, "params": {**message["params"], "requestId": own}}
        await self._write(message)

    async def listen(self, last_event_id: str | None) -> AsyncGenerator[Incoming, None]:
        """Yield what the server says outside any request, resuming after ``last_event_id``."""
        async with aclosing(self._mailbox.listen(last_event_id)) as messages:
            async for incoming in messages:
                yield incoming

    async def close(self, *, at_once: bool = False) -> None:
        """End the process and whatever it started."""
        self._closed = self._closed or self.alive
        self._fail(Problem("PC5011", f"the channel to {self._server} is closed"))
        await self._child.end(at_once=at_once)
        await asyncio.shield(self._supervisor)

    def _check(self) -> None:
        if self._problem is not None:
            raise Problem("PC5011", self._problem.detail)

    def _own(self, request_id: object) -> int | None:
        for own, pending in reversed(self._pending.items()):
            if same_id(pending.request_id, request_id):
                return own
        return None

    async def _write(self, message: Mapping[str, Any]) -> None:
        try:
            await self._child.write(json.encode(message) + b"\n", self._limits.request_seconds)
        except Problem as problem:
            self._fail(problem)
            raise

    def _leave(self, own: int, pending: Pending, *, cancel: bool) -> None:
        """Tell the server when nobody waits any more, and keep what was not for us alone."""
        if not self.alive:
            return
        for message in pending.unread():
            if is_request(message):
                self._keep(message, 0)
        if cancel and not pending.answered:
            self._say(cancelled(own))

    def _say(self, message: dict[str, Any]) -> None:
        """Send something that nobody waits for. A server that does not read it is ended."""
        try:
            self._asides.put_nowait(message)
        except asyncio.QueueFull:
            self._fail(Problem("PC5011", f"the server {self._server} does not read"))

    async def _say_asides(self) -> None:
        with suppress(Problem):
            while True:
                await self._write(await self._asides.get())

    async def _supervise(self) -> None:
        """Read until the process ends or misbehaves; then end it and fail whatever waits."""
        ended = asyncio.create_task(self._child.wait())
        problem = Problem("PC5011", f"the server {self._server} ended")
        try:
            await asyncio.wait({self._reading, ended}, return_when=asyncio.FIRST_COMPLETED)
            # Its last words may still be in the pipe, or a grandchild may hold the pipe open.
            await asyncio.wait({self._reading}, timeout=_LAST_WORDS_SECONDS)
            if self._reading.done() and not self._reading.cancelled():
                error = self._reading.exception()
                if error is not None:
                    problem = Problem("PC9002", f"reading from {self._server} failed")
                if isinstance(error, Problem):
                    problem = error
        finally:
            ended.cancel()
            self._fail(problem)
            await self._child.end()
            self._saying.cancel()
            self._gone()

    def _fail(self, problem: Problem) -> None:
        if self._problem is not None:
            return
        self._problem = problem
        self._reading.cancel()
        for pending in self._pending.values():
            pending.fail(problem)
        self._mailbox.fail(problem)
        _log.info(
            "mcp server fails",
            server=self._server,
            code=problem.code,
            detail=problem.detail,
            garbage=self._garbage,
            unwanted=self._unwanted,
        )

    async def _read(self) -> None:
        async with aclosing(self._child.lines(self._limits.result_bytes)) as lines:
            async for line in lines:
                if line.strip():
                    self._line(line)

    def _line(self, line: bytes) -> None:
        try:
            message = decode(line)
        except Problem:
            self._garbage += 1
            if self._garbage > _GARBAGE:
                raise Problem("PC5011", f"the server {self._server} writes garbage") from None
            return
        withheld = any(credential.found_in(line) for credential in self._credentials)
        belongs = message.get("id") if is_response(message) else owner(message)
        pending = self._pending.get(belongs) if type(belongs) is int else None
        if pending is not None and withheld:
            pending.fail(reflected())
        elif pending is not None:
            if is_response(message):
                self._garbage = self._unwanted = 0
            if not pending.put(restored(message, pending), len(line)):
                self._drop(message)
        elif withheld or belongs is not None or "method" not in message:
            self._drop(message)
        else:
            self._deliver(message, len(line))

    def _deliver(self, message: dict[str, Any], size: int) -> None:
        if not self._mailbox.listening and self._pending:
            youngest = next(reversed(self._pending.values()))
            if not youngest.put(message, size):
                self._drop(message)
        else:
            self._keep(message, size)

    def _keep(self, message: dict[str, Any], size: int) -> None:
        for unseen in self._mailbox.put(message, size):
            self._drop(unseen)

    def _drop(self, message: dict[str, Any]) -> None:
        """Drop what nobody will read; a server that goes on and on is ended."""
        self._unwanted += 1
        if self._unwanted > _UNWANTED:
            raise Problem("PC5011", f"the server {self._server} floods the gate")
        if is_request(message):
            self._say(refusal(message["id"]))

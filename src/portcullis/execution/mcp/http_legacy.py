"""MCP over streamable HTTP up to revision 2025-11-25: sessions, resumable streams."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from portcullis.core.errors import Problem
from portcullis.core.ports import Incoming, UpstreamResponse
from portcullis.execution.mcp.http import McpEndpoint, is_event_stream, is_success, refused
from portcullis.execution.mcp.messages import cancelled, is_response
from portcullis.wire.sse import SSEParser

_SESSION = "mcp-session-id"
_VERSION = "mcp-protocol-version"
_GOOD_SESSION = re.compile(r"[\x21-\x7e]{1,1024}")
_ATTEMPTS: Final = 3
_RETRY: Final = 1.0
_RETRY_RANGE: Final = (0.01, 30.0)
_FAREWELL_SECONDS: Final = 2.0
_BROKEN: Final = frozenset({"PC5001", "PC5002", "PC5008"})
"""A listening stream that ended so is asked for again."""
_UNHEARD: Final = frozenset({"PC5001", "PC5006", "PC5007", "PC5011", "PC5012", "PC5013"})
"""A request that failed so need not be cancelled: the server does not work on it."""


class LegacyHttpChannel:
    """A ``Channel`` that holds one session with the server; its id goes to nobody else.

    The session begins with the ``initialize`` that passes through. When the server has lost it
    (404), every use raises Problem PC5011: the client must initialize again, on a new channel.
    A request's stream that breaks off is resumed when its events had ids; leaving the iterator
    early sends ``notifications/cancelled``. ``gone`` is called once when the channel is closed.
    """

    def __init__(self, endpoint: McpEndpoint, gone: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._gone = gone
        self._session: str | None = None
        self._version: str | None = None
        self._farewells: set[asyncio.Task[None]] = set()
        self.alive = True

    async def request(
        self, message: dict[str, Any], headers: Mapping[str, str]
    ) -> AsyncGenerator[Incoming, None]:
        """Send a request and yield what belongs to it, the response last."""
        self._check()
        initialize = message["method"] == "initialize"
        finished = False
        try:
            response = await self._endpoint.post(message, self._versioned(headers), *self._own())
            self._judge(response)
            async with aclosing(self._resumed(response, message["id"])) as answer:
                async for incoming in answer:
                    if initialize and "result" in incoming.message:
                        self._begin(response, incoming.message["result"])
                    finished = is_response(incoming.message)
                    yield incoming
        except Problem as problem:
            finished = problem.code in _UNHEARD
            raise
        finally:
            if not (finished or initialize):
                self._cancel(message["id"])

    async def notify(self, message: dict[str, Any], headers: Mapping[str, str]) -> None:
        """Send a notification or a response; Problem PC5003 or PC5007 when it is refused."""
        self._check()
        response = await self._endpoint.post(message, self._versioned(headers), *self._own())
        try:
            self._judge(response)
            if not is_success(response.status):
                raise refused(response.status)
            await response.read()
        finally:
            response.close()

    async def listen(self, last_event_id: str | None) -> AsyncGenerator[Incoming, None]:
        """Yield what the server sends by itself, over as many connections as it takes.

        Ends when the server offers no such stream (405). Raises the last Problem after
        three attempts in a row that brought nothing.
        """
        last, failures = last_event_id or "", 0
        while True:
            self._check()
            parser = self._endpoint.parser()
            try:
                response = await self._get(last)
                if response.status == 405:  # noqa: PLR2004 - the server has no such stream
                    response.close()
                    return
                async with aclosing(self._stream(response, parser)) as events:
                    async for incoming in events:
                        failures = 0
                        yield incoming
            except Problem as problem:
                if problem.code not in _BROKEN:
                    raise
                failures += 1
                if failures >= _ATTEMPTS and problem.code != "PC5002":
                    raise
            last = parser.last_id or last
            await asyncio.sleep(_pause(parser))

    async def close(self, *, at_once: bool = False) -> None:
        """End the session at the server, as far as it listens."""
        del at_once
        if not self.alive and self._session is None:
            return
        self.alive = False
        self._gone()
        for task in tuple(self._farewells):
            task.cancel()
        own = self._own()
        session, self._session = self._session, None
        if session is not None:
            await _quietly(self._delete(own))

    async def _resumed(
        self, response: UpstreamResponse, request_id: object
    ) -> AsyncGenerator[Incoming, None]:
        """Read a request's answer, asking for the rest where its stream broke off."""
        last, attempts = "", 0
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._endpoint.patience
        while True:
            parser = self._endpoint.parser()
            try:
                async with aclosing(self._endpoint.answer(response, request_id, parser)) as answer:
                    async for incoming in answer:
                        attempts = 0
                        yield incoming
            except Problem as problem:
                last = parser.last_id or last
                attempts += 1
                if problem.code != "PC5008" or not last or attempts > _ATTEMPTS:
                    raise
            else:
                return
            if clock() >= deadline:
                raise Problem("PC5002", "the server took too long over its answer")
            await asyncio.sleep(_pause(parser))
            response = await self._get(last)

    async def _stream(
        self, response: UpstreamResponse, parser: SSEParser
    ) -> AsyncGenerator[Incoming, None]:
        try:
            if not (is_success(response.status) and is_event_stream(response)):
                raise refused(response.status)
            async with aclosing(self._endpoint.events(response, parser)) as events:
                async for incoming in events:
                    yield incoming
        finally:
            response.close()

    async def _get(self, last: str) -> UpstreamResponse:
        own = self._own()
        if self._version is not None:
            own = (*own, (_VERSION, self._version))
        if last:
            own = (*own, ("last-event-id", last))
        response = await self._endpoint.get(*own)
        self._judge(response)
        return response

    async def _delete(self, own: tuple[tuple[str, str], ...]) -> None:
        (await self._endpoint.delete(*own)).close()

    def _own(self) -> tuple[tuple[str, str], ...]:
        return () if self._session is None else ((_SESSION, self._session),)

    def _versioned(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        if self._version is None or any(name.lower() == _VERSION for name in headers):
            return headers
        return {**headers, _VERSION: self._version}

    def _begin(self, response: UpstreamResponse, result: Any) -> None:
        session = response.headers.get(_SESSION)
        if session is not None and not _GOOD_SESSION.fullmatch(session):
            raise Problem("PC5003", "the server's session id is malformed")
        self._session = session
        version = result.get("protocolVersion") if isinstance(result, dict) else None
        if isinstance(version, str) and _GOOD_SESSION.fullmatch(version):
            self._version = version

    def _judge(self, response: UpstreamResponse) -> None:
        if response.status == 404 and self._session is not None:  # noqa: PLR2004 - session lost
            response.close()
            self._session = None
            self.alive = False
            self._gone()
            raise self._lost()

    def _check(self) -> None:
        if not self.alive:
            raise self._lost()

    @staticmethod
    def _lost() -> Problem:
        return Problem("PC5011", "the server ended its session", hint="Initialize again.")

    def _cancel(self, request_id: object) -> None:
        if self.alive:
            task = asyncio.create_task(_quietly(self.notify(cancelled(request_id), {})))
            self._farewells.add(task)
            task.add_done_callback(self._farewells.discard)


async def _quietly(farewell: Any) -> None:
    """Say something that the server may or may not hear."""
    try:
        async with asyncio.timeout(_FAREWELL_SECONDS):
            await farewell
    except (Problem, TimeoutError):
        return


def _pause(parser: SSEParser) -> float:
    """Return for how many seconds to wait before connecting again."""
    seconds = _RETRY if parser.retry is None else parser.retry / 1000
    return min(max(seconds, _RETRY_RANGE[0]), _RETRY_RANGE[1])

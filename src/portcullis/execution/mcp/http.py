"""Streamable HTTP as both eras have it: one POST, answered by JSON or by an event stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from portcullis.config import Limits
from portcullis.core.behalf import Behalf
from portcullis.core.errors import Problem
from portcullis.core.ports import Forwarder, Incoming, UpstreamRequest, UpstreamResponse
from portcullis.execution.endpoint import mcp_upstream
from portcullis.execution.mcp.messages import decode, is_response, same_id
from portcullis.wire import json
from portcullis.wire.sse import SSEParser

_DRAIN_SECONDS: Final = 0.05
_OURS: Final = frozenset({"accept", "content-type", "mcp-session-id", "last-event-id"})


def is_success(status: int) -> bool:
    """Say whether a status is of the 2xx class."""
    return status // 100 == 2  # noqa: PLR2004 - RFC 9110 section 15.3


def refused(status: int) -> Problem:
    """Say what it means that a server answered with this status and no JSON-RPC message."""
    if status in {401, 403}:
        return Problem("PC5007", f"the server refused our credential with status {status}")
    if status // 100 == 5:  # noqa: PLR2004 - the same
        return Problem("PC5024", f"the server failed with status {status}")
    return Problem("PC5003", f"the server answered with status {status} and no JSON-RPC message")


class McpEndpoint:
    """One MCP server behind the forwarder: sends messages, reads the messages that come back."""

    def __init__(
        self, server: str, forwarder: Forwarder, limits: Limits, behalf: Behalf | None = None
    ) -> None:
        self._server = server
        self._upstream = mcp_upstream(server)
        self._forwarder = forwarder
        self._limits = limits
        self._behalf = behalf

    def on_behalf(self, behalf: Behalf | None) -> McpEndpoint:
        """The same server, asked on this behalf."""
        return McpEndpoint(self._server, self._forwarder, self._limits, behalf)

    @property
    def patience(self) -> float:
        """How many seconds one request's answer may take in all, over however many streams."""
        return self._limits.stream_seconds

    def parser(self) -> SSEParser:
        """Return a parser for one event stream, bounded by the limit on results."""
        return SSEParser(self._limits.result_bytes)

    async def post(
        self, message: Mapping[str, Any], headers: Mapping[str, str], *own: tuple[str, str]
    ) -> UpstreamResponse:
        """Send one message. ``headers`` are the gate's, ``own`` this channel's."""
        pairs = [pair for pair in headers.items() if pair[0].lower() not in _OURS]
        pairs += [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            *own,
        ]
        return await self._send("POST", tuple(pairs), json.encode(message), _called(message))

    async def get(self, *own: tuple[str, str]) -> UpstreamResponse:
        """Ask for the stream of what the server has to say by itself."""
        return await self._send("GET", (("accept", "text/event-stream"), *own), b"")

    async def delete(self, *own: tuple[str, str]) -> UpstreamResponse:
        """Ask the server to end a session."""
        return await self._send("DELETE", own, b"")

    async def _send(
        self, method: str, headers: tuple[tuple[str, str], ...], body: bytes, scope: str = ""
    ) -> UpstreamResponse:
        return await self._forwarder.send(
            UpstreamRequest(
                upstream=self._upstream,
                method=method,
                path="",
                headers=headers,
                body=body,
                behalf=self._behalf,
                scope=scope,
            )
        )

    async def whole(self, response: UpstreamResponse, request_id: object) -> Incoming:
        """The one message of an answer in JSON. Raises as ``answer``."""
        try:
            return Incoming(message=_whole(response.status, await response.read(), request_id))
        finally:
            response.close()

    async def answer(
        self, response: UpstreamResponse, request_id: object, parser: SSEParser
    ) -> AsyncGenerator[Incoming, None]:
        """Yield what belongs to a request, up to and with its response; then close.

        Raises Problem PC5003 for what is no answer to it, PC5007 when the server refused our
        credential, PC5008 when its stream ends without the response, PC5024 for a status 5xx.
        """
        if is_json(response):
            yield await self.whole(response, request_id)
            return
        try:
            if is_event_stream(response) and is_success(response.status):
                async with aclosing(self.events(response, parser)) as events:
                    async for incoming in events:
                        answered = is_response(incoming.message)
                        if answered and not same_id(incoming.message.get("id"), request_id):
                            raise Problem("PC5003", "the server answered another request")
                        yield incoming
                        if answered:
                            await _drain(events)
                            return
                raise Problem("PC5008", "the server's stream ended without a response")
            elif is_success(response.status):
                raise Problem("PC5003", "the server answered neither with JSON nor with events")
            else:
                raise refused(response.status)
        finally:
            response.close()

    async def events(
        self, response: UpstreamResponse, parser: SSEParser
    ) -> AsyncGenerator[Incoming, None]:
        """Yield the messages of an event stream; Problem PC5010 for another type of event."""
        async with aclosing(_closable(response)) as chunks:
            async for chunk in chunks:
                for event in parser.feed(chunk):
                    if event.event not in {"", "message"}:
                        raise Problem("PC5010", "an event of the server is not a message")
                    if event.data:
                        message = decode(event.data.encode())
                        yield Incoming(message=message, event_id=event.id or None)


def _called(message: Mapping[str, Any]) -> str:
    """The tool that a message calls, if it calls one."""
    parameters = message.get("params")
    if message.get("method") != "tools/call" or not isinstance(parameters, Mapping):
        return ""
    name = parameters.get("name")
    return name if isinstance(name, str) else ""


def is_json(response: UpstreamResponse) -> bool:
    """Say whether an answer is one message."""
    return _media_type(response) == "application/json"


def is_event_stream(response: UpstreamResponse) -> bool:
    """Say whether an answer is a stream of events."""
    return _media_type(response) == "text/event-stream"


def _media_type(response: UpstreamResponse) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _whole(status: int, body: bytes, request_id: object) -> dict[str, Any]:
    """Read a JSON answer; an error may come with any status, and without an id."""
    try:
        message = decode(body)
    except Problem:
        if is_success(status):
            raise
        raise refused(status) from None
    if not is_response(message) or not (is_success(status) or "error" in message):
        raise refused(status)
    if "error" in message and message.get("id") is None:
        return {**message, "id": request_id}
    if not same_id(message.get("id"), request_id):
        raise Problem("PC5003", "the server answered another request")
    return message


async def _drain(events: AsyncIterator[Incoming]) -> None:
    """Wait a moment for the end of a stream that has said all, so that its connection lives on."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            await anext(events, None)
    except (TimeoutError, Problem):
        return


async def _closable(response: UpstreamResponse) -> AsyncGenerator[bytes, None]:
    async for chunk in response.chunks():
        yield chunk

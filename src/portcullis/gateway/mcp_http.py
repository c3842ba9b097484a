"""MCP over streamable HTTP, both eras: ``/mcp/{server}``.

A request whose ``MCP-Protocol-Version`` is missing or an old one belongs to the legacy era, any
other to the modern one, unless the body says otherwise: then it is refused. The modern era is
stateless POSTs. The legacy era has sessions: ``initialize`` gives out an ``Mcp-Session-Id`` that
works for the caller that it was given to, GET listens, DELETE ends it. Refusals of well-formed
legacy messages are JSON-RPC errors under status 200, since a 404 would mean a lost session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import structlog

from portcullis.core.call import Context, Route
from portcullis.core.errors import Problem
from portcullis.gateway.http import Request, send_json
from portcullis.gateway.live import LEFT, current_run, cuttable, quietly
from portcullis.gateway.mcp import Mcp, make_call, protocol, summary
from portcullis.gateway.mcp_conversation import Conversation
from portcullis.gateway.mcp_conversations import Conversations
from portcullis.gateway.mcp_exchange import Exchange
from portcullis.gateway.mcp_listen import Listening
from portcullis.gateway.mcp_reply import Reply
from portcullis.gateway.mcp_stream import Stream
from portcullis.gateway.ticks import Ticks
from portcullis.wire import jsonrpc
from portcullis.wire.json import decode, encode
from portcullis.wire.mcp import (
    CLIENT_NOTIFICATIONS,
    LEGACY_VERSIONS,
    MODERN_VERSIONS,
    Era,
    enveloped,
    interpret,
    unsupported,
)

log = structlog.get_logger(__name__)

_VERSION: Final = b"mcp-protocol-version"
_SESSION: Final = b"mcp-session-id"
_OK, _ACCEPTED = 200, 202
_RETRIED: Final = frozenset({-32006, -32010})
"""The JSON-RPC codes of refusals that may say when to try again."""
_STATUS: Final[Mapping[int, int]] = {
    -32700: 400,
    -32600: 400,
    -32602: 400,
    -32020: 400,
    -32021: 400,
    -32022: 400,
    -32601: 404,
}
"""The HTTP status of a modern answer by its JSON-RPC error code; 200 for the others."""


class McpHttp:
    """The handler that the router calls for an authenticated request.

    It answers every request itself; Problems from before the message was read are raised to
    the router, which records and answers them.
    """

    def __init__(
        self,
        mcp: Mcp,
        conversations: Conversations,
        *,
        keep_alive: float = 15.0,
        tick: float = 1.0,
    ) -> None:
        self._mcp = mcp
        self._conversations = conversations
        self._keep_alive = keep_alive
        self._tick = tick

    async def __call__(self, request: Request, context: Context, server: str) -> None:
        """Serve one request for one of the configured servers."""
        if server not in self._mcp.channels.servers():
            raise Problem("PC5012", "no MCP server of this name is configured")
        if request.method == "POST":
            await self._post(request, context, server)
        elif request.method in {"GET", "DELETE"} and self._has_session(request):
            conversation = await self._session(request, context, server)
            if request.method == "GET":
                await self._get(request, context, conversation)
            else:
                await self._delete(request, context, conversation)
        else:
            problem = Problem("PC1009", "only POST is served without an Mcp-Session-Id")
            await self._refuse(request, context, server, None, problem, [(b"allow", b"POST")])

    async def _post(self, request: Request, context: Context, server: str) -> None:
        limits = self._mcp.limits
        if not {"application/json", "text/event-stream"} <= _accepted(request):
            raise Problem("PC1038", "the client must accept JSON and event streams")
        value = decode(await request.json_body(limits.body_bytes))
        try:
            message = jsonrpc.parse(value)
            if self._era(request, message) is Era.MODERN:
                await self._modern(request, context, server, message)
            else:
                await self._legacy(request, context, server, message)
        except Problem as problem:
            await self._refuse(request, context, server, jsonrpc.id_of(value), problem)

    @staticmethod
    def _era(request: Request, message: jsonrpc.Message) -> Era:
        version = request.text(_VERSION)
        envelope = isinstance(message, jsonrpc.Request) and enveloped(message.params)
        if version is not None and version not in LEGACY_VERSIONS:
            if version not in MODERN_VERSIONS and not envelope:
                raise unsupported(version)
            return Era.MODERN
        if envelope and not _begins(message):
            raise Problem("PC1032", "MCP-Protocol-Version is not the version in params._meta")
        return Era.LEGACY

    async def _modern(
        self, request: Request, context: Context, server: str, message: jsonrpc.Message
    ) -> None:
        if isinstance(message, jsonrpc.Notification):
            # The revision defines none over HTTP (a client cancels by leaving); clients send them.
            if message.method not in CLIENT_NOTIFICATIONS[Era.LEGACY]:
                interpret(CLIENT_NOTIFICATIONS[Era.MODERN], message.method, message.params)
            told = make_call(Route.MCP_HTTP, server, message.method, protocol("told"), {})
            denied = self._mcp.pipeline.chunk(told, context)  # whoever is cut off is told so
            if denied is not None:
                raise Problem(denied.code, denied.reason)
            await send_json(request.send, _ACCEPTED, b"")
            return
        if not isinstance(message, jsonrpc.Request):
            raise Problem("PC1036", "the modern era has no requests of servers to answer")
        conversation = await self._conversations.modern(server, context, Route.MCP_HTTP)
        reply = self._reply(request)
        exchange = Exchange(
            self._mcp,
            conversation,
            context,
            message,
            emit=reply.event,
            headers=_mcp_headers(request),
            tracked=False,
        )
        await self._run(exchange, reply, _STATUS)

    async def _legacy(
        self, request: Request, context: Context, server: str, message: jsonrpc.Message
    ) -> None:
        if isinstance(message, jsonrpc.Request) and _begins(message):
            await self._initialize(request, context, server, message)
            return
        conversation = await self._session(request, context, server)
        if isinstance(message, jsonrpc.Request):
            reply = self._reply(request)
            exchange = Exchange(self._mcp, conversation, context, message, emit=reply.event)
            await self._run(exchange, reply, {})
            return
        with conversation.use():
            if isinstance(message, jsonrpc.Notification):
                await conversation.told(message, context)
            else:
                await conversation.answered(message, context)
        await send_json(request.send, _ACCEPTED, b"")

    async def _initialize(
        self, request: Request, context: Context, server: str, message: jsonrpc.Request
    ) -> None:
        if self._has_session(request):
            raise Problem("PC1011", "initialize begins a session: send no Mcp-Session-Id")
        conversation = await self._conversations.legacy(server, context, Route.MCP_HTTP_LEGACY)
        reply = self._reply(request, [(_SESSION, conversation.key.encode())])
        exchange = Exchange(self._mcp, conversation, context, message, emit=None)
        try:
            await self._run(exchange, reply, {})
        finally:
            if not conversation.version:
                await self._conversations.end(conversation)

    async def _get(self, request: Request, context: Context, conversation: Conversation) -> None:
        if "text/event-stream" not in _accepted(request):
            raise Problem("PC1038", "the client must accept event streams")
        reply = self._reply(request)
        listening = Listening(
            self._mcp,
            conversation,
            context,
            emit=reply.event,
            last_event_id=request.text(b"last-event-id"),
        )
        problem = await self._attend(listening, reply, listening.run(), opens=True)
        if reply.started:
            await quietly(reply.end())
        elif isinstance(problem, Problem):
            status = problem.status
            await self._answer(request, status, jsonrpc.error_message(None, problem))
        else:
            nothing = Problem("PC1009", "the server offers no stream")
            await self._answer(
                request, nothing.status, jsonrpc.error_message(None, nothing), [(b"allow", b"POST")]
            )

    async def _delete(self, request: Request, context: Context, conversation: Conversation) -> None:
        call = make_call(conversation.route, conversation.server, "DELETE", protocol("end"), {})
        try:
            outcome = await self._mcp.decide(call, context)
            await self._mcp.conclude(outcome, context, summary({}))
            with cuttable():
                await asyncio.shield(self._conversations.end(conversation))
        except Problem as problem:  # recorded already
            await self._answer(request, problem.status, jsonrpc.error_message(None, problem))
            return
        await send_json(request.send, _OK, b"")

    async def _run(self, exchange: Exchange, reply: Reply, statuses: Mapping[int, int]) -> None:
        """Carry out an exchange and answer it, unless the client has gone."""
        message = await self._attend(exchange, reply, exchange.run())
        if message is not None:
            error = message.get("error", {})
            code = error.get("code")
            data = error.get("data")
            if code in _RETRIED and isinstance(data, dict):
                reply.retry(data.get("retry_after"))
            await quietly(reply.finish(message, statuses.get(code, _OK)))

    async def _attend(
        self, stream: Stream, reply: Reply, running: Awaitable[Any], *, opens: bool = False
    ) -> Any:
        """Run a stream while watching the client, the clock and containment; its result.

        None when the client left. A stream that ``opens`` shows itself after one tick. Whoever
        ends the run of this task ends the stream, which records that and says why.
        """

        async def look() -> bool:
            try:
                problem = stream.overdue() or await self._show(reply, opens=opens)
            except Exception:
                log.exception("mcp_look_failed")
                problem = Problem("PC9002", "the stream could not be looked after")
            if problem is not None:
                stream.stop(problem)
            return problem is None

        gone = False

        def stop(problem: Problem) -> None:
            nonlocal gone
            gone = problem.code == LEFT
            stream.stop(problem)

        run, looking = current_run(), Ticks(self._tick, look)
        before = None if run is None else run.ends_by(stop)
        try:
            result = await running
        finally:
            if run is not None and before is not None:
                run.ends_by(before)
            await looking.end()
        return None if gone else result

    @staticmethod
    async def _show(reply: Reply, *, opens: bool) -> Problem | None:
        try:
            if opens and not reply.started:
                await reply.open()
            else:
                await reply.idle()
        except Problem as problem:
            return problem
        return None

    async def _session(self, request: Request, context: Context, server: str) -> Conversation:
        """The caller's session that the request names, in the version that it settled on."""
        key = request.text(_SESSION)
        if key is None:
            raise Problem("PC1011", "the header Mcp-Session-Id is missing")
        conversation = await self._conversations.find(key, server, context)
        version = request.text(_VERSION)
        if version is not None and version != conversation.version:
            raise Problem("PC1032", "MCP-Protocol-Version is not what initialize settled on")
        return conversation

    async def _refuse(
        self,
        request: Request,
        context: Context,
        server: str,
        request_id: jsonrpc.RequestId | None,
        problem: Problem,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """Record a refusal and answer it under the status of its code."""
        modern = request.headers.get(_VERSION, b"").decode("latin-1") in MODERN_VERSIONS
        route = Route.MCP_HTTP if modern else Route.MCP_HTTP_LEGACY
        answered = self._mcp.refuse(problem, context, route, server, request.method)
        message = jsonrpc.error_message(request_id, answered)
        await self._answer(request, answered.status, message, headers)

    @staticmethod
    async def _answer(
        request: Request,
        status: int,
        message: dict[str, Any],
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        await send_json(request.send, status, encode(message), headers or ())

    def _reply(self, request: Request, headers: list[tuple[bytes, bytes]] | None = None) -> Reply:
        return Reply(
            request.send,
            seconds=self._mcp.limits.idle_seconds,
            keep_alive=self._keep_alive,
            headers=headers or (),
        )

    @staticmethod
    def _has_session(request: Request) -> bool:
        return request.header(_SESSION) is not None


def _begins(message: jsonrpc.Message) -> bool:
    return isinstance(message, jsonrpc.Request) and message.method == "initialize"


def _accepted(request: Request) -> set[str]:
    """The media types that a client accepts, wildcards spelt out."""
    raw = request.headers.get(b"accept", b"").decode("latin-1").lower()
    kinds = {part.split(";")[0].strip() for part in raw.split(",")}
    if "*/*" in kinds:
        kinds |= {"application/json", "text/event-stream"}
    if "application/*" in kinds:
        kinds.add("application/json")
    if "text/*" in kinds:
        kinds.add("text/event-stream")
    return kinds


def _mcp_headers(request: Request) -> dict[str, str]:
    """The routing headers, by lower-case name."""
    return {
        name.decode("latin-1"): request.text(name) or ""
        for name in request.headers
        if name.startswith(b"mcp-")
    }

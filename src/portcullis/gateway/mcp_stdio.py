"""MCP over standard streams: what ``portcullis mcp -- CMD`` speaks to a desktop client.

The output carries the protocol and nothing else. One client, both eras: a request with the
modern envelope belongs to the stateless conversation, ``initialize`` begins the legacy one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol

import structlog

from portcullis.core.call import Context, Route
from portcullis.core.errors import Problem
from portcullis.gateway.live import Live, left
from portcullis.gateway.mcp import Mcp
from portcullis.gateway.mcp_conversation import Conversation
from portcullis.gateway.mcp_conversations import Conversations
from portcullis.gateway.mcp_exchange import Exchange
from portcullis.gateway.mcp_listen import Listening
from portcullis.wire import jsonrpc
from portcullis.wire.json import decode, encode
from portcullis.wire.mcp import enveloped
from portcullis.wire.mcp_lines import Lines

log = structlog.get_logger(__name__)

MAX_RUNNING: Final = 64
"""Most messages of the client's in work at once; more are refused, never queued."""
_CHUNK: Final = 2**16
LAST_SECONDS: Final = 5.0
"""For how long what came before a server's end may still be judged and answered."""


class Reader(Protocol):
    """The client's side, as ``asyncio.StreamReader`` reads it: empty at the end."""

    async def read(self, n: int) -> bytes:
        """At most ``n`` bytes."""
        ...


class Writer(Protocol):
    """The client's side, as ``asyncio.StreamWriter`` writes it."""

    def write(self, data: bytes) -> None:
        """Take bytes to send."""

    async def drain(self) -> None:
        """Wait until more may be written."""


async def serve_stdio(
    reader: Reader,
    writer: Writer,
    *,
    mcp: Mcp,
    conversations: Conversations,
    server: str,
    contexts: Callable[[], Awaitable[Context]],
    live: Live,
) -> None:
    """Serve one client until it ends its stream, then end what it began.

    ``contexts`` authenticates anew for each message; its Problems refuse that message. Raises
    Problem PC5011 when the server ended before the client did, or could not be started: whatever
    waits for it is answered so before.
    """
    served = _Client(writer, mcp, conversations, server, contexts, live)
    reading = asyncio.create_task(served.read(reader))
    lost = asyncio.create_task(served.lost())
    try:
        await asyncio.wait({reading, lost}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
            return
        reading.cancel()
        lost.result()
        raise await served.bereft()
    finally:
        for task in (reading, lost):
            task.cancel()
        await asyncio.gather(reading, lost, return_exceptions=True)
        await served.close()


async def standard_streams() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """This process's standard input and output, which must be two pipes or sockets."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_CHUNK)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, flow = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sys.stdout.buffer
    )
    return reader, asyncio.StreamWriter(transport, flow, None, loop)


class _Client:
    """The one client of a standard-streams conversation."""

    def __init__(
        self,
        writer: Writer,
        mcp: Mcp,
        conversations: Conversations,
        server: str,
        contexts: Callable[[], Awaitable[Context]],
        live: Live,
    ) -> None:
        self._writer = writer
        self._mcp = mcp
        self._conversations = conversations
        self._server = server
        self._contexts = contexts
        self._live = live
        self._legacy: Conversation | None = None
        self._modern: Conversation | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._streams: set[Exchange | Listening] = set()
        self._ended = asyncio.Event()

    async def read(self, reader: Reader) -> None:
        """Take what the client says until it ends its stream."""
        lines = Lines(self._mcp.limits.body_bytes)
        while chunk := await reader.read(_CHUNK):
            for line in lines.feed(chunk):
                await self.line(line)
        if (cut := lines.end()) is not None:
            await self.line(cut)

    async def lost(self) -> None:
        """Wait until the server has ended; hold what runs against the clock and containment."""
        while not (self._ended.is_set() or self._over()):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._ended.wait()
            for stream in list(self._streams):
                if (problem := stream.overdue()) is not None:
                    stream.stop(problem)

    async def bereft(self) -> Problem:
        """Answer everything that waits for a server that has ended; what there is to say of it."""
        problem = Problem("PC5011", f"the server {self._server} has ended")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_SECONDS)
        for stream in list(self._streams):
            stream.stop(problem)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return problem

    async def line(self, line: bytes | Problem) -> None:
        """Take one line, or what is wrong with it. Requests run on; the rest is done at once."""
        try:
            context = await self._contexts()
        except Problem as problem:
            request_id = None if isinstance(line, Problem) else _id_in(line)
            answered = self._mcp.pipeline.refused(
                problem, route=Route.MCP_STDIO, source="stdio", server=self._server, method="stdio"
            )
            await self._write(jsonrpc.error_message(request_id, answered))
            return
        value: Any = None
        try:
            if isinstance(line, Problem):
                raise line
            value = decode(line)
            message = jsonrpc.parse(value)
            if isinstance(message, jsonrpc.Request):
                await self._request(message, context)
            else:
                await self._other(message, context)
        except Problem as problem:
            answered = self._mcp.refuse(problem, context, Route.MCP_STDIO, self._server, "stdio")
            if not _silent(value):
                await self._write(jsonrpc.error_message(jsonrpc.id_of(value), answered))
        except Exception:
            log.exception("mcp_message_failed", server=self._server)
            fault = Problem("PC9002", "the message could not be handled")
            answered = self._mcp.refuse(fault, context, Route.MCP_STDIO, self._server, "stdio")
            await self._write(jsonrpc.error_message(jsonrpc.id_of(value), answered))

    async def close(self) -> None:
        """The client has left: stop what runs and end its conversations."""
        for stream in list(self._streams):
            stream.stop(left())
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for conversation in (self._legacy, self._modern):
            if conversation is not None:
                await self._conversations.end(conversation)

    async def _request(self, message: jsonrpc.Request, context: Context) -> None:
        if len(self._tasks) >= MAX_RUNNING:
            raise Problem("PC5025", "too many requests at once")
        conversation = await self._conversation(message, context)
        begins = message.method == "initialize"
        exchange = Exchange(
            self._mcp, conversation, context, message, emit=None if begins else self._emit
        )
        self._start(exchange, context, self._answer(exchange))
        await asyncio.sleep(0)  # the exchange is known by its id before the next line is read

    async def _other(
        self, message: jsonrpc.Notification | jsonrpc.Response | jsonrpc.Failure, context: Context
    ) -> None:
        conversation = self._legacy or self._modern
        if conversation is None:
            raise Problem("PC1035", "no conversation was begun")
        if not isinstance(message, jsonrpc.Notification):
            await conversation.answered(message, context)
            return
        await conversation.told(message, context)
        if message.method == "notifications/initialized" and conversation.listening is None:
            listening = Listening(self._mcp, conversation, context, emit=self._emit)
            self._start(listening, context, self._listen(listening))

    async def _conversation(self, message: jsonrpc.Request, context: Context) -> Conversation:
        if message.method == "initialize":
            if self._legacy is not None:
                if self._legacy.version:
                    raise Problem("PC1030", "the conversation is initialized already")
                await self._conversations.end(self._legacy)
            if self._modern is not None:  # a client that probed before it fell back
                await self._conversations.end(self._modern)
                self._modern = None
            self._legacy = await self._conversations.legacy(self._server, context, Route.MCP_STDIO)
            return self._legacy
        if self._legacy is not None:
            if enveloped(message.params):
                raise Problem("PC1030", "this conversation speaks the legacy era")
            return self._legacy
        if not enveloped(message.params):
            raise Problem("PC1035", "neither initialized nor a request with its own version")
        self._modern = await self._conversations.modern(self._server, context, Route.MCP_STDIO)
        return self._modern

    def _start(
        self, stream: Exchange | Listening, context: Context, running: Coroutine[Any, Any, None]
    ) -> None:
        async def run() -> None:
            with self._live.holding(context, stream.stop):
                await running

        task = asyncio.create_task(run())
        self._tasks.add(task)
        self._streams.add(stream)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._streams.discard(stream)
            if self._over():
                self._ended.set()

        task.add_done_callback(ended)

    def _over(self) -> bool:
        return any(one is not None and one.over for one in (self._legacy, self._modern))

    async def _answer(self, exchange: Exchange) -> None:
        answer = await exchange.run()
        if exchange.reason is not None and exchange.reason.code == "PC5014":
            return  # cancelled: nobody waits for it
        try:
            await self._write(answer)
        except Problem as problem:
            log.warning("answer_not_read", code=problem.code)

    async def _listen(self, listening: Listening) -> None:
        problem = await listening.run()
        if problem is not None:
            log.info("stdio_listening_ended", code=problem.code)

    async def _emit(self, message: dict[str, Any], event_id: str) -> None:
        del event_id  # nothing is resumed on standard streams
        await self._write(message)

    async def _write(self, message: dict[str, Any]) -> None:
        """Write one line; Problem PC5014 when the client does not read it."""
        async with self._writing:
            try:
                async with asyncio.timeout(self._mcp.limits.idle_seconds):
                    self._writer.write(encode(message) + b"\n")
                    await self._writer.drain()
            except (TimeoutError, OSError):
                raise Problem("PC5014", "the client does not read its answer") from None


def _id_in(line: bytes) -> jsonrpc.RequestId | None:
    try:
        return jsonrpc.id_of(decode(line))
    except Problem:
        return None


def _silent(value: Any) -> bool:
    """Whether a message is one that nobody answers, even when it is refused."""
    return type(value) is dict and type(value.get("method")) is str and "id" not in value

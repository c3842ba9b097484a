"""WebSockets (RFC 6455) that the gate reads: no message goes on before it was judged.

Each message of the agent's is a call of its own, on record before it is sent. Extensions are never
agreed on, so that messages are what they look like.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec
from wsproto.connection import Connection, ConnectionType
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from portcullis.config import Limits
from portcullis.core.call import Call, Context, Result
from portcullis.core.egress_ports import Given
from portcullis.core.errors import Problem
from portcullis.core.verdict import Deny, Finding
from portcullis.gateway.egress_stream import PIECE, Pace, Stream
from portcullis.gateway.live import settled
from portcullis.gateway.outcome import Outcome, recorded
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import new_id
from portcullis.wire import egress_body as bodies
from portcullis.wire.json import encode

_NORMAL: Final = 1000
_CLOSES: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
"""Close codes that are sent (RFC 6455 section 7.4)."""
_POLICY: Final = 1008
"""The close code of who breaks a policy (RFC 6455 section 7.4.1)."""


@dataclass(slots=True)
class Ended:
    """What went through it."""

    sent: int = 0
    received: int = 0
    messages: int = 0
    by: str = ""
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Open:
    """One that is open: our two ends of it."""

    client: Connection
    host: Connection
    stream: Stream
    writer: StreamWriter
    outcome: Outcome
    context: Context
    given: Given | None
    ended: Ended


_Judged: TypeAlias = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
_Sends: TypeAlias = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Way:
    """One direction: from ``near`` to ``far``; ``reply`` goes back to where ``read`` is from."""

    near: Connection
    far: Connection
    read: Callable[[], Awaitable[bytes]]
    judged: _Judged
    send: _Sends
    reply: _Sends


class Sockets:
    """Serves those whose opening was let through."""

    def __init__(self, pipeline: Pipeline, limits: Limits) -> None:
        self._pipeline = pipeline
        self._limits = limits

    async def serve(
        self,
        stream: Stream,
        early: bytes,
        reader: StreamReader,
        writer: StreamWriter,
        begun: bytes,
        *,
        outcome: Outcome,
        context: Context,
        given: Given | None,
    ) -> Ended:
        """Carry messages until one end closes. Raises Problem PC5061, PC5002, and refusals.

        ``early`` and ``begun`` are what has come of it already.
        """
        opened = _Open(
            client=Connection(ConnectionType.SERVER),
            host=Connection(ConnectionType.CLIENT),
            stream=stream,
            writer=writer,
            outcome=outcome,
            context=context,
            given=given,
            ended=Ended(),
        )
        loop = asyncio.get_running_loop()
        ways = {
            loop.create_task(self._out(opened, early)): "client",
            loop.create_task(self._back(opened, reader, begun)): "host",
        }
        try:
            done, _ = await asyncio.wait(
                ways,
                return_when=asyncio.FIRST_COMPLETED,
                timeout=self._limits.stream_seconds,
            )
            if not done:
                raise Problem("PC5002", f"it was open {self._limits.stream_seconds:g} s")
            for task in done:
                task.result()
            opened.ended.by = ways[next(iter(done))]
        except (RemoteProtocolError, LocalProtocolError):
            raise Problem("PC5061", "the bytes are not of a WebSocket") from None
        except ConnectionError:
            opened.ended.by = "broken"
        except Problem:
            await _closed(opened)
            raise
        finally:
            for task in ways:
                task.cancel()
            writer.transport.abort()
            await settled(ways)
        return opened.ended

    async def _out(self, opened: _Open, early: bytes) -> None:
        """What the agent says: each message is a call."""

        async def judged(payload: dict[str, Any]) -> dict[str, Any]:
            call = _call(opened.outcome.call, payload)
            outcome = await self._pipeline.request(call, opened.context)
            if isinstance(outcome.verdict, Deny):
                raise recorded(outcome.verdict)
            done = Result(payload=None, size=0, sent=len(call.body))
            said = await self._pipeline.result(outcome, opened.context, done)
            if isinstance(said, Deny):
                raise recorded(said)
            found: dict[str, Any] = outcome.call.payload
            return found

        async def send(data: bytes) -> None:
            opened.ended.sent += len(data)
            opened.writer.write(data)
            await opened.writer.drain()

        way = _Way(
            near=opened.client,
            far=opened.host,
            read=opened.stream.read,
            judged=judged,
            send=send,
            reply=opened.stream.write,
        )
        await self._carry(way, early, opened)

    async def _back(self, opened: _Open, reader: StreamReader, begun: bytes) -> None:
        """What the host says."""

        async def judged(payload: dict[str, Any]) -> dict[str, Any]:
            if opened.given is not None and opened.given.found_in(bodies.bytes_of(payload)):
                raise Problem("PC5005", "a message held the credential that was sent")
            result = Result(payload=payload, size=0)
            said = await self._pipeline.notice(opened.outcome.call, opened.context, result)
            if isinstance(said, Deny):
                raise Problem(said.code, said.reason)
            opened.ended.findings += said.findings
            found: dict[str, Any] = said.payload
            return found

        async def send(data: bytes) -> None:
            opened.ended.received += len(data)
            await opened.stream.write(data)

        async def read() -> bytes:
            return await reader.read(PIECE)

        async def reply(data: bytes) -> None:
            opened.writer.write(data)
            await opened.writer.drain()

        way = _Way(
            near=opened.host,
            far=opened.client,
            read=read,
            judged=judged,
            send=send,
            reply=reply,
        )
        await self._carry(way, begun, opened)

    def _ask(self, opened: _Open) -> None:
        denied = self._pipeline.chunk(opened.outcome.call, opened.context)
        if denied is not None:
            raise Problem(denied.code, denied.reason)

    async def _carry(self, way: _Way, first: bytes, opened: _Open) -> None:
        """Messages that come from near go on to far, as they were judged; pings are answered here.

        Nothing else goes on: neither what a ping holds nor the reason of a close.
        """
        pieces: list[Any] = []
        size = 0
        pace = Pace()
        data = first or await way.read()
        while True:
            way.near.receive_data(data or None)
            for event in way.near.events():
                await pace.step()
                self._ask(opened)
                if isinstance(event, Message):
                    pieces += [event.data] if event.data else []  # of nothing there is no end
                    size += len(event.data)
                    if size > self._limits.held_bytes:
                        raise Problem("PC5061", "a message is larger than it may be")
                    if event.message_finished:
                        await way.send(way.far.send(await _message(event, pieces, way.judged)))
                        opened.ended.messages += 1
                        pieces, size = [], 0
                elif isinstance(event, Ping):
                    await way.reply(way.near.send(event.response()))
                elif isinstance(event, CloseConnection):
                    code = event.code if event.code in _CLOSES else _NORMAL
                    await way.send(way.far.send(CloseConnection(code=code)))
                    return
            if not data:
                return
            data = await way.read()


async def _message(event: Message[Any], pieces: Sequence[Any], judged: _Judged) -> Event:
    if isinstance(event, TextMessage):
        payload = bodies.told("".join(pieces).encode("utf-8", "surrogatepass"), "text/plain")
        said = bodies.bytes_of(await judged(payload)).decode("utf-8", "replace")
        return TextMessage(data=said)
    raw = b"".join(map(bytes, pieces))
    payload = bodies.told(raw, "application/octet-stream")
    return BytesMessage(data=bodies.bytes_of(await judged(payload)))


async def _closed(opened: _Open) -> None:
    """Say to the client that it is over, if it still listens."""
    try:
        data = opened.client.send(CloseConnection(code=_POLICY, reason="refused by the gate"))
        await opened.stream.write(data)
    except (LocalProtocolError, OSError):
        return


def _call(opening: Call, message: dict[str, Any]) -> Call:
    """A message of the agent's on a WebSocket that was opened by this call."""
    told = {name: opening.payload[name] for name in ("way", "method", "scheme", "host", "port")}
    payload = {**told, "path": opening.payload["path"], **message}
    return msgspec.structs.replace(opening, id=new_id(), payload=payload, body=encode(payload))

"""Requests that the gate reads on their way out: each is a call of its own.

What is sent is what was decided on, in the form in which it was; the credential that policy wants
in it comes after the last check, and an answer that repeats it is withheld. What comes back is
judged whole, and an event stream event by event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from portcullis.config import Limits
from portcullis.core.call import Action, Call, Context, Result, Route
from portcullis.core.egress import Destination, Way
from portcullis.core.egress_ports import Credentials, Given
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow, Deny, Finding
from portcullis.gateway.egress_client import Asked, HttpClient
from portcullis.gateway.egress_host import Answered, Host
from portcullis.gateway.egress_socket import Sockets
from portcullis.gateway.live import cuttable
from portcullis.gateway.outcome import Outcome, Recorded, recorded
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import new_id
from portcullis.gateway.tracing import Tracer, calling, going
from portcullis.wire import egress as wire
from portcullis.wire import egress_body as bodies
from portcullis.wire.egress import Target
from portcullis.wire.json import encode

_ANSWERED: Final = "answered"
_EVENTS: Final = "text/event-stream"
_ENDS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")
_LENGTHS: Final = ("content-length", "content-encoding")
_ELSEWHERE: Final = ("alt-svc", *_LENGTHS)
"""Headers of an answer that would lead the client past the gate, or say its length otherwise."""
_ERROR: Final = 400
_SWITCHED: Final = 101
_NO_BODY: Final = frozenset({204, 304})
_COMPRESSING: Final = ("accept-encoding", "sec-websocket-extensions")


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was let through, and who asked."""

    client: HttpClient
    host: Host
    context: Context
    outcome: Outcome
    given: Given | None
    asked: str
    """Its method, as it goes on the wire."""


class Exchanges:
    """Serves requests of clients whose connection was let through, or that ask for ``http://``."""

    def __init__(
        self,
        pipeline: Pipeline,
        credentials: Credentials,
        limits: Limits,
        tracer: Tracer | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._tracer = tracer
        self._credentials = credentials
        self._limits = limits
        self._sockets = Sockets(pipeline, limits)

    async def serve(
        self,
        client: HttpClient,
        asked: Asked,
        target: Target,
        host: Host,
        where: Destination,
        *,
        scheme: str,
        context: Context,
    ) -> None:
        """Serve one. Raises Problem for what is not answered yet; Recorded when the log has it."""
        default = wire.HTTPS if scheme == "https" else wire.HTTP
        wire.framed(asked.headers)
        wire.same_host(asked.headers, where, default)
        wire.meant(asked.headers)
        sent = wire.method(asked.method)
        opens = wire.first(asked.headers, "upgrade").lower() == "websocket" and sent == "GET"
        raw = await client.body(self._limits.body_bytes)
        coding = wire.first(asked.headers, "content-encoding")
        body = bodies.plain(raw, coding, self._limits.body_bytes)
        call = _call(asked, target, where, scheme, body, wire.WEBSOCKET if opens else sent)
        parent = wire.first(asked.headers, "traceparent")
        with calling(self._tracer, context, Route.EGRESS.value, parent) as ours:
            await self._call((client, host, where), call, ours, sent, opens=opens)

    async def _call(
        self,
        ways: tuple[HttpClient, Host, Destination],
        call: Call,
        context: Context,
        sent: str,
        *,
        opens: bool,
    ) -> None:
        """Serve one that was read."""
        client, host, where = ways
        outcome = await self._pipeline.request(call, context)
        if isinstance(outcome.verdict, Deny):
            raise recorded(outcome.verdict)
        try:
            with cuttable():
                given = await self._given(outcome, where, context)
                exchange = Exchange(
                    client=client,
                    host=host,
                    context=context,
                    outcome=outcome,
                    given=given,
                    asked=sent,
                )
                with going(context.trace, "forward"):
                    await self._forward(exchange, opens=opens)
        except Recorded:
            raise
        except Problem as problem:
            self._pipeline.failed(outcome, context, problem)
            raise Recorded(problem.code, problem.detail) from None
        except BaseException:
            gone = Problem("PC5008", "the call ended before its answer was complete")
            self._pipeline.failed(outcome, context, gone)
            raise

    async def _given(self, outcome: Outcome, where: Destination, context: Context) -> Given | None:
        terms = outcome.verdict.egress if isinstance(outcome.verdict, Allow) else None
        if terms is None or not terms.inject:
            return None
        return await self._credentials.give(terms.inject, where.host, context)

    async def _forward(self, exchange: Exchange, *, opens: bool) -> None:
        call, given = exchange.outcome.call, exchange.given
        payload: dict[str, Any] = call.payload
        body = bodies.bytes_of(payload)
        headers = [list(pair) for pair in payload["headers"]]
        if given is not None:
            name, value = given.header
            headers = [pair for pair in headers if pair[0] != name] + [[name, value]]
        if opens:
            headers += [["connection", "upgrade"], ["upgrade", "websocket"]]
        if body or exchange.asked in {"POST", "PUT", "PATCH"}:
            headers.append(["content-length", str(len(body))])
        headers.append(["accept-encoding", "identity"])
        target = Target(payload["path"], payload["query"])
        answered = await exchange.host.ask(exchange.asked, str(target), headers, body)
        if answered.status == _SWITCHED:
            if not opens:
                raise Problem("PC5003", "the host changes to a protocol that nobody asked for")
            await self._switched(exchange, answered)
            return
        kind = wire.first(answered.headers, "content-type").partition(";")[0].strip().lower()
        if kind == _EVENTS and answered.status < _ERROR and exchange.asked != "HEAD":
            await self._events(exchange, answered)
        else:
            await self._whole(exchange, answered)

    async def _whole(self, exchange: Exchange, answered: Answered) -> None:
        """Judge an answer as a whole, then pass it on."""
        most = self._limits.result_bytes
        raw = await exchange.host.body(most)
        payload = self._told(exchange, answered, raw)
        result = Result(
            payload=payload,
            size=len(raw),
            is_error=answered.status >= _ERROR,
            status=answered.status,
            finish=_ANSWERED,
            sent=len(exchange.outcome.call.body),
        )
        judged = await self._pipeline.result(exchange.outcome, exchange.context, result)
        if isinstance(judged, Deny):
            raise recorded(judged)
        headers = [(name, value) for name, value in judged.payload["headers"]]
        body = bodies.bytes_of(judged.payload)
        if answered.status in _NO_BODY or exchange.asked == "HEAD":
            await exchange.client.begin(answered.status, headers)
            await exchange.client.end()
            return
        await exchange.client.answer(answered.status, headers, body)

    def _told(self, exchange: Exchange, answered: Answered, raw: bytes) -> dict[str, Any]:
        """An answer as the checks see it. Raises Problem PC5005, PC5058."""
        coding = wire.first(answered.headers, "content-encoding")
        try:
            body = bodies.plain(raw, coding, self._limits.result_bytes)
        except Problem as problem:
            if problem.code != "PC1007":
                raise
            raise Problem("PC5004", "the answer is larger than it may be") from None
        headers = wire.passing(answered.headers, _ELSEWHERE)
        _kept_in(exchange.given, headers, body)
        kind = wire.first(answered.headers, "content-type")
        return {"status": answered.status, "headers": headers, **bodies.told(body, kind)}

    async def _events(self, exchange: Exchange, answered: Answered) -> None:
        """Pass an event stream on, each event as it was judged."""
        if wire.first(answered.headers, "content-encoding").lower() not in {"", "identity"}:
            raise Problem("PC5058", "a stream of events whose content coding is not plain")
        told = await self._notice(exchange, self._told(exchange, answered, b""))
        client, findings = exchange.client, [*told[1]]
        await client.begin(answered.status, [(n, v) for n, v in told[0]["headers"]])
        held, size, chunks = b"", 0, 0
        async for piece in exchange.host.pieces():
            held += piece
            size += len(piece)
            if len(held) > self._limits.held_bytes or size > self._limits.result_bytes:
                raise Problem("PC5004", "the stream holds more than it may")
            ready, held = _events(held)
            if ready:
                chunks += 1
                findings += await self._event(exchange, ready)
        if held:
            findings += await self._event(exchange, held)
        result = Result(
            payload=None,
            size=size,
            status=answered.status,
            finish=_ANSWERED,
            chunks=chunks,
            sent=len(exchange.outcome.call.body),
        )
        judged = await self._pipeline.result(
            exchange.outcome, exchange.context, result, findings=findings
        )
        if isinstance(judged, Deny):
            raise recorded(judged)
        await client.end()

    async def _event(self, exchange: Exchange, piece: bytes) -> Sequence[Finding]:
        denied = self._pipeline.chunk(exchange.outcome.call, exchange.context)
        if denied is not None:
            raise Problem(denied.code, denied.reason)
        _kept_in(exchange.given, [], piece)
        payload, findings = await self._notice(exchange, bodies.told(piece, _EVENTS))
        await exchange.client.piece(bodies.bytes_of(payload))
        return findings

    async def _notice(
        self, exchange: Exchange, payload: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[Finding]]:
        result = Result(payload=payload, size=0)
        judged = await self._pipeline.notice(exchange.outcome.call, exchange.context, result)
        if isinstance(judged, Deny):
            raise Problem(judged.code, judged.reason)
        return judged.payload, judged.findings

    async def _switched(self, exchange: Exchange, answered: Answered) -> None:
        """A WebSocket: its opening is concluded when it ends."""
        told, findings = await self._notice(exchange, self._told(exchange, answered, b""))
        headers = [(name, value) for name, value in told["headers"]]
        if wire.first(headers, "sec-websocket-extensions"):
            raise Problem("PC5061", "the host uses an extension that nobody asked for")
        headers += [("connection", "upgrade"), ("upgrade", "websocket")]
        early = await exchange.client.switched(headers)
        reader, writer, begun = exchange.host.switched()
        try:
            ended = await self._sockets.serve(
                exchange.client.stream,
                early,
                reader,
                writer,
                begun,
                outcome=exchange.outcome,
                context=exchange.context,
                given=exchange.given,
            )
        except Recorded as problem:  # a message's own refusal: the opening is still owed an end
            raise Problem(problem.code, problem.detail) from None
        result = Result(
            payload=None,
            size=ended.received,
            finish=ended.by,
            chunks=ended.messages,
            sent=ended.sent,
            status=_SWITCHED,
        )
        judged = await self._pipeline.result(
            exchange.outcome, exchange.context, result, findings=(*findings, *ended.findings)
        )
        if isinstance(judged, Deny):
            raise recorded(judged)


def _kept_in(given: Given | None, headers: Sequence[Sequence[str]], body: bytes) -> None:
    """Problem PC5005 when the credential that was sent would come back."""
    if given is None:
        return
    head = "\n".join(value for _, value in headers).encode("utf-8", "replace")
    if given.found_in(head) or given.found_in(body):
        raise Problem("PC5005", "the answer held the credential that was sent; it was withheld")


def _events(data: bytes) -> tuple[bytes, bytes]:
    """What of a stream is whole events, and what begins another."""
    end = max(data.rfind(mark) + len(mark) if mark in data else 0 for mark in _ENDS)
    return data[:end], data[end:]


def _call(
    asked: Asked, target: Target, where: Destination, scheme: str, body: bytes, method: str
) -> Call:
    kind = wire.first(asked.headers, "content-type")
    payload: dict[str, Any] = {
        "way": Way.REQUEST.value,
        "method": method,
        "scheme": scheme,
        "host": where.host,
        "port": where.port,
        "path": target.path,
        "query": target.query,
        "headers": wire.passing(asked.headers, (*_LENGTHS, *_COMPRESSING)),
        **bodies.told(body, kind),
    }
    return Call(
        id=new_id(),
        route=Route.EGRESS,
        action=Action.EGRESS,
        server="",
        name=str(where),
        method=method,
        arguments=wire.asked(Way.REQUEST, where, scheme=scheme, method=method, path=target.plain),
        payload=payload,
        body=encode(payload),
    )

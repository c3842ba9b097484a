"""CONNECT: from a destination that was named to a tunnel, or to requests that are read."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from portcullis.config import Egress, Limits
from portcullis.core.call import Action, Call, Context, Result, Route
from portcullis.core.egress import Destination, EgressTerms, Way
from portcullis.core.egress_ports import Authority, Dialer
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow, Deny
from portcullis.gateway.egress_client import Asked, HttpClient
from portcullis.gateway.egress_host import Host
from portcullis.gateway.egress_http import Exchanges
from portcullis.gateway.egress_reached import Reached
from portcullis.gateway.egress_stream import InnerTls, PlainStream, Stream
from portcullis.gateway.egress_tunnel import Tunnel
from portcullis.gateway.live import LEFT, Connection, Live, cuttable
from portcullis.gateway.outcome import Outcome, Recorded, recorded
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import new_id
from portcullis.gateway.tracing import Tracer, calling, going
from portcullis.wire import egress as wire
from portcullis.wire.clienthello import ALERT, ClientHello
from portcullis.wire.json import encode

_REFUSED: Final = frozenset({"PC5053", "PC5054"})
"""What a client that has begun TLS is told by an alert."""
_HANDSHAKE: Final = 0x16


class _Opened:
    """The tunnel, once there is one: what went through it is on record however it ends."""

    tunnel: Tunnel | None = None

    def result(self, by: str) -> Result | None:
        return None if self.tunnel is None else _carried(self.tunnel, by)


def _carried(tunnel: Tunnel, by: str) -> Result:
    """What went through a tunnel, and who ended it."""
    return Result(
        payload=None,
        size=tunnel.received,
        counted=tunnel.counted,
        sent=tunnel.sent,
        chunks=tunnel.pieces,
        finish=by,
    )


class Connects:
    """Serves CONNECT. ``dialer`` is the way out."""

    def __init__(
        self,
        pipeline: Pipeline,
        dialer: Dialer,
        authority: Authority,
        exchanges: Exchanges,
        live: Live,
        *,
        settings: Egress,
        limits: Limits,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self.dialer = dialer
        self._pipeline = pipeline
        self._authority = authority
        self._exchanges = exchanges
        self._live = live
        self._settings = settings
        self._limits = limits
        self._reached = Reached(time.monotonic)

    async def serve(
        self,
        stream: PlainStream,
        client: HttpClient,
        asked: Asked,
        context: Context,
        connection: Connection,
    ) -> None:
        """Serve one to its end. Raises Problem for what is not answered; Recorded when logged.

        Its Host header says nothing: some clients name the proxy in it, and it does not go on.
        """
        where = wire.authority(asked.target)
        parent = wire.first(asked.headers, "traceparent")
        with calling(self._tracer, context, Route.EGRESS.value, parent) as ours:
            await self._tunnel((stream, client), where, ours, connection)

    async def _tunnel(
        self,
        ends: tuple[PlainStream, HttpClient],
        where: Destination,
        context: Context,
        connection: Connection,
    ) -> None:
        """Serve one that was read."""
        stream, client = ends
        agent = context.principal.id

        def meanwhile(outcome: Outcome) -> None:
            if not _terms(outcome).terminate and self._reached.lately(agent, where):
                client.establish(stream.put)

        outcome = await self._pipeline.request(_call(where), context, meanwhile=meanwhile)
        if isinstance(outcome.verdict, Deny):
            if outcome.verdict.code != LEFT:
                self._reached.forget(agent, where)
            raise recorded(outcome.verdict)
        opened = _Opened()
        ways = (stream, client, opened)
        try:
            with cuttable(), going(context.trace, "tunnel"):
                result = await self._open(ways, where, outcome, context, connection)
        except Problem as problem:
            if problem.code == LEFT and client.started:
                result = Result(payload=None, size=0, finish="client")
            else:
                self._pipeline.failed(outcome, context, problem, opened.result(""))
                if client.started and problem.code in _REFUSED:
                    with contextlib.suppress(OSError):
                        await stream.write(ALERT)
                raise Recorded(problem.code, problem.detail) from None
        except BaseException:
            gone = Problem("PC5008", "the tunnel was ended")
            self._pipeline.failed(outcome, context, gone, opened.result(""))
            raise
        judged = await self._pipeline.result(outcome, context, result)
        if isinstance(judged, Deny):
            raise recorded(judged)

    async def _open(
        self,
        ways: tuple[PlainStream, HttpClient, _Opened],
        where: Destination,
        outcome: Outcome,
        context: Context,
        connection: Connection,
    ) -> Result:
        stream, client, opened = ways
        terms, agent = _terms(outcome), context.principal.id
        try:
            addresses = await self.dialer.addresses(where.host, where.port, agent)
            way = None
            if not terms.terminate:
                way = await self.dialer.dial(where.host, where.port, addresses, tls=False)
        except Problem:
            self._reached.forget(agent, where)
            raise
        if way is None:
            stream.put_back(await client.established())
            begun = await self._begun(stream, where, plain=terms.plain)
            return await self._read(
                stream, begun, self._host(where, begun, agent), context, connection
            )
        reader, writer = way
        self._reached.note(agent, where)
        try:
            stream.put_back(await client.established())
            begun = await self._begun(stream, where, plain=terms.plain)
            if begun[0] != _HANDSHAKE:  # to a plain host: in the clear, so it is read
                host = self._host(where, begun, agent)
                host.take(reader, writer)
                return await self._read(stream, begun, host, context, connection)
            call = outcome.call

            async def count(size: int) -> None:
                came = Result(payload=None, size=size)
                said = await self._pipeline.notice(call, context, came)
                if isinstance(said, Deny):
                    raise Problem(said.code, said.reason)

            tunnel = opened.tunnel = Tunnel(
                stream,
                reader,
                writer,
                allowed=lambda: self._pipeline.chunk(call, context),
                count=count,
                seconds=min(self._settings.tunnel_seconds, self._live.lasts(connection)),
                idle=self._settings.idle_seconds,
            )
            stream.put_back(begun)
            try:
                by = await tunnel.run()
            except asyncio.CancelledError as error:
                if not (error.args and getattr(error.args[0], "code", "") == LEFT):
                    raise
                _uncancel()
                by = "client"
            return _carried(tunnel, by)
        finally:
            writer.transport.abort()

    def _host(self, where: Destination, begun: bytes, agent: str) -> Host:
        """Who is asked what the gate has read."""
        tls = begun[0] == _HANDSHAKE
        return Host(self.dialer, where, agent, tls=tls, idle=self._limits.idle_seconds)

    async def _begun(self, stream: Stream, where: Destination, *, plain: bool) -> bytes:
        """The beginning of what the client sends: a ClientHello for the host, or what may be plain.

        Raises Problem PC5053, PC5054, PC5055, and PC1012 when it does not come in time.
        """
        hello = ClientHello()
        try:
            async with asyncio.timeout(self._limits.receive_seconds):
                while True:
                    data = await stream.read()
                    if not data:
                        raise Problem("PC5055", "the client closed without a handshake")
                    if plain and not hello.data and data[0] != _HANDSHAKE:
                        return data
                    found = hello.feed(data)
                    if found is not None:
                        break
        except TimeoutError:
            raise Problem("PC1012", "no TLS handshake in time") from None
        if found.hidden:
            raise Problem("PC5054", "the ClientHello has an encrypted one in it")
        if found.name != where.host:
            raise Problem("PC5053", "the server name is not the host of the CONNECT")
        return hello.data

    async def _read(
        self,
        stream: PlainStream,
        begun: bytes,
        host: Host,
        context: Context,
        connection: Connection,
    ) -> Result:
        """End TLS here, if it is that, and serve the requests, each as a call of its own."""
        stream.put_back(begun)
        inner: Stream = stream
        where, scheme = host.destination, "https" if host.tls else "http"
        if host.tls:
            made = await asyncio.to_thread(
                self._authority.context, context.principal.id, where.host
            )
            tls = InnerTls(stream, made)
            try:
                async with asyncio.timeout(self._limits.receive_seconds):
                    await tls.handshake()
            except TimeoutError:
                raise Problem("PC1012", "no TLS handshake in time") from None
            inner = tls
        client = HttpClient(inner, self._limits.receive_seconds)
        served = 0
        try:
            while await self._request(client, where, host, scheme, context, connection):
                served += 1
            await inner.end()
        finally:
            host.close()
        return Result(payload=None, size=0, chunks=served, finish="client")

    async def _request(
        self,
        client: HttpClient,
        where: Destination,
        host: Host,
        scheme: str,
        context: Context,
        connection: Connection,
    ) -> bool:
        """Serve the next request within a tunnel; whether another may follow."""
        asked: Asked | None = None
        try:
            asked = await client.asked(self._settings.idle_seconds)
            if asked is None:
                return False
            self._live.check(connection)
            target = wire.origin(asked.target)
            await self._exchanges.serve(
                client, asked, target, host, where, scheme=scheme, context=context
            )
        except Problem as problem:
            if not isinstance(problem, Recorded):
                principal = context.principal
                problem = self._pipeline.refused(
                    problem,
                    route=Route.EGRESS.value,
                    principal_kind=principal.kind,
                    principal=principal.id,
                    credential=principal.credential,
                    session=principal.session or "",
                    source=context.source,
                    method=asked.method if asked is not None else "",
                    trace_id=context.trace_id,
                )
            if client.started:
                return False
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._limits.receive_seconds):
                    await client.refuse(problem)
            return False
        return client.again()


def _terms(outcome: Outcome) -> EgressTerms:
    terms = outcome.verdict.egress if isinstance(outcome.verdict, Allow) else None
    return terms or EgressTerms()


def _uncancel() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _call(where: Destination) -> Call:
    payload = {"way": Way.CONNECT.value, "host": where.host, "port": where.port}
    return Call(
        id=new_id(),
        route=Route.EGRESS,
        action=Action.EGRESS,
        server="",
        name=str(where),
        method="CONNECT",
        arguments=wire.asked(Way.CONNECT, where, method="CONNECT"),
        payload=payload,
        body=encode(payload),
    )

"""Envoy's ext_authz: a sidecar asks for every request of an agent, and holds or forwards it itself.

Connections are admitted like those of the gate's other listeners (SVID, recorded refusals, within
reach of a cut), then their bytes go to gRPC on a private socket, where each connection has a name
by which its caller is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import structlog
from grpc.aio import ServicerContext

from portcullis.core.call import Route
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.spiffe import SCHEME, SpiffeId, parse
from portcullis.core.verdict import Deny
from portcullis.gateway.decisions import Asker, Decisions
from portcullis.gateway.live import Connection, Live
from portcullis.gateway.outcome import recorded
from portcullis.gateway.records import new_id
from portcullis.identity.splicing import close, copy
from portcullis.wire import ext_authz as codec
from portcullis.wire.envoy import SERVICE
from portcullis.wire.envoy import authorization_pb2 as wire

log = structlog.get_logger(__name__)

StandsFor: TypeAlias = Callable[[SpiffeId], tuple[PrincipalKind, str]]
"""Which principal a SPIFFE ID is. Raises Problem PC2007."""

_MAX_REQUEST: Final = 256 * 1024
_STREAMS: Final = 256


class Authorizer:
    """Answers ``Check``. The agent is the source's SPIFFE ID, or stands in ``header``."""

    def __init__(self, decisions: Decisions, stands_for: StandsFor, header: str | None) -> None:
        self._decisions = decisions
        self._stands_for = stands_for
        self._header = header

    async def check(
        self, request: wire.CheckRequest, peer: Principal, source: str
    ) -> wire.CheckResponse:
        """Decide on one request; whatever goes wrong is a denial, and on record."""
        attributes = request.attributes
        http, agent = attributes.request.http, ""
        asker = Asker(principal=peer, source=source, trace_id="")
        try:
            headers = codec.headers_of(http)
            asker = Asker(
                principal=peer,
                source=source,
                trace_id=codec.trace_in(headers),
                traceparent=headers.get("traceparent", ""),
            )
            agent = self._agent(attributes.source.principal, headers)
            call = codec.call_of(new_id(), http, headers)
        except Problem as problem:
            said = self._decisions.refused(problem, Route.EXT_AUTHZ, agent, asker)
        else:
            said = await self._decisions.decide(call, agent, "", asker)
        if isinstance(said.verdict, Deny):
            return codec.denied(recorded(said.verdict))
        return codec.allowed(self._header)

    def _agent(self, principal: str, headers: dict[str, str]) -> str:
        """Whose request it is. Raises Problem PC2001, PC2004, PC2007 or PC2024."""
        shown = principal if self._header is None else headers.get(self._header, "")
        if not shown:
            raise Problem("PC2001", "the request does not say which agent's it is")
        if not shown.startswith(SCHEME):
            if self._header is None:
                raise Problem("PC2024", "the source's principal is no SPIFFE ID")
            return shown
        kind, name = self._stands_for(parse(shown))
        if kind is not PrincipalKind.AGENT:
            raise Problem("PC2004", "the source is no agent")
        return name


class Door:
    """Hands admitted connections on to gRPC, and knows whose each is.

    ``peers`` are the SPIFFE IDs that may ask; ``refused`` records who may not.
    """

    def __init__(
        self,
        authorizer: Authorizer,
        live: Live,
        peers: Collection[str],
        refused: Callable[[Problem, str, str], object],
    ) -> None:
        self._authorizer = authorizer
        self._live = live
        self._peers = frozenset(peers)
        self._refused = refused
        self._callers: dict[str, tuple[Connection, str]] = {}
        self._private = Path()
        self._answering = 0
        self.draining = False

    @property
    def running(self) -> int:
        """How many answers are being made."""
        return self._answering

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Run gRPC on its private socket until the block ends."""
        with tempfile.TemporaryDirectory(prefix="portcullis-") as folder:
            self._private = Path(folder, "grpc")
            server = grpc.aio.server(
                options=(
                    ("grpc.max_receive_message_length", _MAX_REQUEST),
                    ("grpc.max_concurrent_streams", _STREAMS),
                )
            )
            server.add_generic_rpc_handlers((self._handler(),))
            server.add_insecure_port(f"unix:{self._private}")
            await server.start()
            try:
                yield
            finally:
                await server.stop(grace=None)

    async def connected(
        self, reader: StreamReader, writer: StreamWriter, connection: Connection
    ) -> None:
        """Serve one connection until it ends."""
        peername = writer.get_extra_info("peername")
        source = f"{peername[0]}:{peername[1]}" if peername else ""
        try:
            if self._admitted(connection, source):
                await self._served(reader, writer, connection, source)
        except OSError as error:
            log.info("ext_authz_client_left", reason=error.strerror)
        finally:
            await close(writer)

    def _admitted(self, connection: Connection, source: str) -> bool:
        peer, holder = connection.peer, connection.principal
        name = "" if peer is None else str(peer.id)
        agent = holder is not None and holder.kind is PrincipalKind.AGENT
        if name in self._peers and not agent:
            return True
        self._refused(Problem("PC3034", "this workload is none of decisions.peers"), source, name)
        return False

    async def _served(
        self, reader: StreamReader, writer: StreamWriter, connection: Connection, source: str
    ) -> None:
        name = secrets.token_hex(16)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as behind:
            behind.settimeout(0)
            place = self._private.with_name(name)
            behind.bind(str(place))
            try:
                await asyncio.get_running_loop().sock_connect(behind, str(self._private))
            finally:
                place.unlink()
            inner_reader, inner_writer = await asyncio.open_unix_connection(sock=behind)
            self._callers[name] = (connection, source)
            ways = (copy(reader, inner_writer), copy(inner_reader, writer))
            copying = {asyncio.ensure_future(way) for way in ways}
            try:
                await asyncio.wait(copying, return_when=asyncio.FIRST_COMPLETED)
            finally:
                del self._callers[name]
                for task in copying:
                    task.cancel()
                await close(inner_writer)

    def _handler(self) -> grpc.GenericRpcHandler:
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            self._check,
            wire.CheckRequest.FromString,
            lambda message: message.SerializeToString(),
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Check": handler})

    async def _check(
        self,
        request: wire.CheckRequest,
        context: ServicerContext[wire.CheckRequest, wire.CheckResponse],
    ) -> wire.CheckResponse:
        self._answering += 1
        try:
            connection, source = self._caller(context.peer())
            return await self._authorizer.check(request, _principal(connection), source)
        except Problem as problem:
            return codec.denied(problem)
        except Exception:
            log.exception("ext_authz_failed")
            return codec.denied(Problem("PC9002", "the question could not be handled"))
        finally:
            self._answering -= 1

    def _caller(self, peer: str) -> tuple[Connection, str]:
        """Who is at the other end. Raises Problem PC2022 or, for nobody known, PC2020."""
        found = self._callers.get(peer.rpartition("/")[2])
        if found is None:
            raise Problem("PC2020", "the connection did not come through the listener")
        self._live.check(found[0])
        return found


def _principal(connection: Connection) -> Principal:
    """Who asks, by the certificate of its connection."""
    peer = connection.peer
    if peer is None:
        raise Problem("PC2020", "the client showed no certificate")
    return Principal(
        kind=PrincipalKind.APPLICATION,
        id=str(peer.id),
        credential=f"svid:{peer.serial}",
        expires_at=peer.expires_at,
        issued_at=peer.issued_at,
    )

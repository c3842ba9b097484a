"""The way out for agents: a proxy that knows who asks, and lets through what policy names.

    CONNECT host:port            a tunnel, or with TLS that ends here, requests that are read
    GET http://host/path ...     a request to a plain server, which is read
    POST /dns-query              a question of DNS (RFC 8484)
    GET /authority.pem           the root that vouches for hosts whose TLS ends here
    POST /session                the token under which the rest of this connection acts

The order is fixed: no address in any notation; policy by agent and role, before anything is asked
of DNS; public addresses only; the connection to exactly the address that was judged; a ClientHello
that names the host and hides no other. Each connection, question and request that is read is a
call on the one line.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterator
from typing import Final

import structlog

from portcullis.config import Egress, Limits
from portcullis.core.call import Context, Route
from portcullis.core.credential import Presented
from portcullis.core.egress_ports import Authority
from portcullis.core.errors import Problem
from portcullis.core.trace import new_trace
from portcullis.gateway.access import Access
from portcullis.gateway.egress_client import Asked, HttpClient
from portcullis.gateway.egress_connect import Connects
from portcullis.gateway.egress_dns import Names
from portcullis.gateway.egress_host import Host
from portcullis.gateway.egress_http import Exchanges
from portcullis.gateway.egress_stream import PlainStream
from portcullis.gateway.live import LEFT, Connection, Live, ended
from portcullis.gateway.outcome import Recorded
from portcullis.gateway.pipeline import Pipeline
from portcullis.wire import egress as wire
from portcullis.wire.challenge import challenge
from portcullis.wire.dns import MAX_MESSAGE

log = structlog.get_logger(__name__)

_UNAUTHORIZED: Final = 401
_CONTAINED: Final = "PC4"
"""What the codes of containment begin with."""
_DNS_TYPE: Final = "application/dns-message"
_SESSION: Final = "/session"
_SHARE: Final = 4
"""One agent has so many parts of the connections."""
_NAMED: Final = frozenset({"CONNECT", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class EgressProxy:
    """Serves connections that were admitted. ``terminated`` says for which hosts TLS ends here."""

    def __init__(
        self,
        *,
        access: Access,
        live: Live,
        pipeline: Pipeline,
        connects: Connects,
        exchanges: Exchanges,
        names: Names,
        authority: Authority,
        terminated: Callable[[str], tuple[str, ...]],
        settings: Egress,
        limits: Limits,
    ) -> None:
        self._access = access
        self._live = live
        self._pipeline = pipeline
        self._connects = connects
        self._exchanges = exchanges
        self._names = names
        self._authority = authority
        self._terminated = terminated
        self._settings = settings
        self._limits = limits
        self._running: dict[str, int] = {}
        self.draining = False

    @property
    def running(self) -> int:
        """How many requests and tunnels there are."""
        return sum(self._running.values())

    async def connected(
        self, reader: StreamReader, writer: StreamWriter, connection: Connection
    ) -> None:
        """Serve one connection until it ends."""
        peername = writer.get_extra_info("peername")
        visit = Visit(reader, writer, connection, self._limits, peername)
        try:
            while await self._next(visit):
                pass
        except OSError as error:
            log.info("egress_client_left", reason=error.strerror)
        except asyncio.CancelledError as error:
            if ended(error) is None:
                raise
        except Exception:
            log.exception("egress_failed")
        finally:
            visit.close()

    async def _next(self, visit: Visit) -> bool:
        """Serve the next request; whether another may follow."""
        context: Context | None = None
        asked: Asked | None = None
        try:
            asked = await visit.client.asked(visit.patience)
            visit.patience = self._settings.idle_seconds
            if asked is None:
                return False
            self._live.check(visit.connection)
            context = await self._admitted(visit, asked)
            with self._share(context), self._live.running(context, visit.connection):
                return await self._serve(visit, asked, context) and not self.draining
        except Problem as problem:
            await self._refuse(visit, asked, context, problem)
        except asyncio.CancelledError as error:
            cut = ended(error)
            if cut is None:
                raise
            if cut.code != LEFT:
                await self._refuse(visit, asked, context, cut)
        except OSError:
            raise
        except Exception:
            log.exception("egress_request_failed")
            fault = Problem("PC9002", "the request could not be handled")
            await self._refuse(visit, asked, context, fault)
        return False

    async def _admitted(self, visit: Visit, asked: Asked) -> Context:
        name = "authorization" if asked.target == _SESSION else "proxy-authorization"
        sent = wire.first(asked.headers, name)
        token = visit.token
        if sent:
            scheme, _, token = sent.partition(" ")
            if scheme.lower() != "bearer" or not token:
                raise Problem("PC2002", f"{name} must be Bearer")
            if visit.token and token != visit.token:  # whoever is behind the launcher stays in it
                raise Problem("PC2005", "the connection acts under another token")
        shown = Presented(token=token, peer=visit.connection.peer, method=asked.method)
        context = await self._access.admit(shown, source=visit.source, trace_id=new_trace())
        if asked.target == _SESSION:
            visit.token = token
        return context

    @contextlib.contextmanager
    def _share(self, context: Context) -> Iterator[None]:
        """Keep to what may run at once, in all (Problem PC5006) and of one agent (PC5025)."""
        most, agent = self._settings.tunnels, context.principal.id
        running = self._running.get(agent, 0)
        if self.running >= most:
            raise Problem("PC5006", "too many connections at once")
        if running >= max(1, most // _SHARE):
            raise Problem("PC5025", "too many connections of one agent at once")
        self._running[agent] = running + 1
        try:
            yield
        finally:
            self._running[agent] -= 1
            if not self._running[agent]:
                del self._running[agent]

    async def _serve(self, visit: Visit, asked: Asked, context: Context) -> bool:
        client = visit.client
        if asked.method == "CONNECT":
            await self._connects.serve(visit.stream, client, asked, context, visit.connection)
            return False
        if asked.target.lower().startswith(("http:", "https:")):
            where, target = wire.absolute(asked.target)
            host = visit.host_of(
                str(where),
                lambda: Host(
                    *(self._connects.dialer, where, context.principal.id),
                    tls=False,
                    idle=self._limits.idle_seconds,
                ),
            )
            await self._exchanges.serve(
                client, asked, target, host, where, scheme="http", context=context
            )
        else:
            wire.framed(asked.headers)
            await self._own(visit, asked, context)
        return client.again()

    async def _own(self, visit: Visit, asked: Asked, context: Context) -> None:
        """What the listener itself answers."""
        client = visit.client
        body = await client.body(MAX_MESSAGE)
        match asked.method, asked.target:
            case "POST", "/dns-query":
                if wire.first(asked.headers, "content-type") != _DNS_TYPE:
                    raise Problem("PC1008", f"the body must be {_DNS_TYPE}")
                answer = await self._names.answer(body, context)
                await client.answer(200, (("content-type", _DNS_TYPE),), answer)
            case "GET", "/authority.pem":
                await self._root(client, context)
            case "POST", "/session":
                await client.answer(204)
            case _, "/dns-query" | "/session" | "/authority.pem":
                raise Problem("PC1009", "not with this method")
            case _:
                raise Problem("PC1010", "the gate has no such route")

    async def _root(self, client: HttpClient, context: Context) -> None:
        agent = context.principal.id
        hosts = self._terminated(agent)
        if not hosts:
            await client.answer(204)
            return
        pem = await asyncio.to_thread(self._authority.root, agent, hosts)
        kind = ("content-type", "application/x-pem-file")
        await client.answer(200, (kind, ("cache-control", "no-store")), pem.encode("ascii"))

    async def _refuse(
        self, visit: Visit, asked: Asked | None, context: Context | None, problem: Problem
    ) -> None:
        """Record a refusal and answer with it, or close when another answer has begun."""
        if not isinstance(problem, Recorded):
            who = context.principal if context else visit.connection.principal
            problem = self._pipeline.refused(
                problem,
                route=Route.EGRESS.value,
                principal_kind=who.kind if who else "",
                principal=who.id if who else "",
                credential=who.credential if who else problem.credential,
                session=(who.session or "") if who else "",
                source=visit.source,
                method=asked.method if asked is not None and asked.method in _NAMED else "",
                trace_id=context.trace_id if context else "",
            )
        if visit.client.started:
            if problem.code.startswith(_CONTAINED):
                visit.connection.abort()
            return
        extra: tuple[tuple[str, str], ...] = ()
        if problem.status == _UNAUTHORIZED:
            extra = (("proxy-authenticate", challenge(problem.code, "")),)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._limits.receive_seconds):
                await visit.client.refuse(problem, extra)


class Visit:
    """One connection of a client, and what is remembered of it.

    ``token`` is its session's; ``patience`` is how long it is waited for the next request.
    """

    def __init__(
        self,
        reader: StreamReader,
        writer: StreamWriter,
        connection: Connection,
        limits: Limits,
        peername: tuple[str, int] | None,
    ) -> None:
        self.stream = PlainStream(reader, writer, limits.idle_seconds)
        self.client = HttpClient(self.stream, limits.receive_seconds)
        self.connection = connection
        self.source = f"{peername[0]}:{peername[1]}" if peername else "unix"
        self.token = ""
        self.patience = limits.receive_seconds
        self._writer = writer
        self._host: tuple[str, Host] | None = None

    def host_of(self, name: str, made: Callable[[], Host]) -> Host:
        """The one host that is kept open for a client that asks it again."""
        if self._host is not None and self._host[0] != name:
            self._host[1].close()
            self._host = None
        if self._host is None:
            self._host = (name, made())
        return self._host[1]

    def close(self) -> None:
        """Let go of both ends; what waits for the client is sent first."""
        if self._host is not None:
            self._host[1].close()
        self._writer.close()

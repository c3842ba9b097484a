"""Requests for what another gateway keeps: passed on to it, and its answer back.

Any connection of a client's may reach any gateway. A guard call that was decided on elsewhere, a
legacy MCP session, a server process for which a conversation stays: its gateway is known by its id
(``gateway.owned``) or by a claim. The request is authenticated here, though no proof is used up,
and passed on to the other gateway (``gateway.relay_ways``), which authenticates it in full.
Containment holds at both: here it is asked before the request goes and for each piece of the
answer.
"""

from __future__ import annotations

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.relay_ports import Claims
from portcullis.core.verdict import Deny
from portcullis.gateway.http import Request, send_head
from portcullis.gateway.live import LEFT, ended, settled
from portcullis.gateway.owned import Owned
from portcullis.gateway.relay_ways import Ways
from portcullis.wire import relay as wire
from portcullis.wire.mcp import LEGACY_VERSIONS
from portcullis.wire.relay import Head, Kind

log = structlog.get_logger(__name__)

RELAYED: Final = "portcullis.relayed"
"""In the ASGI scope of a request that another gateway has passed on."""
_CALLS: Final = "v1/calls"
_RESULT: Final = re.compile(r"/([^/]{1,160})/result")
_ATTEMPTS: Final = 4
"""Gateways that are tried for a claim, each of which is gone when it is asked."""


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids that this gateway gives, and reads other gateways in."""

    calls: Owned
    sessions: Owned


@dataclass(frozen=True, slots=True)
class Kept:
    """What a request is for: by its id the gateway ``owner`` keeps it, or whoever has ``claim``."""

    owner: str = ""
    gone: str = ""
    claim: str = ""


class Relay:
    """What takes requests from the gateway ``name`` to the others, by ``ways``.

    ``claimed`` says of an MCP server and a caller under which key a modern conversation is kept
    in one place; None where it need not be. ``contained`` says why a caller is cut off. An owner
    that says nothing for ``seconds`` has failed.
    """

    def __init__(
        self,
        name: str,
        ways: Ways,
        key: bytes,
        *,
        ids: Ids,
        claims: Claims,
        claimed: Callable[[str, Context], str | None],
        stays: Callable[[str], bool],
        contained: Callable[[Context], Deny | None],
        clock: Clock,
        seconds: float,
    ) -> None:
        self._name = name
        self._ways = ways
        self._key = key
        self._ids = ids
        self._claims = claims
        self._claimed = claimed
        self._stays = stays
        self._contained = contained
        self._clock = clock
        self._seconds = seconds

    def concerns(self, request: Request, first: str, rest: str) -> bool:
        """Whether another gateway may keep what a request is for."""
        if request.scope.get(RELAYED):
            return False
        return self._by_id(request, first, rest) is not None or self._may_stay(request, first, rest)

    async def passed_on(self, request: Request, context: Context, first: str, rest: str) -> bool:
        """Pass a request on to the gateway that keeps what it is for; False when that is here.

        Raises Problem PC5020 or PC1035 when that gateway is gone, PC7051 when it breaks off,
        PC7050, and those of containment.
        """
        kept = self._by_id(request, first, rest)
        if kept is None and self._may_stay(request, first, rest):
            claim = self._claimed(rest, context)
            kept = None if claim is None else Kept(claim=claim)
        if kept is None:
            return False
        self._allow(context)
        owner = kept.owner or await self._claims.claim(kept.claim, self._name)
        for _ in range(_ATTEMPTS):
            if owner == self._name:
                return False
            try:
                reader, writer = await self._ways.to(owner)
            except (FileNotFoundError, ConnectionRefusedError):
                if kept.owner:
                    raise Problem(kept.gone, "the gateway that kept it is gone") from None
                owner = await self._claims.take(kept.claim, self._name, owner)
            except OSError:
                break
            else:
                await self._exchange(request, context, owner, reader, writer)
                return True
        raise Problem("PC7051", "the gateway that keeps it cannot be reached")

    def _by_id(self, request: Request, first: str, rest: str) -> Kept | None:
        owner, gone = None, "PC5020"
        if first == _CALLS:
            found = _RESULT.fullmatch(rest)
            owner = self._ids.calls.elsewhere(found[1]) if found else None
        elif first == "mcp":
            session = request.headers.get(b"mcp-session-id", b"").decode("latin-1")
            owner, gone = self._ids.sessions.elsewhere(session), "PC1035"
        return None if owner is None else Kept(owner=owner, gone=gone)

    def _may_stay(self, request: Request, first: str, rest: str) -> bool:
        """Whether it is of the modern era, for a server that keeps a process for each caller."""
        version = request.headers.get(b"mcp-protocol-version", b"").decode("latin-1")
        modern = first == "mcp" and version and version not in LEGACY_VERSIONS
        return bool(modern) and self._stays(rest)

    async def _exchange(
        self,
        request: Request,
        context: Context,
        owner: str,
        reader: StreamReader,
        writer: StreamWriter,
    ) -> None:
        """Send the request while its answer comes; a client that leaves ends both."""
        sending: asyncio.Task[None] | None = None
        try:
            writer.write(
                wire.frame(Kind.HEAD, wire.close_head(self._head(request, owner), self._key))
            )
            sending = asyncio.ensure_future(_send_body(request, writer))
            await self._answer(request, context, reader)
        except asyncio.CancelledError as error:
            problem = ended(error)
            if problem is None:
                raise
            if problem.code != LEFT:  # the owner sees a client leave, and records it
                raise problem from None
        except (OSError, EOFError, TimeoutError):
            gone = sending is not None and sending.done() and not sending.cancelled()
            if gone and request.connection is not None and request.connection.gone:
                return
            log.warning("relay_broken", gateway=owner)
            raise Problem("PC7051", "the gateway that keeps it broke off") from None
        finally:
            writer.transport.abort()
            if sending is not None:
                sending.cancel()
                await settled((sending,))

    async def _answer(self, request: Request, context: Context, reader: StreamReader) -> None:
        while True:
            async with asyncio.timeout(self._seconds):
                kind, content = await read_frame(reader)
            self._allow(context)
            if kind is Kind.START and not request.started:
                start = wire.open_start(content)
                await send_head(request.send, start.status, start.headers)
            elif kind in {Kind.BODY, Kind.END} and request.started:
                more = kind is Kind.BODY
                await request.send(
                    {"type": "http.response.body", "body": content, "more_body": more}
                )
                if not more:
                    return
            else:
                raise EOFError

    def _allow(self, context: Context) -> None:
        denied = self._contained(context)
        if denied is not None:
            raise Problem(denied.code, denied.reason)

    def _head(self, request: Request, owner: str) -> Head:
        scope = request.scope
        peer = scope.get("portcullis.peer")
        return Head(
            to=owner,
            by=self._name,
            at=self._clock.now(),
            method=request.method,
            path=request.path,
            raw_path=scope.get("raw_path") or request.path.encode(),
            query=scope.get("query_string", b""),
            scheme=scope.get("scheme", "http"),
            server=scope.get("server"),
            client=scope.get("client"),
            headers=tuple(map(tuple, scope["headers"])),
            tls="portcullis.peer" in scope,
            peer=peer,
        )


async def _send_body(request: Request, writer: StreamWriter) -> None:
    """The body as it arrives; afterwards watch for the client to leave, which ends the exchange."""
    whole = False
    try:
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                writer.transport.abort()
                return
            if whole:
                continue
            for piece in wire.body(message.get("body", b"")):
                writer.write(piece)
            whole = not message.get("more_body", False)
            if whole:
                writer.write(wire.frame(Kind.END))
            await writer.drain()
    except OSError:  # the answer says why
        return


async def read_frame(reader: StreamReader) -> tuple[Kind, bytes]:
    """The next frame. Raises EOFError or OSError at the end, Problem PC7051 for what is none."""
    kind, size = wire.prefix(await reader.readexactly(wire.PREFIX))
    return kind, await reader.readexactly(size)

"""Trust domains for tests: real authorities on disk, SVIDs of theirs, TLS contexts and servers.

here, there = Domain("here.test", tmp_path / "a"), Domain("there.test", tmp_path / "b")
trust = Trust(here.authority.bundle)
async with tls_server(there.server("/upstream/bank")) as server: ...
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from portcullis.config.identity import Identity
from portcullis.core.event import Event
from portcullis.core.spiffe import SpiffeId
from portcullis.gateway.records import new_id
from portcullis.identity.authority import open_authority
from portcullis.identity.bundle import encode
from portcullis.identity.own import OwnSvid
from portcullis.identity.records import IdentityRecords
from portcullis.wire.certificates import load_identity, verified_chain
from sealers import sealer_at


class WallClock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class MemoryRecorder:
    """Keeps events, and calls ``before`` with each durable one."""

    failure = ""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.before: Callable[[Event], None] = lambda event: None

    async def durable(self, event: Event) -> None:
        self.before(event)
        self.events.append(event)

    def enqueue(self, event: Event) -> None:
        self.events.append(event)

    def commitment(self, subject: str, value: bytes) -> str:
        raise NotImplementedError

    def seen(self, method: str) -> list[tuple[str, str]]:
        return [(one.verdict, one.code) for one in self.events if one.method == method]


def identity_records(recorder: MemoryRecorder) -> IdentityRecords:
    return IdentityRecords("gate-1", recorder, WallClock(), new_id)


class Domain:
    """A trust domain with its own authority."""

    def __init__(self, name: str, folder: Path, **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.name = name
        self.authority = open_authority(
            folder / "ca",
            trust_domain=name,
            settings=Identity(**settings),
            sealer=sealer_at(folder),
            clock=WallClock(),
            new_id=new_id,
        )

    def document(self) -> bytes:
        """Its bundle as others fetch it."""
        return encode(self.authority.bundle())

    def own(self, path: str = "/gateway/gate") -> OwnSvid:
        return OwnSvid(self.authority, SpiffeId(self.name, path), ("127.0.0.1",), WallClock())

    def identity(self, path: str) -> tuple[tuple[bytes, ...], bytes]:
        """A workload's chain (DER) and key (PEM)."""
        key = ec.generate_private_key(ec.SECP256R1())
        svid = self.authority.issue(SpiffeId(self.name, path), key.public_key())
        return svid.chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def server(self, path: str, *, asks: tuple[bytes, ...] = ()) -> ssl.SSLContext:
        """A server's context; with ``asks`` (authorities, DER) it demands client certificates."""
        return server_context(*self.identity(path), asks=asks)


def server_context(
    chain: tuple[bytes, ...], key: bytes, *, asks: tuple[bytes, ...] = ()
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_identity(context, chain, key)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=b"".join(asks))
    return context


class TlsServer:
    """Answers every request with what ``answer`` returns for its path."""

    def __init__(self) -> None:
        self.chains: list[tuple[bytes, ...]] = []
        """The verified chain of each connection's client."""
        self.requests: list[bytes] = []
        self.port = 0
        self.answer: Callable[[bytes], Awaitable[bytes]] = self.ok

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def ok(self, request: bytes) -> bytes:
        return http(b"ok")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.chains.append(verified_chain(writer.get_extra_info("ssl_object")))
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                request = head + await reader.readexactly(length)
                self.requests.append(request)
                writer.write(await self.answer(request))
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has gone, which is how every connection here ends
        finally:
            writer.close()
            with contextlib.suppress(OSError, RuntimeError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.asynccontextmanager
async def tls_server(context: ssl.SSLContext) -> AsyncIterator[TlsServer]:
    made = TlsServer()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()

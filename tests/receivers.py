"""Real peers for exporters: an HTTP server that judges, a syslog server over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

__all__ = ["HttpReceiver", "SyslogReceiver", "http_receiver", "server_tls", "syslog_receiver"]


def server_tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1, and the file of the only authority that it has."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, private = folder / "receiver.pem", folder / "receiver.key"
    authority.write_bytes(certificate.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    return context, authority


class HttpReceiver:
    """Keeps every request that it answers with 200; ``judge`` may answer otherwise."""

    def __init__(self) -> None:
        self.url = ""
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.judge: Callable[[web.Request, bytes], web.Response | None] = lambda *_: None

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        refusal = self.judge(request, body)
        if refusal is not None:
            return refusal
        self.taken.append(({k.lower(): v for k, v in request.headers.items()}, body))
        return web.Response()

    @property
    def lines(self) -> list[bytes]:
        return [line for _, body in self.taken for line in body.splitlines()]


@contextlib.asynccontextmanager
async def http_receiver(
    tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[HttpReceiver]:
    """An HTTP server on loopback, until the block ends."""
    receiver = HttpReceiver()
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/in", receiver.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    bound = runner.addresses[0][1]
    receiver.url = f"http{'s' if tls else ''}://127.0.0.1:{bound}/in"
    try:
        yield receiver
    finally:
        await runner.cleanup()


class SyslogReceiver:
    """Reads octet-counted messages (RFC 5425) and keeps those of whole connections."""

    def __init__(self) -> None:
        self.port = 0
        self.messages: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        while data:
            size, _, rest = data.partition(b" ")
            self.messages.append(rest[: int(size)])
            data = rest[int(size) :]
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def syslog_receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[SyslogReceiver]:
    """A syslog server on loopback, until the block ends."""
    receiver = SyslogReceiver()
    server: Any = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()

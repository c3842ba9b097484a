"""The hosts behind the gate of the egress tests, and an authority that vouches for them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from e2e.egress.rules import CARD, ORDERS, RAW
from portcullis.wire.certificates import load_identity


class Hosts:
    """What the names lead to: one server with TLS and one without, at loopback.

    ``seen`` has (host, method, path, headers, body) of all requests.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, dict[str, str], bytes]] = []
        self.go = asyncio.Event()
        self.script = b""
        self.told: str = ""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("GET", "/public/socket", self._socket)
        app.router.add_route("GET", "/public/events", self._events)
        app.router.add_route("GET", "/public/slow", self._slow)
        app.router.add_route("*", "/{path:.*}", self._echo)
        return app

    async def _note(self, request: web.Request) -> bytes:
        body = await request.read()
        self.seen.append(
            (request.host, request.method, request.path_qs, dict(request.headers), body)
        )
        return body

    async def _echo(self, request: web.Request) -> web.Response:
        body = await self._note(request)
        said = request.query.get("say", "")
        if request.path == "/public/reflect":
            return web.json_response({"sent": request.headers.get("authorization", "")})
        return self._said(said) or web.Response(body=body or b"hello", content_type="text/plain")

    def _said(self, said: str) -> web.Response | None:
        texts = {"told": self.told, "card": f"the card is {CARD}", "orders": ORDERS}
        if said in texts:
            return web.Response(text=texts[said])
        answer = None
        if said == "key":
            answer = web.json_response({"key": "AKIAIOSFODNN7EXAMPLE", "n": 1})
        elif said == "gzip":
            answer = web.Response(text="plain words " * 20)
            answer.enable_compression(web.ContentCoding.gzip, strategy=1)
        elif said == "blob":
            answer = web.Response(body=bytes(range(256)), content_type="application/octet-stream")
        elif said == "large":
            answer = web.Response(body=b"x" * (2**20 + 1), content_type="text/plain")
        elif said == "headers":
            answer = web.Response(text="ok", headers={"alt-svc": 'h3=":443"', "x-kept": "yes"})
        return answer

    async def scripted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer whatever comes with the script."""
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.seen.append((RAW, "RAW", "", {}, data))
                writer.write(self.script)
                await writer.drain()
        writer.close()

    async def _slow(self, request: web.Request) -> web.StreamResponse:
        await self._note(request)
        answer = web.StreamResponse()
        answer.content_type = "text/plain"
        await answer.prepare(request)
        await answer.write(b"begun\n")
        await self.go.wait()
        await answer.write_eof()
        return answer

    async def _events(self, request: web.Request) -> web.StreamResponse:
        await self._note(request)
        answer = web.StreamResponse()
        answer.content_type = "text/event-stream"
        await answer.prepare(request)
        for said in request.query.getall("say", ["one", "two"]):
            sent = request.headers.get("authorization", "")
            text = {"key": "AKIAIOSFODNN7EXAMPLE", "orders": ORDERS, "told": self.told}.get(
                said, said
            )
            text = {"sent": sent, "large": "x" * 300_000}.get(said, text)
            if said == "wait":
                await self.go.wait()
            await answer.write(f"data: {text}\n\n".encode())
        await answer.write_eof()
        return answer

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        await self._note(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                said = {"key": "AKIAIOSFODNN7EXAMPLE", "orders": ORDERS}.get(message.data)
                if message.data == "blob":
                    await socket.send_bytes(bytes(range(256)))
                    continue
                self.seen.append((request.host, "SOCKET", "", {}, message.data.encode()))
                await socket.send_str(said or f"you said {message.data}")
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket


class Trusted:
    """An authority of the hosts' own."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hosts of the tests")])
        self.name = name
        self.root = self._made(name, self.key.public_key(), ca=True)

    def _made(
        self, subject: x509.Name, key: Any, *, ca: bool, names: tuple[str, ...] = ()
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=12))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )
        if ca:
            usage = x509.KeyUsage(*(False, False, False, False, False, True, True, False, False))
            builder = builder.add_extension(usage, critical=True)
        else:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
            builder = builder.add_extension(issuer, critical=False)
        if names:
            alternative = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
            builder = builder.add_extension(alternative, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def pem(self) -> str:
        return self.root.public_bytes(Encoding.PEM).decode()

    def context(self, *names: str) -> ssl.SSLContext:
        """What a server of these names shows."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._made(x509.Name([]), key.public_key(), ca=False, names=names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        load_identity(context, [leaf.public_bytes(Encoding.DER)], pkcs8)
        return context

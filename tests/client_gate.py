"""A gate of a test's own: mutual TLS, enrolment, tokens bound to the certificate, and routes that
say what arrived. It is as strict as the real one about who shows which token."""

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import ssl
import time
from dataclasses import dataclass, field

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from portcullis.client.identity import SystemClock
from portcullis.config.identity import Identity as Settings
from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId
from portcullis.identity.authority import open_authority
from portcullis.identity.bundle import encode
from portcullis.wire.certificates import load_identity, pem

DOMAIN = "example.test"


class PlainSealer:
    def seal(self, plaintext, purpose):
        return plaintext

    def open(self, sealed, purpose):
        return sealed

    def current(self, sealed):
        return True


def new_id():
    return f"{int(time.time() * 1000):012x}" + secrets.token_hex(10)


def authority_at(directory, domain=DOMAIN, ttl=3600):
    return open_authority(
        directory,
        trust_domain=domain,
        settings=Settings(svid_ttl_seconds=max(ttl, 10)),
        sealer=PlainSealer(),
        clock=SystemClock(),
        new_id=new_id,
    )


def server_context(authority, *, path="/gateway/gate", names=("127.0.0.1", "localhost"), mtls=True):
    key = ec.generate_private_key(ec.SECP256R1())
    issued = authority.issue(
        SpiffeId(authority.trust_domain, path), key.public_key(), names=list(names)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    load_identity(context, issued.chain, pkcs8)
    if mtls:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=pem(authority.bundle().x509))
    return context


@dataclass
class StandIn:
    """The gate: what it does, and what it saw."""

    authority: object
    svid_ttl: float = 3600
    token_ttl: int = 300
    join_tokens: set = field(default_factory=set)
    cut: bool = False
    refuse_once: set = field(default_factory=set)
    faulty: bool = False
    mute: bool = False
    requests: list = field(default_factory=list)
    forms: list = field(default_factory=list)
    enrolments: list = field(default_factory=list)
    serials: set = field(default_factory=set)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    proceed: asyncio.Event = field(default_factory=asyncio.Event)
    failures: list = field(default_factory=list)
    url: str = ""
    plain: str = ""

    def peer(self, request):
        tls = request.transport.get_extra_info("ssl_object")
        der = None if tls is None else tls.getpeercert(binary_form=True)
        if der is None:
            return None, ""
        thumb = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
        return x509.load_der_x509_certificate(der), thumb

    async def handle(self, request):
        try:
            return await self._handle(request)
        except Problem as problem:
            self.failures.append((request.path, problem.code))
            return web.json_response(problem.document(), status=problem.status)

    async def _handle(self, request):
        if self.mute:
            request.transport.abort()
        self.requests.append((request.method, request.path_qs, request.headers.copy()))
        routes = {
            "/v1/svid": self.svid,
            "/v1/token": self.token,
            "/v1/bundle": self.bundle,
        }
        if request.path in routes:
            return await routes[request.path](request)
        certificate, thumb = self.peer(request)
        self.serials.add(certificate.serial_number)
        self.check(request, thumb)
        if self.cut:
            raise Problem("PC4001", "revoked")
        return await getattr(self, request.path.strip("/").split("/")[-1])(request)

    def check(self, request, thumb):
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise Problem("PC2001", "no token")
        said = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        if said["n"] in self.refuse_once:
            self.refuse_once.discard(said["n"])
            raise Problem("PC2003", "expired")
        if said["x5t"] != thumb:
            raise Problem("PC2041", "another certificate's")
        if said["exp"] <= time.time():
            raise Problem("PC2003", "expired")

    async def svid(self, request):
        body = await request.json()
        csr = x509.load_pem_x509_csr(body["csr"].encode())
        certificate, _ = self.peer(request)
        self.enrolments.append("renewal" if certificate else "join")
        if self.cut:
            raise Problem("PC4001", "revoked")
        if self.faulty:
            raise Problem("PC6001", "the disk is full")
        if certificate is None:
            if body.get("join_token") not in self.join_tokens:
                raise Problem("PC2061", "unknown")
            self.join_tokens.remove(body["join_token"])
        issued = self.authority.issue(
            SpiffeId(DOMAIN, "/agent/shop-1"), csr.public_key(), ttl=self.svid_ttl
        )
        answer = {
            "spiffe_id": str(issued.id),
            "svid": pem(issued.chain),
            "bundle": pem(self.authority.bundle().x509),
            "expires_at": issued.expires_at,
            "serial": issued.serial,
        }
        return web.json_response(answer, status=201)

    async def bundle(self, request):
        return web.Response(body=encode(self.authority.bundle()), content_type="application/json")

    async def token(self, request):
        form = dict(await request.post())
        self.forms.append(form)
        if self.cut:
            document = Problem("PC4001", "revoked").document()
            return web.json_response({"error": "invalid_request", **document}, status=400)
        if self.faulty:
            raise Problem("PC6001", "the disk is full")
        _, thumb = self.peer(request)
        said = {
            "x5t": thumb,
            "n": len(self.forms),
            "exp": time.time() + self.token_ttl,
            "for": form.get("subject_token", ""),
        }
        payload = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
        answer = {
            "access_token": f"aGVhZA.{payload}.c2ln",
            "token_type": "Bearer",
            "expires_in": self.token_ttl,
        }
        return web.json_response(answer)

    async def echo(self, request):
        body = await request.read()
        return web.json_response(
            {
                "method": request.method,
                "target": request.path_qs,
                "headers": dict(request.headers),
                "body": body.decode(),
            }
        )

    async def forward(self, request):
        raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/elsewhere")

    async def denied(self, request):
        raise Problem("PC3001", "not by policy")

    async def slow(self, request):
        await asyncio.sleep(3)
        return web.Response(text="done")

    async def stream(self, request):
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            await response.write(b"data: first\n\n")
            await self.proceed.wait()
            await response.write(b"data: second\n\n")
        except (asyncio.CancelledError, ConnectionError):
            self.cancelled.set()
            raise
        return response

    async def broken(self, request):
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        request.transport.abort()
        return response

    async def completions(self, request):
        body = await request.json()
        if body.get("stream"):
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            for word in ("Hel", "lo"):
                chunk = {
                    "id": "c1",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": "m",
                    "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}],
                }
                await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            await response.write(b"data: [DONE]\n\n")
            return response
        message = {"role": "assistant", "content": "Hello"}
        return web.json_response(
            {
                "id": "c1",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            }
        )

    async def messages(self, request):
        return web.json_response(
            {
                "id": "m1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [{"type": "text", "text": "Hello"}],
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": {"input_tokens": 1, "output_tokens": 1},
            }
        )


async def until(condition, seconds=60.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for belongs to another
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(handler, context=None):
    server = web.Server(handler, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    try:
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{port}"
    finally:
        await server.shutdown(0.1)
        await runner.cleanup()

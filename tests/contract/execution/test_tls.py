"""Upstreams over TLS: only those whose certificate an authority of ours vouches for."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from portcullis.config import Limits
from portcullis.core.errors import Problem
from portcullis.execution.endpoint import Endpoint
from portcullis.execution.http import HttpForwarder
from portcullis.execution.secrets import local_secrets

pytestmark = pytest.mark.anyio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DAY = dt.timedelta(days=1)


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param}


def certificate(subject, key, issuer, issuer_key, *, names=(), authority=False):
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority, and its certificate in a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    made = certificate("Test CA", key, "Test CA", key, authority=True)
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return key, path


@pytest.fixture
def served(authority, tmp_path):
    """The TLS context of a server for these names."""

    def context(*names: x509.GeneralName) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        chain = tmp_path / "server.pem"
        made = certificate("Server", key, "Test CA", authority[0], names=names)
        chain.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )
        found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        found.load_cert_chain(chain)
        found.set_alpn_protocols(["h2", "http/1.1"])
        return found

    return context


LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
NAME = x509.DNSName("localhost")


class Server:
    """Answers each request by ``script`` and remembers what it saw."""

    def __init__(self) -> None:
        self.connections = 0
        self.seen: list[tuple[str | None, str | None]] = []
        self.script = self.ok

    async def ok(self, writer) -> None:
        writer.write(ANSWER)

    async def serve(self, reader, writer) -> None:
        self.connections += 1
        tls = writer.get_extra_info("ssl_object")
        self.seen.append((tls.version(), tls.selected_alpn_protocol()))
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await self.script(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            with contextlib.suppress(OSError, RuntimeError):  # how it ended is no news
                await asyncio.wait_for(writer.wait_closed(), 1)


@pytest.fixture
async def server(anyio_backend):
    return Server()


@pytest.fixture
async def start(server, authority, monkeypatch):
    """Start the server with a TLS context; returns a forwarder to it by address and by name."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[1]))
    open_: list[asyncio.Server | HttpForwarder] = []

    async def begin(context: ssl.SSLContext) -> HttpForwarder:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
        port = listening.sockets[0].getsockname()[1]
        forwarder = HttpForwarder(
            {
                "address": Endpoint(url=f"https://127.0.0.1:{port}"),
                "name": Endpoint(url=f"https://localhost:{port}"),
            },
            secrets=local_secrets({}),
            limits=Limits(connect_seconds=2, request_seconds=2),
        )
        open_[:] = [listening, forwarder]
        return forwarder

    yield begin
    await open_[1].close()
    open_[0].close()


async def read(forwarder, call, name="address") -> bytes:
    response = await forwarder.send(call(name, method="GET"))
    try:
        return await response.read()
    finally:
        response.close()


async def refused(forwarder, call, name="address") -> Problem:
    with pytest.raises(Problem) as caught:
        await read(forwarder, call, name)
    return caught.value


async def test_a_trusted_upstream_is_reached_over_one_connection(start, served, server, call):
    forwarder = await start(served(LOOPBACK, NAME))
    for _ in range(3):
        assert await read(forwarder, call) == b"ok"
    assert server.connections == 1
    assert server.seen == [("TLSv1.3", "http/1.1")]
    assert await read(forwarder, call, "name") == b"ok"


async def test_a_certificate_for_another_name_is_refused(start, served, server, call):
    forwarder = await start(served(NAME))
    problem = await refused(forwarder, call, "address")
    assert (problem.code, problem.detail) == ("PC5001", "the upstream's certificate is not trusted")
    assert await read(forwarder, call, "name") == b"ok"


async def test_a_certificate_of_an_unknown_authority_is_refused(
    start, served, server, call, tmp_path, monkeypatch
):
    key = ec.generate_private_key(ec.SECP256R1())
    other = tmp_path / "other.pem"
    made = certificate("Other CA", key, "Other CA", key, authority=True)
    other.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    forwarder = await start(served(LOOPBACK))
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    problem = await refused(forwarder, call)
    assert (problem.code, problem.detail) == ("PC5001", "the upstream's certificate is not trusted")
    assert server.connections == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_an_upstream_that_speaks_only_old_tls_is_refused(start, served, server, call):
    context = served(LOOPBACK)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    forwarder = await start(context)
    assert (await refused(forwarder, call)).code == "PC5001"
    assert server.connections == 0


async def test_an_upstream_without_tls_is_not_spoken_to_in_clear(upstream, call):
    forwarder = HttpForwarder(
        {"address": Endpoint(url=upstream.url.replace("http:", "https:"))},
        secrets=local_secrets({}),
        limits=Limits(connect_seconds=0.5),
    )
    assert (await refused(forwarder, call)).code == "PC5001"
    assert upstream.requests == []
    await forwarder.close()


async def test_a_body_without_length_that_an_attacker_cuts_off_is_not_taken_for_whole(
    start, served, server, call
):
    """RFC 9112 section 9.8: without TLS's own end, the body is incomplete."""

    async def cut(writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await asyncio.sleep(0.05)
        writer.transport.abort()

    server.script = cut
    forwarder = await start(served(LOOPBACK))
    assert (await refused(forwarder, call)).code == "PC5008"


async def test_a_body_without_length_ends_with_tls_own_end(start, served, server, call):
    async def finish(writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nwhole")
        await writer.drain()
        writer.close()

    server.script = finish
    forwarder = await start(served(LOOPBACK))
    assert await read(forwarder, call) == b"whole"


async def test_unasked_bytes_close_an_encrypted_connection_too(start, served, server, call):
    async def twice(writer) -> None:
        writer.write(ANSWER + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    server.script = twice
    forwarder = await start(served(LOOPBACK))
    assert [await read(forwarder, call) for _ in range(2)] == [b"ok", b"ok"]
    assert server.connections == 2


async def test_a_large_answer_crosses_tls_with_backpressure(start, served, server, call):
    size = 4 * 2**20

    async def large(writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(64):
            writer.write(b"x" * (size // 64))
            await writer.drain()

    server.script = large
    forwarder = await start(served(LOOPBACK))
    response = await forwarder.send(call("address", method="GET"))
    total = 0
    async for chunk in response.chunks():
        total += len(chunk)
        await asyncio.sleep(0.001)
    assert total == size

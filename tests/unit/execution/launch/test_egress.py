"""Connections to the gate that are made ahead. If these fail, a box waits, or is who it was."""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from portcullis.client.gate import Granted
from portcullis.execution.launch import entrance
from portcullis.execution.launch.egress import Egress
from portcullis.execution.launch.ends import End

pytestmark = pytest.mark.anyio
SECONDS = 20


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A certificate for localhost and its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gate")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("gate") / "gate.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + secret)
    return path


async def until(true):
    async with asyncio.timeout(SECONDS):
        while not true():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.005)


@dataclass
class Listener:
    """Stands for the gate's egress listener, and for the launcher's hold on it.

    ``shown`` has what each connection said first; ``echoed`` by which of them bytes came.
    """

    pem: object
    token: str = ""
    refusing: bool = False
    url: str = ""
    doubts: int = 0
    shown: list[str] = field(default_factory=list)
    echoed: list[int] = field(default_factory=list)
    got: bytearray = field(default_factory=bytearray)
    open: dict[int, asyncio.StreamWriter] = field(default_factory=dict)

    def __post_init__(self):
        self.renew()

    def renew(self):
        """There is another SVID from now on."""
        self.context = ssl.create_default_context(cafile=self.pem)

    def link(self):
        return SimpleNamespace(context=self.context, grant=self.grant)

    async def grant(self, method, url):
        return Granted(self.token, {"authorization": f"Bearer {self.token}"})

    def doubt(self):
        self.doubts += 1

    async def serve(self, reader, writer):
        number = len(self.shown)
        self.shown.append("")
        self.open[number] = writer
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    if data.startswith(b"POST /session "):
                        self.shown[number] = data.decode()
                        writer.write(b"HTTP/1.1 %d -\r\n\r\n" % (403 if self.refusing else 204))
                        continue
                    self.echoed.append(number)
                    self.got += data
                    writer.write(data)
                    await writer.drain()
        finally:
            del self.open[number]
            writer.close()

    async def settled(self, made=entrance.SPARES):
        """Wait until so many connections were made ahead, and none but ``SPARES`` stand."""
        await until(lambda: sum(map(bool, self.shown)) == made)
        await until(lambda: len(self.open) == entrance.SPARES)


@contextlib.asynccontextmanager
async def launched(pem, path, *, session=False, **kinds):
    gate = Listener(pem, **kinds)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.num_tickets = 0
    tls.load_cert_chain(pem)
    server = await asyncio.start_server(gate.serve, "localhost", 0, ssl=tls)
    gate.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path / "egress"))
    try:
        async with Egress(gate, gate.url, session=session).listening(listener):
            yield gate, str(path / "egress")
        await until(lambda: not gate.open)
    finally:
        server.close()


async def said(path, data):
    """What comes back for ``data`` on a connection from the box."""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(data)
        back = await reader.readexactly(len(data))
        writer.close()
    return back


async def test_a_connection_goes_by_one_that_stood_and_another_takes_its_place(pem, tmp_path):
    async with launched(pem, tmp_path) as (gate, path):
        await gate.settled()
        assert await said(path, b"hello") == b"hello"
        assert gate.echoed == [0]
        await gate.settled(entrance.SPARES + 1)
        assert all("authorization" not in one for one in gate.shown)


async def test_more_than_what_fits_goes_both_ways_whole(pem, tmp_path):
    data = bytes(range(256)) * 2**13
    async with launched(pem, tmp_path) as (gate, path):
        await gate.settled()
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
            writer.close()


async def test_who_does_not_read_has_the_other_side_wait():
    loop, pairs = asyncio.get_running_loop(), (socket.socketpair(), socket.socketpair())
    (_, one), (_, other) = [await loop.create_connection(End, sock=pair[0]) for pair in pairs]
    near, far = pairs[0][1], pairs[1][1]
    try:
        one.join(other)
        data, got = b"x" * 2**22, bytearray()
        for end in (near, far):
            end.settimeout(0)
        sending = loop.create_task(loop.sock_sendall(near, data))
        await until(lambda: not one.transport.is_reading())
        assert other.transport.get_write_buffer_size() < 2**20
        while len(got) < len(data):
            async with asyncio.timeout(SECONDS):
                got += await loop.sock_recv(far, 2**16)
        await sending
        assert bytes(got) == data
        assert one.transport.is_reading()
    finally:
        for end in (one, other):
            end.transport.abort()
        near.close()
        far.close()


async def test_the_last_that_a_box_said_arrives_though_it_has_gone(pem, tmp_path):
    data = b"x" * 2**19
    async with launched(pem, tmp_path) as (gate, path):
        await gate.settled()
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(data)
        writer.write_eof()
        await until(lambda: len(gate.got) == len(data))
        assert gate.doubts == 0


async def test_what_was_made_under_an_older_svid_is_not_used(pem, tmp_path):
    async with launched(pem, tmp_path) as (gate, path):
        await gate.settled()
        gate.renew()
        assert await said(path, b"hello") == b"hello"
        assert min(gate.echoed) >= entrance.SPARES
        await gate.settled(2 * entrance.SPARES)
        assert not {0, 1} & set(gate.open)


async def test_a_session_is_entered_ahead_and_again_with_its_newer_token(pem, tmp_path):
    words = {"token": "first"}
    async with launched(pem, tmp_path, session=True, **words) as (gate, path):
        await gate.settled()
        assert await said(path, b"hello") == b"hello"
        assert gate.echoed == [0]
        await gate.settled(entrance.SPARES + 1)
        gate.token = "second"  # noqa: S105 - a word
        assert await said(path, b"again") == b"again"
        assert "Bearer second" in gate.shown[gate.echoed[-1]]


async def test_one_that_the_gate_ended_is_replaced_and_carries_nothing(pem, tmp_path, monkeypatch):
    monkeypatch.setattr(entrance, "_AGAIN_SECONDS", (0.01, 0.02))
    async with launched(pem, tmp_path) as (gate, path):
        await gate.settled()
        for writer in (gate.open[0], gate.open[1]):
            writer.transport.abort()
        assert await said(path, b"hello") == b"hello"  # at once, and by a fresh one
        assert min(gate.echoed) >= entrance.SPARES
        await gate.settled(2 * entrance.SPARES)
        assert gate.doubts == 0


async def test_a_gate_that_lets_nobody_in_is_left_alone(pem, tmp_path, monkeypatch):
    monkeypatch.setattr(entrance, "_AGAIN_SECONDS", (0.05, 10))
    async with launched(pem, tmp_path, refusing=True) as (gate, _):
        await asyncio.sleep(0.5)
        assert 1 <= len(gate.shown) <= 5
    assert not gate.open


async def test_the_end_cuts_what_is_carried_and_what_was_made_ahead(pem, tmp_path):
    async with launched(pem, tmp_path) as (gate, path):
        await gate.settled()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 2
    assert not gate.open
    assert await reader.read() == b""
    writer.close()

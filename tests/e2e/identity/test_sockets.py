"""If these fail, the gate listens where somebody can listen in, or come in as nobody."""

import asyncio
import ipaddress
import socket
import ssl
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.identity.daemon import ANY, DOMAIN, daemon
from portcullis.bootstrap import authority_of
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.gateway.listener import bound

pytestmark = pytest.mark.anyio
LISTENERS = {"gate": False, "control": False, "tls": True, "mtls": True, "bootstrap": True}
"""All of them, and whether they speak TLS."""
LISTENS = "0A"
ACCEPTS = 0x10000
REQUEST = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Open:
    """A socket that takes what others send: ``family`` is tcp, udp or raw, 4 or 6."""

    family: str
    address: str
    port: int


def held(pid):
    """The inodes of a process's sockets."""
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(each.readlink())
        except FileNotFoundError:  # it was closed meanwhile
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def internet_sockets(pid):
    """What listens, or takes datagrams (proc(5), /proc/net/tcp)."""
    inodes, found = held(pid), set()
    for family in ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6"):
        table = Path(f"/proc/{pid}/net/{family}")
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[9] in inodes and (fields[3] == LISTENS or not family.startswith("tcp")):
                host, _, port = fields[1].partition(":")
                words = struct.unpack(f"{len(host) // 8}I", bytes.fromhex(host))
                raw = struct.pack(f">{len(words)}I", *words)
                found.add(Open(family, str(ipaddress.ip_address(raw)), int(port, 16)))
    return found


def unix_sockets(pid):
    """The names at which it listens (proc(5), /proc/net/unix)."""
    inodes = held(pid)
    rows = [line.split() for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]]
    return {
        row[7] if len(row) > 7 else ""
        for row in rows
        if row[6] in inodes and int(row[3], 16) & ACCEPTS
    }


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def spoken(port, context=None, path=b"/", header=b""):
    """What a socket answers to a request, over TLS or not; empty when it just ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(REQUEST % (path, header))
        return await asyncio.wait_for(reader.read(), 10)
    except OSError:
        return b""
    finally:
        writer.transport.abort()


def anything(most=ssl.TLSVersion.TLSv1_3):
    """A client's context that takes any certificate: the question is whether there is TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = most
    return context


async def test_every_socket_is_tls_or_loopback_or_a_unix_socket(tmp_path):
    async with daemon(tmp_path, listen=dict.fromkeys(("tls", "bootstrap"), ANY)) as gate:
        assert set(gate.urls) == set(LISTENERS)
        assert not children(gate.pid)
        named = {int(url.rpartition(":")[2]): name for name, url in gate.urls.items()}
        listening = internet_sockets(gate.pid)
        assert {each.port for each in listening} == set(named)
        for each in listening:
            name = named[each.port]
            assert each.family == "tcp"
            plainly = await spoken(each.port)
            if LISTENERS[name]:
                assert plainly == b"", name
                over = await spoken(each.port, anything())
                assert over == b"" if name == "mtls" else over.startswith(b"HTTP/1.1 "), name
                older = anything(ssl.TLSVersion.TLSv1_2)
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await asyncio.open_connection("127.0.0.1", each.port, ssl=older)
            else:
                assert plainly.startswith(b"HTTP/1.1 "), name
                assert ipaddress.ip_address(each.address).is_loopback
        await unix_sockets_are_the_workload_api_and_private_ones(gate)


async def unix_sockets_are_the_workload_api_and_private_ones(gate):
    public, *private = sorted(unix_sockets(gate.pid), key=lambda name: name != str(gate.workload))
    assert public == str(gate.workload)
    for each in private:
        place = Path(each)
        assert place.is_absolute()  # an abstract socket is open to everybody
        if each.startswith("/proc/self/fd/"):  # bound by the folder's descriptor
            place = load(gate.folder / "portcullis.yaml").state / place.name
            assert place.is_socket(), each
        mode = await asyncio.to_thread(lambda place=place: place.parent.stat().st_mode)
        assert stat.S_IMODE(mode) == 0o700, each


async def test_the_bootstrap_listener_serves_bundle_and_enrolment_and_nothing_else(tmp_path):
    async with daemon(tmp_path, listen={"bootstrap": ANY}) as gate:
        authority = await asyncio.to_thread(authority_of, load(tmp_path / "portcullis.yaml"))
        roles = {"ttl": 60, "roles": ("admin",)}
        token = authority.mint(PrincipalKind.OPERATOR, "local-test", **roles).token.encode()
        header = b"Authorization: Bearer " + token + b"\r\n"
        port, control = (
            int(gate.urls[each].rpartition(":")[2]) for each in ("bootstrap", "control")
        )
        for path in (b"/api/v1/principals", b"/healthz", b"/metrics"):
            assert b" 200 " in (await spoken(control, None, path, header))[:20], path
            assert b" 404 " in (await spoken(port, anything(), path, header))[:20], path
        for path in (b"/openai/v1/models", b"/mcp/orders", b"/v1/token", b"/v1/sessions", b"/"):
            assert b" 404 " in (await spoken(port, anything(), path, header))[:20], path
        assert b" 405 " in (await spoken(port, anything(), b"/v1/svid", header))[:20]
        assert b" 200 " in (await spoken(port, anything(), b"/v1/bundle"))[:20]


ELSEWHERE = (
    "0.0.0.0",  # noqa: S104 - that is the case
    "[::]",
    "::",
    "*",
    "",
    "0",
    "127.1",
    "2130706433",
    "0x7f000001",
    "[::ffff:127.0.0.1]",
    "[::ffff:0.0.0.0]",
    "192.0.2.10",
    "10.0.0.5",
    "[fe80::1]",
    "gate.example",
    "127.0.0.1.example",
    "localhost.example",
    "localhost ",
    "LOCALHOST",
    "127.0.0.1:80@192.0.2.10",
)


@pytest.mark.parametrize("key", ["gate", "control", "tls"])
@pytest.mark.parametrize("host", ELSEWHERE)
def test_nothing_plain_or_one_way_is_configured_off_loopback(tmp_path, key, host):
    config = tmp_path / "portcullis.yaml"
    for good in ("127.0.0.1", "[::1]", "localhost"):
        config.write_text(f"trust_domain: {DOMAIN}\nlisten: {{{key}: '{good}:0'}}\n")
        assert getattr(load(config).listen, key) == f"{good}:0"
    config.write_text(f"trust_domain: {DOMAIN}\nlisten: {{{key}: '{host}:0'}}\n")
    with pytest.raises(Problem, match="PC7001") as refused:
        load(config)
    assert f"listen.{key}" in refused.value.detail


async def test_a_gate_that_is_told_to_listen_plainly_elsewhere_does_not_start(tmp_path):
    with pytest.raises(AssertionError, match=r"PC7001.*listen\.gate"):
        async with daemon(tmp_path, listen={"gate": "0.0.0.0:0"}):
            pass


def test_localhost_is_loopback_whatever_a_resolver_says(monkeypatch):
    """``localhost`` is configured by name: it is never looked up."""

    def elsewhere(*_args, **_more):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    made = bound("localhost:0")
    try:
        assert made.getsockname()[0] == "127.0.0.1"
    finally:
        made.close()

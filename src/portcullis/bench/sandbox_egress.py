"""What the way out through the gate costs, beside a direct connection to the same host.

A call is a connection (TCP, the tunnel, TLS with the host) and one small request; a kept one is a
request on a connection that stands. The ways alternate. Through the gate, a call goes as from a
box of ``portcullis run``: by the launcher's Unix socket, behind which connections to the gate are
made ahead. The gate decides, resolves, records each tunnel durably and reads its ClientHello. A
fresh one is made by a client that holds the SVID, and pays for the handshake with the gate, too: so
does a box in a burst, once the connections that were made ahead are used up.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from portcullis.bench import gate
from portcullis.bench.identity_load import tls_of
from portcullis.bench.identity_stage import Stage
from portcullis.bench.load import percentile
from portcullis.bench.sandbox_stub import ANSWER
from portcullis.bench.subjects import end, free_ports, ready, spawn
from portcullis.client.svid import Svid
from portcullis.core.errors import Problem

HOST: Final = "host.bench.test"
_AGENT: Final = "agent-000"
_ROLE: Final = "role_0"
_SECONDS: Final = 20.0
_WARM: Final = 3
_REQUEST: Final = f"GET /public/small HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()

_APART_SECONDS: Final = 0.02
"""Between two calls, in which the launcher makes the next connection."""
_RATIOS: Final = (
    ("", "gate", "direct"),
    ("fresh_", "fresh", "direct"),
    ("kept_", "kept_gate", "kept_direct"),
)

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class _Way:
    """Where the host is, whom the client trusts, and by what it goes; by nothing is direct.

    ``box`` is the launcher's socket; ``egress`` the gate's listener, under ``identity``.
    """

    port: int
    trust: ssl.SSLContext
    box: Path | None = None
    egress: int | None = None
    identity: ssl.SSLContext | None = None


def measure_egress(calls: int) -> dict[str, float]:
    """p05, p50 and p95 of calls and kept requests in milliseconds, and ratios of the first two.

    p05 is what a call takes when nothing else of the machine's is in its way.

    Problem PC7007 when something does not start or answer.
    """
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as name, _staged(Path(name)) as to:
        taken = asyncio.run(_measure(to, calls))
    figures: dict[str, float] = {}
    for kind, times in taken.items():
        for share, part in (("p05", 0.05), ("p50", 0.5), ("p95", 0.95)):
            figures[f"egress_{kind}_{share}_ms"] = percentile(sorted(times), part) * 1000
    for name, one, base in _RATIOS:
        for share in ("p05", "p50"):
            through, direct = (figures[f"egress_{way}_{share}_ms"] for way in (one, base))
            figures[f"egress_{name}{share}_ratio"] = through / direct
    return figures


async def _measure(ways: dict[str, _Way], calls: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in (*ways, "kept_direct", "kept_gate")}
    try:
        for number in range(calls + _WARM):
            for name, way in ways.items():
                await asyncio.sleep(_APART_SECONDS)
                began = time.perf_counter()
                async with _connected(way) as stream:
                    await _request(stream)
                    if number >= _WARM:
                        taken[name].append(time.perf_counter() - began)
        async with _connected(ways["direct"]) as one, _connected(ways["gate"]) as other:
            for number in range(calls + _WARM):
                for name, stream in (("kept_direct", one), ("kept_gate", other)):
                    began = time.perf_counter()
                    await _request(stream)
                    if number >= _WARM:
                        taken[name].append(time.perf_counter() - began)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as fault:
        raise Problem("PC7007", f"egress: {type(fault).__name__}") from None
    return taken


@contextlib.asynccontextmanager
async def _connected(way: _Way) -> AsyncIterator[Stream]:
    """TLS with the host. Raises OSError, TimeoutError; Problem PC7007 for a tunnel refused."""
    async with asyncio.timeout(_SECONDS):
        if way.box is None and way.egress is None:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", way.port, ssl=way.trust, server_hostname=HOST
            )
        else:
            if way.box is not None:
                reader, writer = await asyncio.open_unix_connection(way.box)
            else:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", way.egress, ssl=way.identity, server_hostname="localhost"
                )
            target = f"{HOST}:{way.port}"
            writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
                raise Problem("PC7007", f"no tunnel: {head.split(b' ')[1].decode('ascii', '?')}")
            await writer.start_tls(way.trust, server_hostname=HOST)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _request(stream: Stream) -> None:
    reader, writer = stream
    async with asyncio.timeout(_SECONDS):
        writer.write(_REQUEST)
        await reader.readexactly(len(ANSWER))


@contextlib.contextmanager
def _staged(folder: Path) -> Iterator[dict[str, _Way]]:
    """The ways to the host; it, the gate and the launcher are children, ended with the block."""
    host, plain, control, mtls, egress = free_ports(5)
    _certificates(folder)
    config = gate.configuration(
        folder, gate=plain, control=control, upstream=f"http://127.0.0.1:{plain}", mtls=mtls
    )
    _with_egress(folder, config, host, egress)
    stub = (sys.executable, "-m", "portcullis.bench.sandbox_stub", str(host))
    with contextlib.ExitStack() as stack:
        for name, argv in (
            ("host", (*stub, str(folder / "host.pem"), str(folder / "host.key"))),
            ("gate", gate.command(config)),
        ):
            output = stack.enter_context((folder / f"{name}.output").open("w+b"))
            child = spawn(argv, output)
            stack.callback(end, child)
            if name == "gate":
                ready(name, child, control, "/readyz")
        output_ = folder / "gate.output"
        stage = Stage(config, gate=plain, control=control, mtls=mtls, output=output_)
        trust = ssl.create_default_context(cafile=str(folder / "hosts.pem"))
        svid = stage.enrol(_AGENT)
        box = _launcher(stack, folder, svid, egress)
        yield {
            "direct": _Way(host, trust),
            "gate": _Way(host, trust, box=box),
            "fresh": _Way(host, trust, egress=egress, identity=tls_of(svid)),
        }


def _launcher(stack: contextlib.ExitStack, folder: Path, svid: Svid, egress: int) -> Path:
    """Start what stands outside of a box; its socket. Problem PC7007 when there is none."""
    held, path = folder / "svid.json", folder / "egress"
    held.write_bytes(msgspec.json.encode(svid))
    url = f"https://localhost:{egress}"
    program = (sys.executable, "-m", "portcullis.bench.sandbox_launcher")
    output = stack.enter_context((folder / "launcher.output").open("w+b"))
    child = spawn((*program, str(held), url, str(path)), output)
    stack.callback(end, child)
    until = time.monotonic() + _SECONDS
    while not path.is_socket():
        if child.poll() is not None or time.monotonic() > until:
            raise Problem("PC7007", "the launcher does not listen")
        time.sleep(0.02)
    return path


def _with_egress(folder: Path, config: Path, host: int, egress: int) -> None:
    """Add the listener to a gate's configuration, and the host to a role."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["listen"]["egress"] = f"127.0.0.1:{egress}"
    settings["egress"] = {
        "resolve": {HOST: ["127.0.0.1"]},
        "private": {HOST: ["127.0.0.0/8"]},
        "authorities": str(folder / "hosts.pem"),
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    path = folder / "policy" / "main.yaml"
    policy = yaml.safe_load(path.read_text(encoding="utf-8"))
    policy["roles"][_ROLE]["egress"] = [{"host": HOST, "ports": [host]}]
    path.write_text(yaml.safe_dump(policy, sort_keys=False), encoding="utf-8")


def _certificates(folder: Path) -> None:
    """An authority of the host's own, and what the host shows."""
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    for key, path, ca in ((root, "hosts", True), (leaf, "host", False)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name if ca else x509.Name([]))
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=12))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
            builder = builder.add_extension(names, critical=True)
        made = builder.sign(root, hashes.SHA256())
        (folder / f"{path}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "host.key").write_bytes(
        leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )

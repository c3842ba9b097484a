"""What the way out through the gate costs, beside a direct connection to the same host.

Three things are measured, the ways in turn: a call, which is a connection (TCP, the tunnel, TLS
with the host) and one small request; a request on a connection that stands (``kept``); and the
bytes per second of a large answer. The gate decides, resolves, records each tunnel durably and
reads its ClientHello. The ways, each with the same client and host, both on this machine:

    direct       to the host
    gate         as from a box of ``portcullis run``: by the launcher's Unix socket, behind which
                 connections to the gate are made ahead
    boxed        the same with the bridge, which stands in the box before that socket
    fresh        with the SVID, and a handshake with the gate, too: so does a box in a burst, once
                 the connections that were made ahead are used up
    near_direct  to the host as if it were some way off: a round trip takes ``AWAY_SECONDS``
    near_gate    the same through the gate
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from portcullis.bench.load import percentile
from portcullis.bench.sandbox_egress_stage import HOST, Way, staged
from portcullis.bench.sandbox_stub import ANSWER, BULK
from portcullis.core.errors import Problem

_SECONDS: Final = 20.0
_WARM: Final = 3
_REQUEST: Final = f"GET /public/small HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
_BULK: Final = f"GET /bytes HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
_PIECE: Final = 2**16
_BULKS: Final = 5

_APART_SECONDS: Final = 0.02
_AHEAD_SECONDS: Final = 0.09
"""After a call that came by the launcher, in which that makes the next connection."""
_RATIOS: Final = (
    ("", "gate", "direct"),
    ("boxed_", "boxed", "direct"),
    ("fresh_", "fresh", "direct"),
    ("near_", "near_gate", "near_direct"),
    ("kept_", "kept_gate", "kept_direct"),
)

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def measure_egress(calls: int) -> dict[str, float]:
    """Milliseconds of calls and kept requests, what the gate adds, ratios, MiB per second.

    p05 is what a call takes when nothing else of the machine's is in its way.

    Problem PC7007 when something does not start or answer.
    """
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as name, staged(Path(name)) as to:
        taken, speeds = asyncio.run(_measure(to, calls))
    figures: dict[str, float] = {}
    for kind, times in taken.items():
        for share, part in (("p05", 0.05), ("p50", 0.5), ("p95", 0.95)):
            figures[f"egress_{kind}_{share}_ms"] = percentile(sorted(times), part) * 1000
    for name, one, base in _RATIOS:
        for share in ("p05", "p50"):
            through, direct = (figures[f"egress_{way}_{share}_ms"] for way in (one, base))
            figures[f"egress_{name}{share}_ratio"] = through / direct
            figures[f"egress_{name}{share}_added_ms"] = through - direct
    for way, speed in speeds.items():
        figures[f"egress_{way}_mib_per_s"] = speed
    return figures


async def _measure(
    ways: dict[str, Way], calls: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    taken: dict[str, list[float]] = {name: [] for name in (*ways, "kept_direct", "kept_gate")}
    try:
        for number in range(calls + _WARM):
            for name, way in ways.items():
                ahead = way.box is not None or way.bridge is not None
                began = time.perf_counter()
                async with _connected(way) as stream:
                    await _request(stream)
                    if number >= _WARM:
                        taken[name].append(time.perf_counter() - began)
                await asyncio.sleep(_AHEAD_SECONDS if ahead else _APART_SECONDS)
        async with _connected(ways["direct"]) as one, _connected(ways["gate"]) as other:
            both = {"direct": one, "gate": other}
            for number in range(calls + _WARM):
                for name, stream in both.items():
                    began = time.perf_counter()
                    await _request(stream)
                    if number >= _WARM:
                        taken[f"kept_{name}"].append(time.perf_counter() - began)
            spent: dict[str, list[float]] = {name: [] for name in both}
            for _ in range(_BULKS):
                for name, stream in both.items():
                    spent[name].append(await _bulk(stream))
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as fault:
        raise Problem("PC7007", f"egress: {type(fault).__name__}") from None
    mib = BULK / 2**20
    return taken, {name: mib / percentile(sorted(each), 0.5) for name, each in spent.items()}


@contextlib.asynccontextmanager
async def _connected(way: Way) -> AsyncIterator[Stream]:
    """TLS with the host. Raises OSError, TimeoutError; Problem PC7007 for a tunnel refused."""
    async with asyncio.timeout(_SECONDS):
        if way.box is None and way.egress is None and way.bridge is None:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", way.port, ssl=way.trust, server_hostname=HOST
            )
        else:
            reader, writer = await _proxy(way)
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


async def _proxy(way: Way) -> Stream:
    """A connection to what takes CONNECT on this way."""
    if way.box is not None:
        return await asyncio.open_unix_connection(way.box)
    if way.bridge is not None:
        return await asyncio.open_connection("127.0.0.1", way.bridge)
    return await asyncio.open_connection(
        "127.0.0.1", way.egress, ssl=way.identity, server_hostname="localhost"
    )


async def _request(stream: Stream) -> None:
    reader, writer = stream
    async with asyncio.timeout(_SECONDS):
        writer.write(_REQUEST)
        await reader.readexactly(len(ANSWER))


async def _bulk(stream: Stream) -> float:
    """Seconds that a large answer takes."""
    reader, writer = stream
    began = time.perf_counter()
    async with asyncio.timeout(_SECONDS):
        writer.write(_BULK)
        await reader.readuntil(b"\r\n\r\n")
        left = BULK
        while left:
            data = await reader.read(min(left, _PIECE))
            if not data:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(data)
    return time.perf_counter() - began

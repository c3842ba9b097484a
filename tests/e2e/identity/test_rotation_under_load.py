"""If this fails, agents lose requests whenever a certificate or an authority rotates.

Unmodified OpenAI and MCP clients against the real gate over mutual TLS, under load, in two ways:
over our transport, and over a plain httpx client whose certificate the test changes as the PyPI
``spiffe`` library's X509Source says. Meanwhile the agent's SVIDs, the gate's own, the signing
authority and the root are rotated. No request may fail.
"""

import asyncio
import contextlib
import os
import ssl
import time
from collections import Counter
from dataclasses import dataclass

import httpx2
import openai
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from spiffe import X509Source

import standins
from e2e.matrix.cells import until
from e2e.matrix.deployment import operator
from portcullis import client
from portcullis.client.httpx import Transport
from portcullis.core.principal import PrincipalKind
from portcullis.wire.certificates import load_identity

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
AGENT = standins.AGENT
SECONDS = 18
TTL = 12
"""Of the agent's SVIDs: a new one every six seconds. The gate's own live for ten.

On a busy machine a conversation takes seconds, and one under an SVID that ran out is cut off.
"""
LONG = " ".join(["word"] * 60)
"""Its stream takes longer than half of an SVID's life."""


@pytest.fixture
def anyio_backend():
    return "asyncio", {"use_uvloop": True}


@dataclass
class Line:
    """A client under one SVID; it is closed when a newer one has come and nobody uses it."""

    http: httpx2.AsyncClient
    users: int = 0
    retired: bool = False


class Rotating:
    """What an application does that follows an X509Source: a new client for each new SVID."""

    def __init__(self, source):
        self.source = source
        self.serials = set()
        self.signers = set()
        self._line = None

    def follow(self):
        loop = asyncio.get_running_loop()
        self.source.subscribe_for_updates(lambda: loop.call_soon_threadsafe(self._renew))
        self._renew()

    def _renew(self):
        context = self.source.get_x509_context()
        svid = context.default_svid
        bundle = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
        roots = [each.public_bytes(Encoding.DER) for each in bundle.x509_authorities]
        tls = ssl.create_default_context(cadata=b"".join(roots))
        key = svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        load_identity(tls, [each.public_bytes(Encoding.DER) for each in svid.cert_chain], key)
        self.serials.add(svid.leaf.serial_number)
        self.signers.add(svid.cert_chain[-1])
        old, self._line = self._line, Line(httpx2.AsyncClient(verify=tls, timeout=20))
        if old is not None:
            old.retired = True

    @contextlib.asynccontextmanager
    async def http(self):
        line = self._line
        line.users += 1
        try:
            yield line.http
        finally:
            line.users -= 1
            if line.retired and not line.users:
                await line.http.aclose()


class Work:
    """What the loops do; how often each was done, and what failed."""

    def __init__(self, gate):
        self.url = gate.mtls_url
        self.done = Counter()
        self.failed = []

    async def over_and_over(self, name, once, until_when):
        while time.monotonic() < until_when:
            try:
                await once()
            except Exception as error:  # noqa: BLE001 - any failure is one
                self.failed.append((name, round(until_when - time.monotonic(), 1), repr(error)))
            self.done[name] += 1
            await asyncio.sleep(0.02)

    async def chat(self, http, text="hi", model="gpt-standin", *, stream=False):
        asked = {"model": model, "messages": [{"role": "user", "content": text}]}
        create = openai.AsyncOpenAI(
            base_url=f"{self.url}/openai/v1", api_key="spiffe", max_retries=0, http_client=http
        ).chat.completions.create
        if not stream:
            assert (await create(**asked)).choices[0].message.content
            return
        said, ended = "", False
        async for piece in await create(**asked, stream=True):
            said += piece.choices[0].delta.content or "" if piece.choices else ""
            ended = ended or bool(piece.choices and piece.choices[0].finish_reason)
        assert ended
        assert model == "gpt-standin" or said == text

    async def tools(self, http, mode="auto"):
        transport = streamable_http_client(f"{self.url}/mcp/kb", http_client=http)
        async with Client(transport, mode=mode) as tools:
            await self.tool(tools)

    async def tool(self, tools):
        found = await tools.call_tool("search_knowledge_base", {"query": "returns"})
        assert not found.is_error


def loops(work, lease, prefix):
    """The same loops for each way to carry the SVID; ``lease`` gives an HTTP client."""

    def leased(do, *words, **more):
        async def once():
            async with lease() as http:
                await do(http, *words, **more)

        return once

    return {
        f"{prefix} json": leased(work.chat),
        f"{prefix} json too": leased(work.chat),
        f"{prefix} stream": leased(work.chat, stream=True),
        f"{prefix} long stream": leased(work.chat, LONG, "gpt-standin:slow", stream=True),
        f"{prefix} tools": leased(work.tools),
        f"{prefix} legacy tools": leased(work.tools, "legacy"),
    }


async def test_no_request_fails_while_everything_rotates(tmp_path):
    settings = {
        "listen": dict.fromkeys(("gate", "control", "mtls"), "127.0.0.1:0")
        | {"workload": "w.sock"},
        "identity": {"svid_ttl_seconds": 10},
        "tokens": {"bearer": "never"},
    }
    async with contextlib.AsyncExitStack() as stack:
        stage = await stack.enter_async_context(standins.staged(tmp_path, settings=settings))
        gate, authority = stage.gate, stage.gate.domain.authority
        await stage.register(PrincipalKind.AGENT, AGENT)
        await _registered(gate)
        work, own = Work(gate), {gate.domain.own.current()[0].chain}
        gate.domain.own.subscribe(lambda: own.add(gate.domain.own.current()[0].chain))

        identity = await stack.enter_async_context(client.workload(gate.workload))
        transport = Transport(client.Gate(gate.mtls_url, identity))
        ours = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, timeout=20))
        kept = await stack.enter_async_context(
            Client(streamable_http_client(f"{gate.mtls_url}/mcp/kb", http_client=ours))
        )
        source = await asyncio.to_thread(
            X509Source, socket_path=f"unix:{gate.workload.absolute()}", timeout_in_seconds=20
        )
        stack.callback(source.close)
        rotating = Rotating(source)
        rotating.follow()

        jobs = loops(work, lambda: contextlib.nullcontext(ours), "transport")
        jobs |= loops(work, rotating.http, "plain")
        jobs["one conversation"] = lambda: work.tool(kept)
        mine = set()

        async def note():
            mine.add(identity.current.serial)

        jobs["note"] = note
        end = time.monotonic() + SECONDS
        async with asyncio.TaskGroup() as group:
            for name, job in jobs.items():
                group.create_task(work.over_and_over(name, job, end))
            for what in ("signing", "root"):
                await asyncio.sleep(4.5)
                await asyncio.to_thread(authority.rotate, what)

        assert work.failed == []
        assert set(work.done) == set(jobs)
        assert min(work.done.values()) >= 2, work.done
        assert len(mine) > 2
        assert len(rotating.serials) > 2
        assert len({chain[0] for chain in own}) > 2
        assert len(rotating.signers) == 3  # the first, the second, and the second root's
        assert len({each.issuer for each in rotating.signers}) == 2
        assert len({chain[-1] for chain in own}) in {2, 3}  # the gate is below the new root, too
        await _every_call_is_on_record_under_some_svid(stage, work)


async def _registered(gate):
    entries = gate.services.entries("test")
    selectors = (f"unix:uid:{os.geteuid()}",)
    await entries.add(operator(), PrincipalKind.AGENT, AGENT, selectors=selectors, ttl=TTL)


async def _every_call_is_on_record_under_some_svid(stage, work):
    chats = sum(times for name, times in work.done.items() if "json" in name or "stream" in name)
    await until(lambda: len(_calls(stage)) >= chats)
    calls = _calls(stage)
    assert len(calls) == chats
    assert all(event.credential for event in calls)
    assert not [e.code for e in stage.events() if e.verdict == "deny"]


def _calls(stage):
    return [event for event in stage.events() if event.type == "llm_call"]

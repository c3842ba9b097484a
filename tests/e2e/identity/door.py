"""A gate's mTLS door with the real line behind it, and a model upstream that falls silent.

async with opened(tmp_path) as door:
    chain, key = door.domain.identity("/agent/shop-1")
    async with door.aiohttp("shop-1") as http, http.post(door.url + CHAT, json=ask()) as answer: ...

Models named ``quick`` are answered at once, ``hang`` never, ``silent`` (streams) after one piece,
``drip`` (streams) piece after piece until the caller leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from domains import Domain, MemoryRecorder, WallClock
from portcullis.checks.contain import Contain
from portcullis.config import Config, Limits
from portcullis.core.call import RiskClass
from portcullis.core.check import Check
from portcullis.core.principal import PrincipalKind, Session
from portcullis.core.verdict import Allow
from portcullis.execution.endpoint import endpoints
from portcullis.execution.http import HttpForwarder
from portcullis.execution.secrets import local_secrets
from portcullis.gateway.access import Access
from portcullis.gateway.http import send_json
from portcullis.gateway.listener import Listener
from portcullis.gateway.live import Live
from portcullis.gateway.llm import ModelRoutes
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import Records, new_id
from portcullis.gateway.router import Router
from portcullis.gateway.tls import ServerTls
from portcullis.identity.tokens import TokenAuthority
from portcullis.identity.trust import Trust
from portcullis.wire.certificates import load_identity, pem

DOMAIN = "shop.test"
CHAT = "/openai/v1/chat/completions"
NAMES = ("localhost", "127.0.0.1", "::1")


def ask(model: str = "quick", *, stream: bool = False, text: str = "hi") -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        **({"stream": True} if stream else {}),
    }


class Feed:
    """Who is cut off, by (kind, name) or credential; as the real feed, it tells at once."""

    def __init__(self) -> None:
        self.cuts: dict[Any, str] = {}
        self.changed: list[Any] = []

    def stale(self) -> bool:
        return False

    def reason(self, principal, session) -> str | None:
        keys = [(principal.kind.value, principal.id), principal.credential]
        keys += [("session", session.id)] if session else []
        return next((self.cuts[key] for key in keys if key in self.cuts), None)

    def subscribe(self, changed) -> None:
        self.changed.append(changed)

    def cut(self, *key: str) -> None:
        self.cuts[key if len(key) > 1 else key[0]] = "cut by the test"
        for changed in self.changed:
            changed()


class Grant(Check):
    """Allows everything; ``risk`` decides whether the record must be durable first."""

    name = "authorize"

    def __init__(self) -> None:
        self.risk = RiskClass.READ

    def judge(self, call, context, facts):
        return Allow(rule="test", risk=self.risk)


class Policy:
    digest = "sha256:test"


class Memory:
    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}

    async def propose(self, key, proposals) -> None:
        return None

    async def proposed(self, key, names, digest) -> None:
        return None

    def is_open(self, session_id) -> bool:
        return True

    async def get(self, session_id) -> Session | None:
        return self.sessions.get(session_id)


class Upstream:
    """A model endpoint over plain HTTP that counts the calls it has open."""

    def __init__(self) -> None:
        self.open = 0
        self.asked = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self.open += 1
                self.asked += 1
                try:
                    await self._answer(reader, writer, body["model"])
                finally:
                    self.open -= 1
        writer.close()

    async def _answer(self, reader, writer, model: str) -> None:
        if model == "quick":
            body = json.dumps(_completion()).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n" % len(body) + body
            )
            return
        if model != "hang":
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            _piece(writer, model)
        left = asyncio.ensure_future(reader.read(1))
        while model == "drip" and not left.done():
            _piece(writer, model)
            await asyncio.wait({left}, timeout=0.02)
        await left  # until the gate closes the call
        raise asyncio.IncompleteReadError(b"", None)


def _piece(writer, model: str) -> None:
    delta = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}
    data = b"data: " + json.dumps(event | {"choices": [delta]}).encode() + b"\n\n"
    writer.write(b"%x\r\n" % len(data) + data + b"\r\n")


def _completion() -> dict[str, Any]:
    message = {"role": "assistant", "content": "hello", "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "quick",
        "choices": [choice],
        "usage": usage,
    }


class Door:
    """The gate: its parts are there to be looked at and changed."""

    def __init__(self, folder: Path, upstream: Upstream, limits: Limits, **settings: Any) -> None:
        self.upstream = upstream
        self.domain = Domain(DOMAIN, folder / "ours", **settings)
        self.trust = Trust(self.domain.authority.bundle)
        loop = asyncio.get_running_loop()
        refresh = self.trust.refresh
        self.domain.authority.subscribe(lambda: loop.call_soon_threadsafe(refresh))
        self.own = self.domain.own()
        self.recorder = MemoryRecorder()
        self.recorder.commitment = lambda subject, value: "hmac-sha256:00"
        self.feed, self.grant, self.clock = Feed(), Grant(), WallClock()
        self.live = Live(self.feed, self.trust, DOMAIN, self.clock)
        self.feed.subscribe(self.live.sweep)
        self.trust.subscribe(self.live.sweep)
        self.named: dict[str, tuple[PrincipalKind, str]] = {}
        self.tokens = TokenAuthority(
            Ed25519PrivateKey.generate(),
            trust_domain=DOMAIN,
            clock=self.clock,
            new_id=new_id,
            named=self.named.get,
            bearer=True,
        )
        config = Config.model_validate(
            {
                "trust_domain": DOMAIN,
                "models": {
                    "model": {"shape": "openai", "url": f"http://127.0.0.1:{upstream.port}"}
                },
            }
        )
        self.forwarder = HttpForwarder(endpoints(config), secrets=local_secrets({}), limits=limits)
        self.memory, metrics = Memory(), Metrics(CollectorRegistry())
        records = Records("gate", self.recorder, self.memory, Policy(), self.clock)
        checks = (Contain(self.feed, self.memory), self.grant)
        self.pipeline = Pipeline(checks, self.recorder, records, metrics)
        self.router = Router(
            access=Access(self.tokens, self.memory, self.clock),
            live=self.live,
            pipeline=self.pipeline,
            models=ModelRoutes(self.pipeline, self.forwarder, config.models, limits),
            mcp=_unserved,
            guard=_unserved,
            api=_who,
            limits=limits,
            metrics=metrics,
            names=NAMES,
        )

    def listener(self, *, tls: ServerTls | None = None, seconds: float = 5.0) -> Listener:
        return Listener(
            self.router,
            "127.0.0.1:0",
            refused=self._refused,
            live=self.live,
            seconds=seconds,
            drain_seconds=2,
            tls=tls,
        )

    def _refused(self, problem, peer, **who):
        return self.pipeline.refused(problem, source=peer, **({"method": "http"} | who))

    url = ""
    port = 0

    def context(self, agent: str = "", *, shown: tuple[tuple[bytes, ...], bytes] | None = None):
        """A client's TLS, with an agent's fresh SVID, another identity, or none."""
        context = ssl.create_default_context(cadata=pem(self.domain.authority.bundle().x509))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if agent:
            shown = self.domain.identity(f"/agent/{agent}")
        if shown:
            load_identity(context, *shown)
        return context

    def aiohttp(self, agent: str = "", **options: Any) -> aiohttp.ClientSession:
        context = options.pop("context", None) or self.context(agent)
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        return aiohttp.ClientSession(connector=connector, **options)

    def events(self, code: str) -> list[Any]:
        return [event for event in self.recorder.events if event.code == code]

    async def recorded(self, code: str, count: int = 1) -> list[Any]:
        with contextlib.suppress(AssertionError):
            await until(lambda: len(self.events(code)) >= count)
        found = self.events(code)
        assert len(found) == count, [(e.code, e.reason) for e in self.recorder.events if e.code]
        return found


async def _unserved(request, context, server) -> None:
    await send_json(request.send, 200, b"{}")


async def _who(scope, receive, send) -> None:
    """The API: says whom it sees."""
    peer = scope.get("portcullis.peer")
    seen = {"peer": str(peer.id) if peer else None, "scheme": scope["scheme"]}
    await send_json(send, 200, json.dumps(seen).encode())


@contextlib.asynccontextmanager
async def opened(
    folder: Path,
    *,
    seconds: float = 5.0,
    limits: dict[str, Any] | None = None,
    mutual: bool = True,
    **settings: Any,
) -> AsyncIterator[Door]:
    upstream = Upstream()
    serving = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, backlog=512)
    upstream.port = serving.sockets[0].getsockname()[1]
    door = Door(folder, upstream, Limits(**(limits or {})), **settings)
    tls = ServerTls(door.own, door.trust, mutual=mutual)
    listener = door.listener(tls=tls, seconds=seconds)
    await listener.open()
    door.url = listener.url
    door.port = int(listener.url.rpartition(":")[2])
    try:
        yield door
    finally:
        await listener.close()
        await door.forwarder.close()
        serving.close()


async def until(condition, seconds: float = 60.0) -> None:
    for _ in range(round(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")

"""A gate with egress, hosts behind it with certificates of their own, and a way in like a box's.

    async with staged_egress(folder) as stage:
        stage.proxy("coder")      # http://127.0.0.1:PORT, as a client in a box knows it
        stage.hosts.seen          # what reached the hosts

The way in is what ``portcullis run`` does outside of the box: a plain port of loopback whose bytes
go, unchanged, over TLS with the agent's SVID to the listener.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import dns.message
import httpx
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import standins
from e2e.egress.hosts import Hosts, Trusted
from e2e.egress.rules import (
    AGENTS,
    DENIALS,
    FRONT,
    GIVEN,
    HANDWRITTEN,
    INSIDE,
    LIMITED,
    OPEN,
    PLAIN,
    RAW,
    READ,
    SECRET,
    TERMED,
    policy,
)
from portcullis.bootstrap.sharing import secret
from portcullis.config import load
from portcullis.core.event import Event
from portcullis.core.principal import PrincipalKind
from portcullis.core.spiffe import SpiffeId
from portcullis.execution.egress.authority import EgressAuthority
from portcullis.wire.certificates import load_identity, pem

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type's name


@dataclass(frozen=True)
class Acting:
    """An agent with a token that is bound to its SVID, perhaps within a session."""

    agent: str
    session: str
    svid: tuple[tuple[bytes, ...], bytes]
    token: str = field(repr=False)


@dataclass
class EgressStage:
    """Everything that runs. ``trust`` is a file (PEM) of whom a client in a box trusts."""

    stage: standins.Stage
    hosts: Hosts
    ports: dict[str, int]
    folder: Path
    trusted: Trusted
    application: str = ""
    mark: int = 0
    """Where in what reached the hosts this test began."""
    _ways: dict[tuple[str, str], tuple[asyncio.Server, str]] = field(default_factory=dict)
    open: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def authority(self) -> EgressAuthority:
        """The gate's roots, made once more from what it has on disk."""
        services = self.gate.services
        key = secret(load(self.stage.config), services.sealer, "egress-authority")
        return EgressAuthority(key, services.clock)

    @property
    def gate(self) -> Any:
        return self.stage.gate

    @property
    def tls(self) -> int:
        return self.ports["tls"]

    @property
    def plain(self) -> int:
        return self.ports["plain"]

    def url(self, host: str, path: str = "/public/") -> str:
        scheme, port = ("http", self.plain) if host == PLAIN else ("https", self.tls)
        return f"{scheme}://{host}:{port}{path}"

    def events(self) -> list[Event]:
        return self.stage.events()

    def svid(self, agent: str, kind: str = "agent") -> tuple[tuple[bytes, ...], bytes]:
        authority = self.gate.domain.authority
        key = ec.generate_private_key(ec.SECP256R1())
        made = authority.issue(
            SpiffeId(authority.trust_domain, f"/{kind}/{agent}"), key.public_key()
        )
        return made.chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def context(self, agent: str, svid: tuple[tuple[bytes, ...], bytes] | None = None) -> Any:
        """TLS towards the gate, with an agent's SVID."""
        context = ssl.create_default_context(cadata=pem(self.gate.domain.trust.anchors()))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        load_identity(context, *(svid or self.svid(agent)))
        return context

    @property
    def address(self) -> tuple[str, int]:
        url = urlsplit(self.gate.urls["egress"])
        return url.hostname or "", url.port or 0

    async def dial(
        self, agent: str, svid: Any = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.address
        return await asyncio.open_connection(
            host, port, ssl=self.context(agent, svid), server_hostname="localhost"
        )

    async def session(self, agent: str = "coder") -> Acting:
        """Open a session of an agent; its token is bound to the SVID that goes with it."""
        session, token = await self.stage.open_session(self.application, agent, subject={})
        return await self.acting(agent, session, subject_token=token)

    async def acting(self, agent: str, session: str = "", **form: str) -> Acting:
        """A token of an agent's, bound to the SVID that goes with it."""
        who = Acting(agent, session, self.svid(agent), "")
        token, svid = await self._exchanged(who, form)
        return Acting(agent, session, svid, token)

    async def _exchanged(self, who: Acting, form: dict[str, str]) -> tuple[str, Any]:
        if "subject_token" in form:
            form = {"grant_type": EXCHANGE, "subject_token_type": ACCESS_TOKEN} | form
        else:
            form = {"grant_type": "client_credentials"} | form
        url = f"{self.gate.mtls_url}/v1/token"
        async with (
            aiohttp.ClientSession() as http,
            http.post(url, data=form, ssl=self.context(who.agent, who.svid)) as answer,
        ):
            said = await answer.json(content_type=None)
            assert answer.status == 200, said
        return said["access_token"], who.svid

    async def delegated(self, own: Acting, audience: str) -> str:
        """A delegation by ``own`` to whoever ``audience`` names."""
        return (await self._exchanged(own, {"subject_token": own.token, "audience": audience}))[0]

    def as_agent(self, agent: str, token: str) -> Acting:
        """An agent with its own SVID, and a token that is another's delegation."""
        return Acting(agent, "", self.svid(agent), token)

    async def close(self, session: str) -> None:
        """End a session as its application does."""
        headers = {"authorization": f"Bearer {self.application}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.delete(f"{self.gate.gate_url}/v1/sessions/{session}") as answer,
        ):
            assert answer.status == 204

    async def planted(self, who: Acting) -> str:
        """The canary in the system prompt of a session, as its model was given it."""
        asked = {
            "model": "gpt-standin",
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Hi."},
            ],
        }
        url = f"{self.gate.mtls_url}/openai/v1/chat/completions"
        headers = {"authorization": f"Bearer {who.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(url, json=asked, ssl=self.context(who.agent, who.svid)) as answer,
        ):
            assert answer.status == 200, await answer.text()
        found = re.search(r"in every form: ([^\s\"\\]+)", repr(self.stage.model.seen))
        assert found is not None
        return found[1]

    def port_of(self, url: str) -> tuple[str, int]:
        """Host and port of a URL."""
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or 0

    def slow(self) -> int:
        """How many requests have begun to be answered and wait."""
        return sum(path == "/public/slow" for _, _, path, _, _ in self.hosts.seen[self.mark :])

    async def until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - a host's list tells nobody
                await asyncio.sleep(0.01)

    async def proxy(self, who: str | Acting = "coder") -> str:
        """The address of the proxy as a client in the agent's box knows it."""
        agent, token = (who, "") if isinstance(who, str) else (who.agent, who.token)
        known = self._ways.get((agent, token))
        if known is None:
            context = self.context(agent, None if isinstance(who, str) else who.svid)

            async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task is not None
                self.open.add(task)
                task.add_done_callback(self.open.discard)
                host, port = self.address
                out = await asyncio.open_connection(
                    host, port, ssl=context, server_hostname="localhost"
                )
                if token:
                    out[1].write(
                        b"POST /session HTTP/1.1\r\nhost: gate\r\ncontent-length: 0\r\n"
                        b"authorization: Bearer " + token.encode() + b"\r\n\r\n"
                    )
                    await out[0].readuntil(b"\r\n\r\n")
                try:
                    await asyncio.gather(_pipe(reader, out[1]), _pipe(out[0], writer))
                except asyncio.CancelledError:
                    pass  # the end of the tests
                finally:
                    out[1].transport.abort()
                    writer.close()

            server = await asyncio.start_server(came, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            known = self._ways[agent, token] = (server, f"http://127.0.0.1:{port}")
        return known[1]

    async def trust(self, agent: str = "coder") -> Path:
        """A file of whom a client in the agent's box trusts: the hosts', and the gate's root."""
        place = self.folder / f"trust-{agent}.pem"
        if not place.exists():
            reader, writer = await self.dial(agent)
            writer.write(b"GET /authority.pem HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n")
            answer = await reader.read(-1)
            writer.close()
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 20"), head
            place.write_text(self.trusted.pem() + body.decode())
        return place

    @contextlib.asynccontextmanager
    async def http(self, who: str | Acting = "coder") -> AsyncIterator[httpx.AsyncClient]:
        """A client in an agent's box."""
        agent = who if isinstance(who, str) else who.agent
        trust = ssl.create_default_context(cafile=await self.trust(agent))
        proxy = await self.proxy(who)
        async with httpx.AsyncClient(proxy=proxy, verify=trust, timeout=20) as http:
            yield http

    @contextlib.asynccontextmanager
    async def tunnel(
        self, who: str | Acting = "coder", host: str = OPEN, port: int | None = None
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A CONNECT that was let through: what follows is the tunnel."""
        agent = who if isinstance(who, str) else who.agent
        reader, writer = await self.dial(agent, None if isinstance(who, str) else who.svid)
        token = "" if isinstance(who, str) else f"proxy-authorization: Bearer {who.token}\r\n"
        try:
            where = f"{host}:{port or self.tls}"
            writer.write(f"CONNECT {where} HTTP/1.1\r\nhost: {where}\r\n{token}\r\n".encode())
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200"):
                    raise Refused(code_in((head + await reader.read(-1)).decode()))
            yield reader, writer
        finally:
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def waiting(self, who: str | Acting = "coder") -> AsyncIterator[Waiting]:
        """A tunnel that is not read, through which a request waits for its answer's end."""
        async with self.tunnel(who) as (reader, writer):
            inner = ssl.create_default_context(cadata=self.trusted.pem())
            into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = inner.wrap_bio(into, out, server_hostname=OPEN)
            made = Waiting(reader, writer, tls, into, out)
            await made.begin()
            yield made

    async def resolve(self, *names: str, agent: str = "coder", kind: str = "A") -> list[Any]:
        """What a resolver in the agent's box is answered, over one connection."""
        reader, writer = await self.dial(agent)
        found = []
        try:
            for name in names:
                asked = dns.message.make_query(name, kind).to_wire()
                head = (
                    "POST /dns-query HTTP/1.1\r\nhost: gate\r\n"
                    f"content-type: application/dns-message\r\ncontent-length: {len(asked)}\r\n\r\n"
                )
                writer.write(head.encode() + asked)
                async with asyncio.timeout(10):
                    answer = await reader.readuntil(b"\r\n\r\n")
                    length = int(answer.lower().partition(b"content-length: ")[2].split(b"\r")[0])
                    body = await reader.readexactly(length)
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise Refused(code_in(body.decode()))
                found.append(dns.message.from_wire(body))
        finally:
            writer.transport.abort()
        return found

    async def ask(self, data: bytes, agent: str = "coder") -> bytes:
        """What the listener answers to these bytes, until it closes."""
        reader, writer = await self.dial(agent)
        try:
            writer.write(data)
            async with asyncio.timeout(5):
                return await reader.read(-1)
        finally:
            writer.transport.abort()

    async def recorded(self, code: str, agent: str = "", **fields: Any) -> Event:
        """Wait for an event with this code, of this agent."""
        return await standins.eventually(
            self.stage,
            lambda event: (
                event.code == code
                and (not agent or event.principal == agent)
                and all(getattr(event, name) == value for name, value in fields.items())
            ),
        )

    async def end(self) -> None:
        for server, _ in self._ways.values():
            server.close()
        for task in tuple(self.open):
            task.cancel()
        await asyncio.gather(*self.open, return_exceptions=True)


class Refused(Exception):  # noqa: N818 - it says what happened
    """The one argument is the code."""


@dataclass
class Waiting:
    """TLS with ``OPEN`` through a tunnel. ``left`` returns at the end, or when it is cut."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    tls: ssl.SSLObject
    into: ssl.MemoryBIO
    out: ssl.MemoryBIO

    async def begin(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._more()
        self.tls.write(f"GET /public/slow HTTP/1.1\r\nhost: {OPEN}\r\n\r\n".encode())
        self.writer.write(self.out.read())
        while True:
            try:
                if b"begun" in self.tls.read(65536):
                    return
            except ssl.SSLWantReadError:
                await self._more()

    async def _more(self) -> None:
        self.writer.write(self.out.read())
        async with asyncio.timeout(10):
            data = await self.reader.read(65536)
        assert data, "the tunnel was cut"
        self.into.write(data)

    async def left(self) -> None:
        """Return once nothing comes any more."""
        with contextlib.suppress(OSError):
            while await self.reader.read(65536):
                pass


def code_in(text: str) -> str:
    found = re.search(r"PC\d{4}", text)
    return found[0] if found else ""


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()


@contextlib.asynccontextmanager
async def staged_egress(folder: Path, **sections: Any) -> AsyncIterator[EgressStage]:
    """Run it all in ``folder``; ``sections`` are further ones of the configuration."""
    hosts, trusted = Hosts(), Trusted()
    runner = web.AppRunner(hosts.app(), access_log=None)
    await runner.setup()
    context = trusted.context("*.allowed.test")
    secured = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    bare = web.TCPSite(runner, "127.0.0.1", 0)
    await secured.start()
    await bare.start()
    raw = await asyncio.start_server(hosts.scripted, "127.0.0.1", 0)
    try:
        ports = {
            name: site._server.sockets[0].getsockname()[1]
            for name, site in (("tls", secured), ("plain", bare))
        }
        ports["raw"] = raw.sockets[0].getsockname()[1]
        (folder / "hosts.pem").write_text(trusted.pem())
        (folder / "partner.key").touch(mode=0o600)
        (folder / "partner.key").write_text(SECRET)
        reached = (OPEN, READ, GIVEN, PLAIN, RAW)
        settings = {
            "listen": dict.fromkeys(("gate", "control", "mtls", "egress"), "127.0.0.1:0")
            | {"workload": None},
            "egress": {
                "resolve": {name: ["127.0.0.1"] for name in (*reached, FRONT, INSIDE)},
                "private": {name: ["127.0.0.0/8"] for name in reached},
                "authorities": str(folder / "hosts.pem"),
                "credentials": {"partner": {"credential": f"file:{folder / 'partner.key'}"}},
            },
            "breakers": {"agent": {"denials": DENIALS, "errors": None}},
            "limits": {"held_bytes": 65536, "result_bytes": 2**20, "body_bytes": 2**18},
            "review": {"actions": ["tool", "egress"]},
            **sections,
        }
        text = policy(ports)
        (folder / "policy").mkdir()
        (folder / "policy" / "terms.rego").write_text(HANDWRITTEN)
        async with standins.staged(folder, policy=text, settings=settings) as stage:
            made = EgressStage(stage, hosts, ports, folder, trusted)
            for agent in (*AGENTS, *LIMITED, TERMED):
                await stage.create(PrincipalKind.AGENT, agent)
            made.application = await stage.register(PrincipalKind.APPLICATION, "helpdesk")
            try:
                yield made
            finally:
                hosts.go.set()
                await made.end()
    finally:
        raw.close()
        await runner.cleanup()

"""One gate with good and misbehaving upstreams behind it, and what the tests need to look at."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mcp import Client

import standins
from domains import Domain
from e2e.matrix.cells import until
from e2e.matrix.peer import Peer
from e2e.matrix.seen import Seen, code_in
from e2e.matrix.upstreams import PeerOverHttp, Provider
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.core.call import Context
from portcullis.core.event import Event
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.spiffe import SpiffeId
from portcullis.demo.serve import serving
from portcullis.identity.bundle import decode
from portcullis.policy.windows import DAYS

ITSELF = (sys.executable, "-c", "from portcullis.cli import main; main()")
PORTCULLIS = [*ITSELF]
"""What is run as ``portcullis``; in this folder's tests a fork of what has loaded (`wrappers`)."""
HERE = Path(__file__).parent
APPLICATION = "matrix"
RIVAL = "rival-agent"
LEAD = "lead-agent"
"""May do less than the others: its role is ``reader``."""
GUEST = "guest-agent"
"""Has its SVID from ``PARTNER``."""
PARTNER = "partner.example"
WARY = "wary-agent"
"""Its role blocks what others' only masks, marks or lets pass."""
LENIENT = "lenient-agent"
"""Its role lets pass what cannot be read."""
SOURCED = "sourced-agent"
"""Its role asks where values come from."""
MINDED = "minded-agent"
"""Its role lets mail addresses pass only if a human does."""
LIMITED = "limited-agent"
"""Has limits of its own, for each of its sessions."""
HURRIED = "hurried-agent"
"""Its sessions are over after two seconds."""
OBLIGED = "obliged-agent"
"""Columns of what it gets are masked, it reaches some data only, and two people have its writes."""
COUNTED = "counted-agent"
"""Has two calls in each of its sessions."""
TERMED = "termed-agent"
"""Has its tools and models on terms; hand-written Rego denies it some."""
HANDWRITTEN = f"""\
package portcullis.custom.matrix

deny contains {{"reason": "not this tool"}} if {{
	input.principal.id == "{TERMED}"
	input.name == "spare"
}}

deny contains {{"reason": "not this model"}} if {{
	input.principal.id == "{TERMED}"
	endswith(input.name, "-refused")
}}
"""
MORTAL = tuple(
    f"mortal-{route}"
    for route in (
        *(f"llm-{kind}-{api}" for kind in ("json", "stream") for api in ("openai", "anthropic")),
        *("mcp-http", "mcp-http-legacy", "mcp-stdio", "guard"),
    )
)
"""One agent for each case: its life is spent by one test."""
BOXED = HERE.parent / "tools/server.py"
"""A server that does what a box is to stop."""
HELD = {
    "boxed": {"command": ["/usr/bin/python3", str(BOXED)], "mounts": [f"{BOXED}:ro"]},
    "unheld": {"command": ["/usr/bin/python3", str(BOXED)], "sandbox": "apart"},
}
"""One in a box, and one whose profile no machine can have without a kernel for it."""
READER = ("say", "misbehave")
SERVERS = ("peer", "piped", "program", "hearsay")
"""The misbehaving server under both its names, and the toolsets of the agent's own program; what
its tools return is trusted in the first."""
REMEMBERING = """\
  SERVER.keep:
    risk: modify
    arguments: {key: {role: selector}, text: {role: payload}}
    memory: {store: shelf, writes: true, record: key}
  SERVER.recall:
    risk: read
    arguments: {key: {role: selector}, text: {role: payload}}
    results: {'': {trusted: destination}}
    memory: {store: shelf, record: key}
"""
LIMITS = f"""\
limits:
  few: {{for: {{agent: {LIMITED}}}, per: session, requests: {{rate: 3/hour, burst: 3}}}}
  little: {{for: {{agent: {LIMITED}}}, per: session, bytes: 3000/session}}
  short: {{for: {{agent: {LIMITED}}}, per: session, tokens: {{output: 100_000/session}}}}
  quick: {{for: {{agent: {HURRIED}}}, session_seconds: 2}}
"""
SEARCHING = """\
  SERVER.search:
    resource: customer_orders
    verb: read
    risk: read
    arguments:
      customer_id: {equals: session.subject.customer_id, log: clear}
"""


def policy() -> str:
    """The demonstration's policy, and ``SERVERS``."""
    text = standins.support_policy()
    text = text.replace("models: [gpt-*,", "models: [probe*, gpt-*,")
    granted = [
        f"{server}.{tool}"
        for server in SERVERS
        for tool in (
            *("say", "write", "spare", "fetch", "typed", "misbehave", "ask", "imaginary"),
            *("keep", "recall"),
        )
    ]
    granted += [f"{server}.{tool}" for server in HELD for tool in ("look", "reach", "hog")]
    asks = ", ".join(f"{server}.elicitation/create" for server in ("peer", "piped"))
    text = text.replace(
        "allowed_tools: [", f"server_requests: [{asks}]\n    allowed_tools: [{', '.join(granted)}, "
    )
    known = (RIVAL, GUEST, LIMITED, HURRIED, *MORTAL)
    agents = "".join(f"\n  {agent}: {{role: support_agent}}" for agent in known)
    read = ", ".join(f"{server}.{tool}" for server in SERVERS for tool in READER)
    reader = (
        f"  reader:\n    models: [gpt-*, claude-*, 'probe:*wait']\n    allowed_tools: [{read}]\n"
    )
    text = text.replace("\nroles:", f"{agents}\n  {LEAD}: {{role: reader}}\n\nroles:\n{reader}", 1)
    for server in SERVERS:
        for tool in ("spare", "typed", "misbehave"):
            text += f"  {server}.{tool}: {{risk: read}}\n"
        text += f"  {server}.ask:\n    risk: read\n    arguments: {{method: {{role: selector}}}}\n"
        text += "    answers: {to: {role: destination, carries: true}}\n"
        text += f"  {server}.say:\n    risk: read\n    arguments: {{text: {{role: payload}}}}\n"
        text += "    results: {'': {trusted: destination}}\n"
        text += f"  {server}.fetch: {{risk: external}}\n"
        text += f"  {server}.write: {{risk: modify, arguments: {{text: {{role: destination}}}}}}\n"
        text += REMEMBERING.replace("SERVER", server)
    for server in HELD:
        for tool in ("look", "reach", "hog"):
            text += f"  {server}.{tool}: {{risk: read, arguments: {{place: {{role: payload}}}}}}\n"
    for server in ("desk", "program"):
        text += SEARCHING.replace("SERVER", server)
    return text + LIMITS


INSPECTION = {
    WARY: {
        "from_model": {"secret": "block"},
        "from_tool": {"secret": "block"},
        "injection": {"user": "block", "tool": "block", "model": "block"},
        "opaque": {"from_tool": "block", "from_model": "block"},
    },
    LENIENT: {"opaque": {"to_model": "allow"}},
    MINDED: {"to_tool": {"EMAIL_ADDRESS": "hold"}, "to_model": {"EMAIL_ADDRESS": "hold"}},
}


DATA = {
    "namespaces": {"argument": "namespace", "results": "items[].namespace"},
    "kinds": {
        "argument": "kind",
        "results": "items[].kind",
        "classes": {"secrets": ["secret", "Secret"], "config_maps": ["cm", "ConfigMap"]},
    },
}


def obliging(policy: dict[str, Any]) -> None:
    """Add the roles ``OBLIGED`` and ``COUNTED``, and what the tools that they have bind."""
    masks = {"customers[].iban": "mask", "customers[].note": "drop", "customers[].id": "hash"}
    owed = {"misbehave": {"mask": masks}, "write": {"approvers": 2, "log": ["text"]}}
    owed["ask"] = owed["misbehave"]
    policy["roles"][OBLIGED] = {
        "server_requests": ["peer.elicitation/create"],
        "data_access": {"namespaces": ["monitoring"], "secrets": False, "config_maps": True},
        "allowed_tools": [
            *({"tool": f"{s}.{t}", "obligations": o} for s in SERVERS for t, o in owed.items()),
            *(f"{server}.records" for server in SERVERS),
        ],
    }
    policy["roles"][COUNTED] = {
        "allowed_tools": [f"{server}.say" for server in SERVERS],
        "resource_limits": {"calls": 2},
    }
    for agent in (OBLIGED, COUNTED):
        policy["agents"][agent] = {"role": agent}
    for server in SERVERS:
        policy["tools"][f"{server}.records"] = {"risk": "read", "data": DATA}
        for name in owed:
            policy["tools"][f"{server}.{name}"]["data"] = "none"


def terming(policy: dict[str, Any]) -> None:
    """Add the role ``TERMED``: one window is open now, the other is not."""
    hour = int(time.time()) // 3600
    begin = {"days": list(DAYS), "zone": "UTC"}
    policy["windows"] = {
        name: begin | {"from": f"{(hour + since) % 24:02}:00", "to": f"{(hour + to) % 24:02}:00"}
        for name, since, to in (("open", -2, 3), ("shut", 6, 9))
    }
    terms = {
        "say": {"when": "arguments.text != 'no' and session.subject.customer_id == 'C-1001'"},
        "write": {"during": "shut"},
        "fetch": {"environments": ["staging"]},
        "typed": {"during": "open", "environments": ["production"], "until": "2999-01-01"},
        "spare": {"during": "open"},
    }
    policy["roles"][TERMED] = {
        "models": [
            *({"model": name, "during": "open"} for name in ("gpt-*", "claude-*", "*-refused")),
            {"model": "night-*", "during": "shut"},
            {"model": "staged-*", "environments": ["staging"]},
        ],
        "allowed_tools": [
            {"tool": f"{server}.{tool}"} | keys
            for server in SERVERS
            for tool, keys in terms.items()
        ],
    }
    policy["agents"][TERMED] = {"role": TERMED}


def inspecting(text: str) -> str:
    """The policy, with a role of their own for those whose content is treated otherwise."""
    policy = yaml.safe_load(text)
    roles = policy["roles"]
    for agent, inspection in INSPECTION.items():
        roles[agent] = roles["support_agent"] | {"inspection": inspection}
        policy["agents"][agent] = {"role": agent}
    policy["quarantine"] = {
        "reads": [f"{server}.say" for server in SERVERS],
        "models": ["gpt-*", "claude-*"],
    }
    roles[SOURCED] = roles["support_agent"] | {"containment": {"destination": "deny"}}
    policy["agents"][SOURCED] = {"role": SOURCED}
    obliging(policy)
    terming(policy)
    return json.dumps(policy)


@dataclass
class Deployment:
    """Everything around one gate. ``token`` is the agent's in its session.

    ``logged`` is what MCP servers had their clients log, ``ran`` what the agent's own program ran.
    """

    stage: standins.Stage
    provider: Provider
    peer: Peer
    peer_key_reference: str
    folder: Path
    partner: Domain
    application: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    session: str = ""
    logged: list[Any] = field(default_factory=list, repr=False)
    ran: list[Any] = field(default_factory=list, repr=False)
    kept: dict[Any, Kept] = field(default_factory=dict, repr=False)
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        return self.stage.gate.gate_url

    @property
    def config(self) -> Path:
        return self.stage.config

    @property
    def piped_log(self) -> Path:
        return self.folder / "piped.log"

    async def log(self, params: Any) -> None:
        """For clients: the callback of log messages."""
        self.logged.append(params.data)

    def configured(self) -> dict[str, Any]:
        """The configuration file, as it was written."""
        return yaml.safe_load(self.config.read_text())

    async def begin(self) -> None:
        """Register who acts, and open the session that they act in."""
        others = (WARY, LENIENT, MINDED, SOURCED, LIMITED, HURRIED, OBLIGED, COUNTED, TERMED)
        for agent in (standins.AGENT, RIVAL, LEAD, *others):
            await self.stage.register(PrincipalKind.AGENT, agent)
        self.application = await self.stage.register(PrincipalKind.APPLICATION, APPLICATION)
        self.session, self.token = await self.open()

    async def open(
        self, agent: str = standins.AGENT, tools: list[str] | None = None, **session: Any
    ) -> tuple[str, str]:
        """Open a session; its id and its token."""
        return await self.stage.open_session(
            self.application, agent, subject=standins.SUBJECT, tools=tools, **session
        )

    def svid(self, agent: str) -> tuple[tuple[bytes, ...], bytes]:
        """A new SVID of an agent as the authority issues it: its chain (DER) and key (PEM)."""
        authority = self.stage.gate.domain.authority
        key = ec.generate_private_key(ec.SECP256R1())
        made = authority.issue(
            SpiffeId(authority.trust_domain, f"/agent/{agent}"), key.public_key()
        )
        return made.chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def assertion(self, agent: str) -> str:
        """A new JWT-SVID of an agent, for the gate."""
        authority = self.stage.gate.domain.authority
        domain = authority.trust_domain
        audience = [f"spiffe://{domain}/gateway/gate"]
        return authority.sign_jwt(SpiffeId(domain, f"/agent/{agent}"), audience).token

    async def admit_guest(self) -> None:
        """Trust the partner's trust domain, and know ``GUEST`` by its SPIFFE ID there."""
        services, trust = self.stage.gate.services, self.stage.gate.domain.trust
        trust.put(decode(PARTNER, self.partner.document()))
        spiffe_id = f"spiffe://{PARTNER}/ns/shop/sa/guest"
        if services.feed.named(spiffe_id) is None:
            principals = services.principals("test")
            await principals.create(
                operator(), PrincipalKind.AGENT, GUEST, owner="partner", spiffe_id=spiffe_id
            )
            await until(lambda: services.feed.named(spiffe_id))

    async def change(self, agent: str, verb: Verb) -> None:
        """Suspend, resume or revoke an agent as an operator does."""
        principals = self.stage.gate.services.principals("test")
        await principals.change(operator(), PrincipalKind.AGENT, agent, verb)

    async def rotate(self, agent: str) -> None:
        """Make an agent's credentials worthless as an operator does."""
        principals = self.stage.gate.services.principals("test")
        await principals.rotate(operator(), PrincipalKind.AGENT, agent)

    async def mint(self, agent: str) -> str:
        """A token of an agent that is bound to no key."""
        principals = self.stage.gate.services.principals("test")
        return (await principals.mint(operator(), PrincipalKind.AGENT, agent)).token

    async def join(self, agent: str) -> str:
        """A one-time join token for an agent."""
        entries = self.stage.gate.services.entries("test")
        return (await entries.join(operator(), PrincipalKind.AGENT, agent, ttl=60)).token

    @contextlib.asynccontextmanager
    async def entry(self, agent: str, *selectors: str) -> AsyncIterator[None]:
        """A registration entry for as long as the block lasts."""
        entries = self.stage.gate.services.entries("test")
        made = await entries.add(operator(), PrincipalKind.AGENT, agent, selectors=selectors)
        try:
            yield
        finally:
            await entries.remove(operator(), made.id)

    async def close_session(self, session: str) -> None:
        headers = {"authorization": f"Bearer {self.application}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.delete(f"{self.url}/v1/sessions/{session}") as answer,
        ):
            assert answer.status == 204

    async def post(
        self, path: str, body: bytes, headers: list[tuple[str, str]], *, token: str | None
    ) -> Seen:
        """A request that no well-behaved client sends: its headers in order, repeated or not."""
        if token is not None:
            headers = [*headers, ("authorization", f"Bearer {token}")]
        host, _, port = self.url.removeprefix("http://").partition(":")
        lines = [f"POST {path} HTTP/1.1", f"host: {host}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        if not any(name.lower() == "transfer-encoding" for name, _ in headers):
            lines.append(f"content-length: {len(body)}")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        async with asyncio.timeout(30):
            answer = (await reader.read()).decode()
        writer.close()
        status = int(answer.split()[1])
        return Seen(failed=status >= 400, code=code_in(answer), text=answer)

    async def first_event(self, path: str, session: str, token: str, *, after: str = "") -> str:
        """Listen in a legacy session until its first event; the event's id, empty if refused."""
        headers = {
            "authorization": f"Bearer {token}",
            "accept": "text/event-stream",
            "mcp-session-id": session,
        }
        if after:
            headers["last-event-id"] = after
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.get(self.url + path) as answer,
        ):
            async for line in answer.content:
                if line.startswith(b"id: "):
                    return line[4:].decode().strip()
        return ""

    @contextlib.contextmanager
    def without(self, table: str) -> Iterator[None]:
        """The database lacks a table for as long as the block lasts."""
        database = self.config.parent / "state/portcullis.db"
        with contextlib.closing(sqlite3.connect(database)) as db:
            db.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
            try:
                yield
            finally:
                db.execute(f"ALTER TABLE elsewhere RENAME TO {table}")

    def peer_saw(self, *, piped: bool = False) -> list[dict[str, Any]]:
        log = self.piped_log if piped else self.peer.log
        if not log.exists():
            return []
        return [json.loads(line) for line in log.read_text().splitlines()]

    def events(self, *, piped: bool = False) -> list[Event]:
        """The events of the gate's log, or of all logs of wrapped servers."""
        folders = [self.stage.gate.audit_directory]
        if piped:
            folders = sorted((self.config.parent / "state" / "mcp").glob("*"))
        return [
            record.event
            for folder in folders
            if (folder / "checkpoint").exists()
            for record in records(folder, own_verifier(folder))
        ]

    async def keep(self, key: Any, make: Callable[[], Client]) -> Client:
        """A client that lives until the deployment ends."""
        if key not in self.kept:
            self.kept[key] = Kept(make)
        return await asyncio.shield(self.kept[key].ready)

    async def process(self, command: list[str], token: str) -> asyncio.subprocess.Process:
        """A wrapped server whose standard streams are ours, initialized."""
        if token not in self.processes:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={"PORTCULLIS_TOKEN": token, "PATH": "/usr/bin:/bin"},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            self.processes[token] = process
            asked = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"},
            }
            message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": asked}
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(message).encode() + b"\n")
            async with asyncio.timeout(60):
                assert b"protocolVersion" in await process.stdout.readline()
        return self.processes[token]

    async def end(self) -> None:
        for process in self.processes.values():
            assert process.stdin is not None
            process.stdin.close()
        await asyncio.gather(
            *(kept.end() for kept in self.kept.values()),
            *(process.wait() for process in self.processes.values()),
        )


class Kept:
    """A client in a task of its own, so that it may outlive the test that asked for it."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self.ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._live(make))

    async def _live(self, make: Callable[[], Client]) -> None:
        try:
            async with make() as client:
                self.ready.set_result(client)
                await self._over.wait()
        except BaseException as error:
            if self.ready.done():
                raise
            self.ready.set_exception(error)

    async def end(self) -> None:
        self._over.set()
        with contextlib.suppress(Exception):
            await self._task


def operator() -> Context:
    """An operator of this machine."""
    now = time.time()
    local = Principal(
        kind=PrincipalKind.OPERATOR,
        id="local-test",
        credential="local",
        expires_at=now + 60,
        roles=("admin",),
    )
    return Context(
        principal=local,
        session=None,
        source="local",
        trace_id=secrets.token_hex(16),
        received_at=now,
    )


def kept(place: Path, value: str) -> str:
    """Write a secret where only we can read it; the reference to it."""
    place.touch(mode=0o600)
    place.write_text(value)
    return f"file:{place}"


@contextlib.asynccontextmanager
async def deployed(
    folder: Path, *, limits: Mapping[str, Any] | None = None, **sections: Any
) -> AsyncIterator[Deployment]:
    """A gate with everything behind it, in ``folder``, which is there and empty.

    ``sections`` are others of the configuration.
    """
    keys = {name: f"{name}-{secrets.token_urlsafe(24)}" for name in ("provider", "peer")}
    references = {name: kept(folder / f"{name}.key", value) for name, value in keys.items()}
    provider, peer = Provider(keys["provider"]), Peer(folder / "peer.log", keys["peer"])
    async with serving(provider) as model_url, serving(PeerOverHttp(peer)) as peer_url:
        model = {"url": model_url, "credential": references["provider"], "serves": ["probe*"]}
        settings = {
            "models": {
                "probe-openai": model | {"shape": "openai"},
                "probe-anthropic": model | {"shape": "anthropic"},
            },
            "mcp": {"peer": {"url": peer_url, "credential": references["peer"]}} | HELD,
            "sandbox": {"profiles": {"apart": {"demands": ["kernel"]}}},
            "guard": {"program": {"trusted": True}, "hearsay": {}},
            "limits": dict(limits or {}),
            "review": {"actions": ["tool", "model"]},
            "breakers": {"agent": {"enabled": False}, "upstream": {"enabled": False}},
            "listen": dict.fromkeys(("gate", "control", "mtls"), "127.0.0.1:0")
            | {"workload": "w.sock"},
            **sections,
        }
        (folder / "policy").mkdir(exist_ok=True)
        (folder / "policy" / "matrix.rego").write_text(HANDWRITTEN, encoding="utf-8")
        async with standins.staged(folder, policy=inspecting(policy()), settings=settings) as stage:
            partner = Domain(PARTNER, folder / "partner")
            made = Deployment(stage, provider, peer, references["peer"], folder, partner)
            await made.begin()
            try:
                yield made
            finally:
                await made.end()

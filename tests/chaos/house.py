"""The fleet of a storm: a control plane and gateways, each in a namespace, and what they need.

    async with house(folder) as made:
        made.kill("east"); await made.start("east"); await made.ready("east")

Clients reach each part at ``made.urls[NAME]``, by a way that leads into its namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from chaos.disk import Disk
from chaos.history import Killed, Received
from chaos.network import Network
from chaos.servers import Database, RedisServer
from chaos.shim import Shim, compiled
from chaos.upstream import PROMPT, upstream
from portcullis.audit.note import Verifier
from portcullis.bootstrap import authority_of
from portcullis.config import load
from portcullis.core.principal import PrincipalKind
from postgres_servers import USER

CONTROL, GATEWAYS = "control", ("east", "west")
PORTS = {CONTROL: 7301, "east": 7310, "west": 7320, "redis": 7330, "postgres": 7340}
DESK, MODEL = 7350, 7351
LEASE, HEARTBEAT = 1.0, 0.2
CALLS, TOKENS = 5, 60
"""What a session may spend: calls of the tool ``spend``, tokens of output."""
ACCOUNT = "DE89370400440532013000"
TOOLS = ("read", "post", "spend", "pay", "note")
AGENTS = 24


def policy() -> dict[str, Any]:
    role = {
        "allowed_tools": [f"desk.{name}" for name in TOOLS],
        "models": ["gpt-*"],
        "inspection": {"to_tool": {"IBAN_CODE": "hold"}},
    }
    payload = {"text": {"role": "payload"}}
    tools = {f"desk.{name}": {"risk": "external", "arguments": payload} for name in TOOLS}
    tools["desk.read"] = {
        "risk": "read",
        "arguments": {"text": {"role": "selector"}},
        "results": {"text": {"confidentiality": "confidential"}},
    }
    tools["desk.pay"]["arguments"] = payload | {"account": {"role": "payload"}}
    tools["desk.note"] = {"risk": "modify", "arguments": payload}
    return {
        "version": 1,
        "agents": {f"agent-{n}": {"role": "clerk", "owner": "shop"} for n in range(AGENTS)},
        "roles": {"clerk": role},
        "tools": tools,
        "containment": {},
        "limits": {
            "spending": {"for": {"tool": "desk.spend"}, "calls": f"{CALLS}/session"},
            "words": {"for": {"model": "gpt-*"}, "tokens": {"output": f"{TOKENS}/session"}},
        },
    }


@dataclass(frozen=True)
class Session:
    agent: str
    id: str
    token: str


@dataclass(frozen=True)
class Seen:
    """A log as it was: the key that signs it, a checkpoint, and how many entries were there."""

    verifier: Verifier
    checkpoint: bytes | None
    entries: int


@dataclass
class House:
    folder: Path
    network: Network
    disk: Disk
    library: Path
    redis: RedisServer
    database: Database
    programs: Mapping[str, tuple[str, ...]]
    books: list[Received] = field(default_factory=list)
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)
    """The names of those that were started, in their order: who is there again had died."""
    shims: dict[str, Shim] = field(default_factory=dict)
    victims: list[tuple[Session, Killed]] = field(default_factory=list)
    """Who was killed in earlier rounds, and stays so."""
    seen: dict[str, Seen] = field(default_factory=dict)
    """What was seen of each log before: it may only grow."""
    took: float = 0.0
    """Seconds until everybody served for the first time: how fast this machine is now."""
    urls: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "portcullis.yaml"

    def logs(self) -> dict[str, Path]:
        """Where the logs lie of those who serve or rule."""
        return {name: self.disk.place / "logs" / name for name in (CONTROL, *GATEWAYS)}

    def serve(self, name: str) -> None:
        """Start one of the servers, until it is ready. It blocks."""
        with self.network.inside(name):
            (self.redis if name == "redis" else self.database).start()

    def start(self, name: str) -> None:
        """Start one of the fleet's processes."""
        self.starts.append(name)
        self.shims[name] = Shim(self.library, self.folder / f"{name}.faults")
        words = ["control"]
        if name != CONTROL:
            words = ["gateway", "--name", name, "--listen", f"gate=127.0.0.1:{PORTS[name]}"]
        program = self.programs.get(name, _PROGRAM)
        with (self.folder / f"{name}.log").open("ab") as said, self.network.inside(name):
            self.children[name] = subprocess.Popen(
                [*program, *words, "-c", str(self.config)],
                stdout=said,
                stderr=said,
                env=os.environ | self.shims[name].environment,
            )

    def kill(self, name: str) -> int:
        """Kill a part that runs; its exit code."""
        child = self.children[name]
        child.kill()
        return child.wait(30)

    async def revive(self) -> None:
        """Start those again that say that they are not ready, as an orchestrator does."""
        for name in (CONTROL, *GATEWAYS):
            if await self._readiness(name) == 200:
                continue
            child = self.children[name]
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(child.wait, 15)
            child.kill()
            child.wait(30)
            self.start(name)

    async def _readiness(self, name: str) -> int:
        """What a part says to those who balance load; 0 for nothing."""
        limit = aiohttp.ClientTimeout(total=3)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=limit) as http,
                http.get(f"{self.urls[name]}/readyz") as answer,
            ):
                return answer.status
        return 0

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    async def ready(self, name: str, seconds: float = 240) -> None:
        """Wait until it says that it is."""
        deadline = time.monotonic() + seconds
        while await self._readiness(name) != 200:
            assert self.children[name].poll() is None, self.said(name)
            assert time.monotonic() < deadline, self.said(name)
            await asyncio.sleep(0.03)

    async def ask(self, method: str, path: str, body: Any = None, seconds: float = 30) -> Any:
        """What the control plane answers an operator. Raises aiohttp.ClientError, TimeoutError."""
        headers = {"authorization": f"Bearer {self.tokens['operator']}"}
        limit = aiohttp.ClientTimeout(total=seconds)
        url = f"{self.urls[CONTROL]}/api/v1/{path}"
        async with (
            aiohttp.ClientSession(headers=headers, timeout=limit) as http,
            http.request(method, url, json=body) as answer,
        ):
            text = await answer.text()
            if answer.status >= 400:
                raise aiohttp.ClientError(text)
            return json.loads(text) if text else None

    async def principal(self, kind: PrincipalKind, name: str) -> None:
        about = {"kind": kind.value, "id": name, "owner": "shop", "purpose": "a storm"}
        await self.ask("POST", "principals", about)

    async def opened(self, agent: str, gateway: str, seconds: float) -> tuple[str, str]:
        """A new session of an agent's: its id and its token, as soon as there may be one."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return await self._opened(agent, gateway)
            except (aiohttp.ClientError, TimeoutError):
                assert time.monotonic() < deadline, f"{gateway} opens no session"
                await asyncio.sleep(0.1)

    async def _opened(self, agent: str, gateway: str) -> tuple[str, str]:
        asked = {"agent": agent, "user": "ada", "prompt": PROMPT, "subject": {}}
        asked["tools"] = [f"desk.{name}" for name in TOOLS]
        headers = {"authorization": f"Bearer {self.tokens['application']}"}
        limit = aiohttp.ClientTimeout(total=15)
        async with (
            aiohttp.ClientSession(headers=headers, timeout=limit) as http,
            http.post(f"{self.urls[gateway]}/v1/sessions", json=asked) as answer,
        ):
            given = await answer.json(content_type=None)
            if answer.status != 201:
                raise aiohttp.ClientError(given)
            return given["session"], given["token"]


_PROGRAM = (sys.executable, "-c", "from portcullis.cli import main; main()")


async def _way(house: House, name: str) -> asyncio.Server:
    """A listener here, whose connections go on in the namespace of a part, to its own port."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()

    async def led(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with house.network.inside(name):
            way = socket.socket()
        way.setblocking(False)  # noqa: FBT003 - its only parameter
        try:
            await asyncio.get_running_loop().sock_connect(way, ("127.0.0.1", PORTS[name]))
        except OSError:
            way.close()
            writer.transport.abort()
            return
        there, out = await asyncio.open_connection(sock=way)
        await asyncio.gather(carry(reader, out), carry(there, writer))

    return await asyncio.start_server(led, "127.0.0.1", 0)


@contextlib.asynccontextmanager
async def house(
    folder: Path, *, programs: Mapping[str, tuple[str, ...]] | None = None, lasting: bool = True
) -> AsyncIterator[House]:
    """Start it all, and end it with the block.

    ``programs`` are started in place of the real one, by name; a Redis that is not ``lasting``
    forgets what it counted when it ends.
    """
    place = folder / "postgres"
    place.mkdir()
    os.chmod(folder, 0o711)  # noqa: PTH101, S103 - the server is another user
    os.chown(place, pwd.getpwnam(USER).pw_uid, -1)
    made = House(
        folder,
        Network(tuple(PORTS), [*PORTS.items(), ("hub", DESK), ("hub", MODEL)]),
        Disk(folder / "state"),
        compiled(folder),
        RedisServer(folder, PORTS["redis"], lasting=lasting),
        Database(place, PORTS["postgres"]),
        programs or {},
    )
    try:
        async with upstream(made.books, desk=DESK, model=MODEL):
            await _furnish(made)
            yield made
    finally:
        for child in made.children.values():
            child.kill()
            child.wait(30)
        if made.redis.runs:
            made.redis.kill()
        made.database.stop(kill=True)
        made.disk.end()


async def _furnish(made: House) -> None:
    """Start the servers, the control plane and then the gateways; register who takes part."""
    began = time.monotonic()
    await asyncio.to_thread(made.serve, "redis")
    made.database.prepare()
    await asyncio.to_thread(made.serve, "postgres")
    address = f"postgresql://{USER}@127.0.0.1:{PORTS['postgres']}/{made.database.make()}"
    _configure(made.folder, address)
    ways = [await _way(made, name) for name in (CONTROL, *GATEWAYS)]
    for name, way in zip((CONTROL, *GATEWAYS), ways, strict=True):
        made.urls[name] = f"http://127.0.0.1:{way.sockets[0].getsockname()[1]}"
        made.start(name)
    await made.ready(CONTROL)
    authority = authority_of(load(made.config))
    who = PrincipalKind.OPERATOR, "local-chaos"
    made.tokens["operator"] = authority.mint(*who, ttl=3600, roles=("admin",)).token
    await made.principal(PrincipalKind.APPLICATION, "helpdesk")
    for number in range(AGENTS):
        await made.principal(PrincipalKind.AGENT, f"agent-{number}")
    minted = await made.ask("POST", "principals/application/helpdesk/tokens", {"ttl_seconds": 3600})
    made.tokens["application"] = minted["token"]
    for name in GATEWAYS:
        await made.ready(name)
    made.took = time.monotonic() - began


def _configure(folder: Path, address: str) -> None:
    """Write the configuration, the policy and the secrets."""
    redis = f"redis://127.0.0.1:{PORTS['redis']}/0"
    for name, value in {"store": address, "redis": redis, "key": "upstream-credential"}.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(value)
    key, at = f"file:{folder / 'key'}", "http://127.0.0.1"
    feed = {"lease_seconds": LEASE, "heartbeat_seconds": HEARTBEAT}
    url = {"via": "redis", "url": f"file:{folder / 'redis'}"}
    served = {"shape": "openai", "serves": ["gpt-*"], "credential": key}
    off = {"enabled": False}
    (folder / "policy").mkdir()
    (folder / "policy/main.yaml").write_text(json.dumps(policy()))  # which has no aliases
    (folder / "portcullis.yaml").write_text(
        yaml.safe_dump(
            {
                "trust_domain": "chaos.example",
                "state": str(folder / "state"),
                "policy": "policy",
                "listen": {
                    "gate": f"127.0.0.1:{PORTS['east']}",
                    "control": f"127.0.0.1:{PORTS[CONTROL]}",
                    "mtls": None,
                    "workload": None,
                },
                "tokens": {"bearer": "loopback", "ttl_seconds": 3600},
                "store": {"url": f"file:{folder / 'store'}"},
                "feed": feed | url,
                "counters": url,
                "shared": {"url": url["url"]},
                "models": {"model": served | {"url": f"{at}:{MODEL}"}},
                "mcp": {"desk": {"url": f"{at}:{DESK}/mcp", "credential": key}},
                "breakers": {"agent": off, "upstream": off},
                "approvals": {"pending_per_agent": 1000, "refusals": 1000},
                "evidence": {"frameworks": []},
            }
        )
    )

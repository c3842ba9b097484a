"""A gate in a process of its own between an agent that sends mails and the outbox.

    async with mailing(tmp_path) as post:
        with post.gate() as running:                     # portcullis up
            url = await running.ready()
            async with post.agent() as send:
                assert await send(url, post.mark()) == ""  # or the code of the refusal

Each mail has a mark of its own, which is the trace of its call, too: ``post.sent()`` has the
marks that reached the outbox, ``post.decided()`` those that the log says were allowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.config import Config
from standins import tools_alone

COMMAND = Path(sys.executable).parent / "portcullis"
AGENT = "sender"
DOMAIN = "mailing.example"
VERSION = "2026-07-28"
POLICY = {
    "version": 1,
    "agents": {AGENT: {"role": "sender", "owner": "tests"}},
    "roles": {"sender": {"permissions": [{"execute": "send_email"}]}},
    "tools": {"mail.send": {"resource": "send_email", "verb": "execute", "risk": "external"}},
}
Send = Callable[[str, str], Awaitable[str]]


class Running:
    """One gate process."""

    def __init__(self, process: subprocess.Popen[bytes], state: Path, said: Path) -> None:
        self.process = process
        self.said = said
        self._place = state / "gate.json"

    def find(self) -> dict[str, Any] | None:
        """What it wrote when it began to listen; None before."""
        assert self.process.poll() is None, self.said.read_text()
        with contextlib.suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(self._place.read_bytes())
            if found["pid"] == self.process.pid:
                return found
        return None

    async def ready(self, seconds: float = 40) -> str:
        """Wait until it listens; its URL for agents."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := self.find():
                return str(found["gate"])
            await asyncio.sleep(0.02)
        raise AssertionError(f"the gate is not up: {self.said.read_text()}")

    async def readiness(self) -> int:
        """What it tells load balancers."""
        found = self.find()
        assert found
        async with aiohttp.ClientSession() as http, http.get(f"{found['control']}/readyz") as told:
            return told.status


class Mailing:
    """The outbox, the agent and where the gate's state lies."""

    def __init__(
        self, folder: Path, state: Path, mail: str, audit: Mapping[str, Any], within: Sequence[str]
    ) -> None:
        self.folder = folder
        self.state = state
        self.config = folder / "portcullis.yaml"
        self._within = tuple(within)
        (folder / "policy").mkdir()
        (folder / "policy" / "main.yaml").write_text(json.dumps(POLICY))
        free = "127.0.0.1:0"
        sections = {
            "trust_domain": DOMAIN,
            "state": "state",
            "listen": {"gate": free, "control": free, "mtls": free, "workload": None},
            "tokens": {"bearer": "loopback", "ttl_seconds": 3600},
            "mcp": {"mail": {"url": mail, "credential": f"file:{folder / 'credential'}"}},
            "audit": dict(audit),
        }
        self.config.write_text(yaml.safe_dump(sections))
        who = (AGENT, "--owner", "tests", "--purpose", "sends mails")
        self.token = json.loads(self.run("agent", "create", *who, "--json").stdout)["token"]

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """A command on this gate's state."""
        command = [*self._within, str(COMMAND), *words, "-c", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code, done.stderr
        return done

    @property
    def log(self) -> Path:
        """The gate's log."""
        return self.state / "log"

    @contextlib.contextmanager
    def gate(self) -> Iterator[Running]:
        """Start it; at the end of the block it is killed, unless it has ended."""
        said = self.folder / "gate.output"
        with said.open("wb") as output:
            process = subprocess.Popen(
                [*self._within, str(COMMAND), "up", "-c", str(self.config)],
                stdout=output,
                stderr=output,
            )
        try:
            yield Running(process, self.state, said)
        finally:
            process.kill()
            process.wait()

    @staticmethod
    def mark() -> str:
        """For the next mail."""
        return secrets.token_hex(16)

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[Send]:
        """What sends one mail and returns the code of its refusal, or nothing when it went out.

        Raises aiohttp.ClientError when the gate dies meanwhile.
        """
        envelope = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        headers = {
            "authorization": f"Bearer {self.token}",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": VERSION,
            "mcp-method": "tools/call",
            "mcp-name": "send",
        }
        limit = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(headers=headers, timeout=limit) as http:

            async def send(url: str, mark: str) -> str:
                arguments = {"to": "ada@customer.example", "subject": mark, "body": "It is sent."}
                params = {"_meta": envelope, "name": "send", "arguments": arguments}
                asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
                traced = {"traceparent": f"00-{mark}-{'1' * 16}-01"}
                async with http.post(f"{url}/mcp/mail", json=asked, headers=traced) as answer:
                    said = await answer.json(content_type=None)
                if "error" in said:
                    return str(said["error"]["data"]["code"])
                assert answer.status == 200
                assert not said["result"].get("isError"), said
                return ""

            yield send

    def sent(self) -> set[str]:
        """The marks of the mails that reached the outbox."""
        with contextlib.closing(sqlite3.connect(self.folder / "company.db")) as database:
            return {subject for (subject,) in database.execute("SELECT subject FROM outbox")}

    def decided(self, upto: int | None = None) -> set[str]:
        """The marks whose sending the log says was allowed, among its first ``upto`` entries."""
        return {
            record.event.trace_id
            for record in records(self.log, own_verifier(self.log))
            if record.event.type == "tool_call"
            and record.event.verdict == "allow"
            and (upto is None or record.index < upto)
        }


@contextlib.asynccontextmanager
async def mailing(
    folder: Path,
    *,
    state: Path | None = None,
    audit: Mapping[str, Any] | None = None,
    within: Sequence[str] = (),
) -> AsyncIterator[Mailing]:
    """The outbox runs here. The gate's configuration is in ``folder``, its state below it.

    ``state`` is where this process sees that state, ``within`` what commands begin with that
    see it as the gate does. ``audit`` is that section of the configuration.
    """
    async with tools_alone(folder) as (urls, credential, _):
        (folder / "credential").touch(mode=0o600)
        (folder / "credential").write_text(credential)
        yield Mailing(folder, state or folder / "state", urls["mail"], audit or {}, within)


def configuration(folder: Path) -> Config:
    """The configuration of a gate that is to run in ``folder``, as far as its log is concerned."""
    return Config(trust_domain=DOMAIN, state=folder / "state")


def killed(running: Running) -> None:
    """Kill a gate without warning."""
    running.process.kill()
    assert running.process.wait() == -signal.SIGKILL, running.said.read_text()

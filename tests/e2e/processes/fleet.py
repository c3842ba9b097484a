"""Processes as an operator starts them, around the demonstration's model and tools."""

import asyncio
import collections
import contextlib
import json
import os
import secrets
import signal
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx2
import yaml
from click.testing import CliRunner

import standins
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap import SystemClock, authority_of, keys_of
from portcullis.bootstrap.presence import found_in
from portcullis.cli import command
from portcullis.cli.operate import running_gate
from portcullis.cli.remote import Remote
from portcullis.config import load
from portcullis.config.places import gateway_file, logs_of
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.identity.following import follow_authority
from portcullis.identity.sealing import Envelope

PORTCULLIS = [sys.executable, "-c", "from portcullis.cli import main; main()"]
PATIENCE = 90
"""Seconds that processes get to start on a busy machine."""

COUNTED = "counted-agent"
"""May do ten things in an hour."""


def policy():
    """The demonstration's; a mail address goes to no tool without a human."""
    text = yaml.safe_load(standins.support_policy())
    role = text["roles"]["support_agent"]
    role["inspection"] |= {"to_tool": {"EMAIL_ADDRESS": "hold"}}
    role["allowed_tools"] += ["program.look", "program.glance"]
    text["tools"] |= {"program.look": {"risk": "read"}, "program.glance": {"risk": "read"}}
    text["agents"][COUNTED] = {"role": "support_agent"}
    shared = {"for": {"agent": COUNTED}, "requests": {"rate": "10/hour", "burst": 10}}
    text["limits"] = {"shared": shared}
    return yaml.safe_dump(text)


@dataclass
class Fleet:
    """``stage`` is as with one gate; ``children`` are the processes that were started here."""

    folder: Any
    stage: Any = None
    application: str = ""
    children: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    @property
    def config(self):
        return load(self.folder / "portcullis.yaml")

    async def start(self, name, *words):
        """Start a command; what it says is in ``NAME.log``."""
        with (self.folder / f"{name}.log").open("ab") as said:
            self.children[name] = await asyncio.create_subprocess_exec(
                *PORTCULLIS, *words, cwd=self.folder, stderr=said
            )
        return self.children[name]

    async def stop(self, name, number=signal.SIGTERM):
        """End one that was started here; its exit code."""
        child = self.children.pop(name)
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)
        return await child.wait()

    def said(self, name):
        """What a command said."""
        return (self.folder / f"{name}.log").read_text()

    def pid(self, name):
        """The process of a gateway that serves."""
        found = found_in(gateway_file(self.config, name))
        return None if found is None else found.pid

    async def run(self, *words, code=0):
        """A command to its end, in this process: what it printed, or its refusal.

        It ends with ``code``, or as it likes where that is None.
        """
        name, *rest = words

        def invoke():
            rest_of = [*rest, "--config", str(self.folder / "portcullis.yaml")]
            return CliRunner().invoke(command(name), rest_of)

        done = await asyncio.to_thread(invoke)
        if isinstance(done.exception, Problem):
            assert code, done.exception
            return str(done.exception)
        assert code is None or done.exit_code == code, (done.output, done.exception)
        return done.stdout

    async def asked(self, work):
        """What the control plane says to ``work``, which gets a ``Remote``."""

        def ask():
            return work(Remote(running_gate(self.config).control, authority_of(self.config)))

        return await asyncio.to_thread(ask)

    async def create(self, kind, name, **more):
        """Register a principal."""
        more = more or {"purpose": "a test"}
        await self.asked(lambda remote: remote.create(kind, name, owner="demo", **more))

    async def token(self, kind, name):
        """A token that is bound to no key."""
        return (await self.asked(lambda remote: remote.bearer(kind, name))).token

    async def agent(self, name=standins.AGENT):
        """The token of a new session of an agent, which is registered where it is not yet."""
        with contextlib.suppress(Exception):
            await self.create(PrincipalKind.AGENT, name)
        return (await self.opened(name))[1]

    async def opened(self, name=standins.AGENT):
        """A new session's id and token."""
        subject = standins.SUBJECT
        return await self.stage.open_session(self.application, name, subject=subject)

    def authority(self):
        """The trust domain's authority, as its files say."""
        config = self.config
        return follow_authority(
            config.state / "ca",
            trust_domain=config.trust_domain,
            settings=config.identity,
            sealer=Envelope(keys_of(config)),
            clock=SystemClock(),
            new_id=lambda: secrets.token_hex(16),
        )

    def events(self, name=None):
        """What the log of this name holds, or all logs."""
        found = logs_of(self.config)
        return [
            record.event
            for log, place in found.items()
            if name in {None, log}
            for record in records(place, own_verifier(place))
        ]

    async def look(self, token, times=1):
        """Ask for a guarded call that many times, on as many connections; what came back."""

        async def once():
            headers = {"authorization": f"Bearer {token}"}
            async with httpx2.AsyncClient(headers=headers, timeout=20) as http:
                return await http.post(f"{self.stage.gate.gate_url}/v1/calls", json=LOOK)

        return await asyncio.gather(*(once() for _ in range(times)))

    async def codes(self, token, times=1):
        """The same, as a count of codes; "" for what is allowed."""
        answers = [answer.json() for answer in await self.look(token, times)]
        return collections.Counter(one.get("code", "") for one in answers)

    async def ready(self, *names):
        """Wait until these gateways serve."""
        await until(lambda: all(map(self.pid, names)), PATIENCE)

    async def fresh(self):
        """Wait until a gateway says that it is ready, and who rules says where it listens."""

        async def now():
            with contextlib.suppress(httpx2.TransportError):
                async with httpx2.AsyncClient(timeout=5) as http:
                    url = f"{self.stage.gate.gate_url}/readyz"
                    ready = (await http.get(url)).status_code == 200
                return ready and running_gate(self.config) is not None

        await until(now, PATIENCE)


LOOK = {
    "toolset": "program",
    "tool": {
        "name": "look",
        "description": "Looks.",
        "inputSchema": {"type": "object", "properties": {}},
    },
    "arguments": {},
}


async def until(found, seconds=60.0):
    """Wait for something to be so; what it was in the end."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        value = found()
        value = await value if asyncio.iscoroutine(value) else value
        if value:
            return value
        assert loop.time() < end, "it did not come to be"
        await asyncio.sleep(0.03)


@contextlib.asynccontextmanager
async def fleet(folder, *commands, gateways, says=None, settings=None, said=None):
    """Run ``commands`` (a name and words each) until the block ends; ``gateways`` have to serve.

    The next one is started when the one before has said what ``says`` has of it. ``settings`` are
    further sections of the configuration, ``said`` is another policy.
    """
    made = Fleet(folder)

    @contextlib.asynccontextmanager
    async def running(config):
        try:
            for name, *words in commands:
                await made.start(name, *words)
                wanted = (says or {}).get(name, "")
                await until(lambda: wanted in made.said(name), PATIENCE)  # noqa: B023 - at once
            await until(lambda: running_gate(config), PATIENCE)
            await made.ready(*gateways)
            urls = json.loads((config.state / "gate.json").read_text())
            first = json.loads(gateway_file(config, gateways[0]).read_text())
            urls = {name: url for name, url in (urls | first).items() if "://" in str(url)}
            yield SimpleNamespace(
                urls=urls,
                gate_url=urls["gate"],
                mtls_url=urls["mtls"],
                control_url=urls["control"],
            )
        finally:
            for name in tuple(made.children):
                await made.stop(name)

    sections = {"guard": {"program": {}}, "limits": {"drain_seconds": 2}} | (settings or {})
    async with standins.staged(
        folder, policy=said or policy(), settings=sections, running=running
    ) as made.stage:
        await made.create(PrincipalKind.AGENT, standins.AGENT)
        await made.create(PrincipalKind.APPLICATION, "helpdesk")
        made.application = await made.token(PrincipalKind.APPLICATION, "helpdesk")
        yield made


def runs(pid):
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

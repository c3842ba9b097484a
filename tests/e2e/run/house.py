"""A gate with upstreams, and ``portcullis run`` beside it: for the tests of this folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from portcullis.core.event import Event, EventType
from portcullis.core.principal import PrincipalKind
from standins import Stage

PORTCULLIS = Path(sys.executable).with_name("portcullis")
SITE = Path(sys.executable).parents[1]
AGENTS = Path(__file__).with_name("agents")
NODE = Path(__file__).parents[2] / "node"
SECONDS = 40

POLICY = """\
version: 1
agents:
  worker-1: {role: worker, owner: tests}
  worker-2: {role: worker, owner: tests}
  worker-3: {role: worker, owner: tests}
  worker-4: {role: worker, owner: tests}
roles:
  worker:
    allowed_tools: [kb.search_knowledge_base, orders.get]
    models: [gpt-*]
    inspection: {to_tool: {IBAN_CODE: hold}}
tools:
  kb.search_knowledge_base: {risk: read}
  kb.search_products: {risk: read}
  orders.get:
    risk: read
    arguments: {customer_id: {equals: session.subject.customer_id}, order_id: {log: clear}}
"""
SETTINGS = {
    "sandbox": {"profiles": {"quick": {"memory": "512MiB", "cpu": 2, "pids": 128}}},
}


@dataclass
class Ran:
    code: int
    out: str
    err: str


@dataclass
class House:
    """``home`` is the working directory of whatever is run."""

    stage: Stage
    home: Path

    def put(self, name: str) -> Path:
        """One of the agents, in a working directory of its own."""
        shutil.copy(AGENTS / name, self.home / name)
        return self.home

    @contextlib.asynccontextmanager
    async def running(
        self, agent: str, *words: str, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """``portcullis run --agent AGENT WORDS``, ended with the block."""
        process = await asyncio.create_subprocess_exec(
            *(PORTCULLIS, "run", "--agent", agent, "-c", str(self.stage.config), *words),
            cwd=self.home,
            env={"PATH": os.defpath, "HOME": str(self.home.parent)} | dict(env or {}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            async with asyncio.timeout(SECONDS):
                await process.communicate()

    async def run(
        self, agent: str, *words: str, given: str = "", env: Mapping[str, str] | None = None
    ) -> Ran:
        """The same, to its end."""
        async with self.running(agent, *words, env=env) as process, asyncio.timeout(SECONDS):
            out, err = await process.communicate(given.encode())
        return Ran(process.returncode, out.decode(), err.decode())

    def events(self, agent: str) -> list[Event]:
        """What is on record of an agent, without what its launcher reports."""
        calls = (event for event in self.stage.events() if event.principal == agent)
        told = (event for event in calls if event.type is not EventType.IDENTITY)
        return [event for event in told if not event.method.startswith("run.")]

    def reports(self, agent: str) -> list[Event]:
        """What its launchers reported of its boxes."""
        told = (event for event in self.stage.events() if event.principal == agent)
        return [event for event in told if event.method.startswith("run.")]

    async def hire(self, *agents: str) -> None:
        """Register agents."""
        for agent in agents:
            await self.stage.create(PrincipalKind.AGENT, agent)

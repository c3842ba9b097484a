"""A gate with a server in a box and tools of its own, an agent in a session, real MCP clients."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

import standins
from portcullis.core.principal import PrincipalKind

SERVER = Path(__file__).with_name("server.py")
PYTHON = "/usr/bin/python3"
OTHER = "support-agent-prod-002"
_TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
COMMANDS = {
    "shout": {
        "description": "Text in capitals.",
        "command": ["/usr/bin/tr", "a-z", "A-Z"],
        "arguments": _TEXT,
    },
    "say": {"command": ["printf", "%s|", "{text}", "x{text}"], "arguments": _TEXT, "stdin": "none"},
    "slow": {
        "command": ["sh", "-c", "while :; do date +%N > beat; sleep 0.02; done"],
        "seconds": 2,
    },
    "greedy": {"command": ["sh", "-c", "while :; do echo aaaaaaaaaaaaaaaa; done"], "seconds": 5},
    "tell": {"command": ["sh", "-c", 'echo "$KEY"'], "env": {"KEY": "env:TOOLS_TEST_KEY"}},
    "fail": {"command": ["sh", "-c", "echo out; echo err >&2; exit 3"]},
}


def policy() -> str:
    text = yaml.safe_load(standins.support_policy())
    own = [f"own.{name}" for name in (*COMMANDS, "execute_code")]
    boxed = [
        f"{one}.{name}" for one in ("boxed", "shared") for name in ("beat", "look", "wait", "die")
    ]
    role = text["roles"]["support_agent"]
    role["allowed_tools"] += [*own, *boxed]
    text["agents"][OTHER] = {"role": "support_agent"}
    for name in (*own, *boxed):
        named = ("text", "place", "code", "stdin")
        arguments = {one: {"role": "payload"} for one in named}
        text["tools"][name] = {"risk": "read", "arguments": arguments}
    return json.dumps(text)


@dataclass
class Place:
    """The stage, the token of an application on it, and the folder that boxes may write to."""

    stage: standins.Stage
    application: str
    shared: Path

    async def token(self, agent: str = standins.AGENT) -> str:
        """The token of an agent in a new session of its own."""
        return (await self.session(agent))[1]

    async def session(self, agent: str = standins.AGENT) -> tuple[str, str]:
        """A new session's id, and the agent's token in it."""
        return await self.stage.open_session(self.application, agent, subject=standins.SUBJECT)

    async def kill(self, agent: str, *, undo: bool = False) -> None:
        """Cut an agent off as an operator does, or let it go again."""
        headers = {"authorization": f"Bearer {self._operator()}"}
        url = f"{self.stage.gate.control_url}/api/v1/kills{'/undo' if undo else ''}"
        body = {"scope": "agent", "value": agent, "reason": "a test"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(url, json=body) as answer,
        ):
            assert answer.status == 200, await answer.text()

    def _operator(self) -> str:
        authority = self.stage.gate.services.authority
        return authority.mint(PrincipalKind.OPERATOR, "local-test", ttl=60, roles=("admin",)).token

    async def close(self, session: str) -> None:
        """Close a session as its application does."""
        headers = {"authorization": f"Bearer {self.application}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.delete(f"{self.stage.gate.gate_url}/v1/sessions/{session}") as answer,
        ):
            assert answer.status == 204

    @contextlib.asynccontextmanager
    async def client(self, server: str, token: str, **options: Any):
        async with standins.mcp_client(self.stage, server, token, **options) as client:
            yield client


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def place(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("tools")
    shared = folder / "shared"
    shared.mkdir()
    boxed = {"command": [PYTHON, str(SERVER)], "mounts": [f"{SERVER}:ro", f"{shared}:rw"]}
    commands = {name: dict(one) for name, one in COMMANDS.items()}
    commands["slow"] |= {"cwd": str(shared), "mounts": [f"{shared}:rw"]}
    settings = {
        "mcp": {"boxed": boxed | {"per_session": True}},
        "tools": {"own": {"commands": commands, "code": {}}},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOOLS_TEST_KEY", "a-key-of-some-length-4711")
        async with standins.staged(folder, policy=policy(), settings=settings) as made:
            for agent in (standins.AGENT, OTHER):
                await made.register(PrincipalKind.AGENT, agent)
            yield Place(made, await made.register(PrincipalKind.APPLICATION, "helpdesk"), shared)

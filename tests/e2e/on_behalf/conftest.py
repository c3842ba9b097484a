"""One gate, one authorization server, one MCP server that knows its users."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from e2e.on_behalf.peers import (
    CLIENT,
    Authority,
    Mailbox,
    authority,
    brain,
    mailbox,
)
from portcullis import bootstrap
from portcullis.config.console import LOCAL_NAME
from portcullis.core.principal import PrincipalKind
from portcullis.demo.stage import Running
from ports import free_port
from standins import AGENT, Stage, mcp_client, staged, support_policy

SECONDS = 40
"""How long the server's access tokens are good: the gate makes new ones after half of that."""
SERVERS = ("box", "swap", "own", "found")


def policy() -> str:
    tools = [f"{server}.{tool}" for server in SERVERS for tool in ("inbox", "leak")]
    text = support_policy().replace("allowed_tools: [", f"allowed_tools: [{', '.join(tools)}, ")
    text = text.replace("models: [gpt-*,", "models: [probe-*, gpt-*,")
    return text + "".join(f"  {tool}: {{risk: read}}\n" for tool in tools)


@dataclass
class World:
    stage: Stage
    authority: Authority
    box: Mailbox
    applications: dict[str, str]

    async def session(self, user: str, application: str = "helpdesk", **more: Any) -> str:
        """Open a session; its id is kept by the token."""
        asked = {"agent": AGENT, "prompt": "Read my mail", **more}
        asked |= {} if "user_token" in more else {"user": user}
        async with self.api(application) as http:
            answer = await http.post("/v1/sessions", json=asked)
        assert answer.status_code == 201, answer.text
        given = answer.json()
        self.ids[given["token"]] = given["session"]
        return given["token"]

    def __post_init__(self) -> None:
        self.ids: dict[str, str] = {}

    def api(self, application: str = "helpdesk") -> httpx2.AsyncClient:
        """An application's client of the gate."""
        headers = {"authorization": f"Bearer {self.applications[application]}"}
        return httpx2.AsyncClient(base_url=self.stage.gate.gate_url, headers=headers, timeout=20)

    async def link(self, token: str, upstream: str = "box", application: str = "helpdesk") -> str:
        """The link by which a session's user connects an account."""
        async with self.api(application) as http:
            place = f"/v1/sessions/{self.ids[token]}/connections"
            answer = await http.post(place, json={"upstream": upstream})
        assert answer.status_code == 201, answer.text
        return answer.json()["url"]

    async def call(
        self,
        token: str,
        server: str = "box",
        tool: str = "inbox",
        mode: str = "auto",
        at: Any = None,
    ) -> str:
        """Call a tool as the agent; what it says, or the refusal's code. ``at`` is a gateway."""
        stage = self.stage if at is None else dataclasses.replace(self.stage, gate=at)
        try:
            async with mcp_client(stage, server, token, mode=mode) as client:
                said = await client.call_tool(tool, {})
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the SDK wraps in groups
            return _code(error)
        return said.content[0].text

    def events(self, method: str) -> list[Any]:
        return [event for event in self.stage.events() if event.method == method]


def _code(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    data = getattr(getattr(error, "error", None), "data", None) or {}
    if not data.get("code"):
        raise error
    return f"{data['code']}: {data.get('hint', '')}"


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def world(tmp_path_factory, anyio_backend):
    async with made(tmp_path_factory.mktemp("on-behalf")) as found:
        yield found


@contextlib.asynccontextmanager
async def made(folder: Path, running: Running = bootstrap.running_gate) -> AsyncIterator[World]:
    """All of it; ``running`` runs the gate."""
    control, port = free_port(), free_port()
    box = Mailbox(url=f"http://127.0.0.1:{port}/mcp")
    back = [
        f"http://127.0.0.1:{control}/connect/box/callback",
        f"http://{LOCAL_NAME}:{control}/connect/box/callback",
    ]
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(authority(box.url, back, SECONDS))
        box.authority = server
        await stack.enter_async_context(mailbox(port, box, server.issuer))
        model = await stack.enter_async_context(brain(box))
        jwks = folder / "jwks.json"
        async with httpx2.AsyncClient() as http:
            jwks.write_bytes((await http.get(f"{server.issuer}/jwks")).content)
        secret = folder / "client-secret"
        secret.touch(0o600)
        secret.write_text(server.secret)
        oauth = {
            "issuer": server.issuer,
            "client_id": CLIENT,
            "client_secret": f"file:{secret}",
            "scopes": ["mail.read"],
        }
        user = oauth | {"scopes": ["openid", "offline_access", "mail.read"]}
        settings = {
            "listen": {
                "gate": "127.0.0.1:0",
                "control": f"127.0.0.1:{control}",
                "mtls": "127.0.0.1:0",
                "workload": None,
            },
            "identity": {
                "oidc": {"corp": {"issuer": server.issuer, "client_id": CLIENT, "jwks": str(jwks)}}
            },
            "audit": {"content": {"keep": "arguments+results"}},
            "models": {
                "brain": {
                    "shape": "openai",
                    "url": model,
                    "serves": ["probe-*"],
                    "oauth": oauth | {"mode": "exchange", "resource": box.url},
                }
            },
            "mcp": {
                "box": {"url": box.url, "oauth": user | {"mode": "user"}},
                "swap": {"url": box.url, "oauth": oauth | {"mode": "exchange"}},
                "own": {"url": box.url, "oauth": oauth | {"mode": "client"}},
                "found": {
                    "url": box.url,
                    "oauth": {"client_id": CLIENT, "scopes": ["openid", "mail.read"]},
                },
            },
        }
        stage = await stack.enter_async_context(
            staged(folder, policy=policy(), settings=settings, running=running)
        )
        await stage.register(PrincipalKind.AGENT, AGENT)
        applications = {
            name: await stage.register(PrincipalKind.APPLICATION, name)
            for name in ("helpdesk", "rival")
        }
        yield World(stage, server, box, applications)

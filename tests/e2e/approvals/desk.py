"""A gate that holds mail addresses for a human, its agents, and the operators who decide."""

import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from mcp import MCPError

import standins
from portcullis import bootstrap
from portcullis.config import load
from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind

MAIL = {"to": standins.SUBJECT["email"], "subject": "Hello", "body": "Your parcel is late."}


def policy() -> str:
    """The demonstration's, but a mail address goes to no tool and no model without a human.

    Two people have to let a ticket be updated.
    """
    text = yaml.safe_load(standins.support_policy())
    text["tools"]["tickets.update"]["obligations"] = {"approvers": 2}
    role = text["roles"]["support_agent"]
    role["inspection"] = {
        "to_tool": {"EMAIL_ADDRESS": "hold"},
        "to_model": {"EMAIL_ADDRESS": "hold", "US_SSN": "block"},
    }
    return yaml.safe_dump(text)


@dataclass
class Desk:
    """``stage`` is the gate; ``session`` the id of the agent's session and ``token`` its token."""

    stage: standins.Stage
    application: str
    session: str = ""
    token: str = ""
    sent: int = 0
    operators: dict[str, dict[str, str]] = field(default_factory=dict)

    async def send(self, arguments: dict[str, Any] = MAIL, *, mode: str = "auto") -> Any:
        """Call mail.send with the official MCP client."""
        async with standins.mcp_client(self.stage, "mail", self.token, mode=mode) as client:
            return await client.call_tool("send", arguments)

    async def refused(self, arguments: dict[str, Any] = MAIL) -> Any:
        """What the error says with which the client is refused."""
        async with standins.mcp_client(self.stage, "mail", self.token) as client:
            try:
                return await client.call_tool("send", arguments)
            except MCPError as error:
                return error.error.data

    async def operator(self, name: str, *roles: str) -> None:
        """Register an operator, who may then ``ask``."""
        services = self.stage.gate.services
        services.directory.create(
            PrincipalRecord(
                kind=PrincipalKind.OPERATOR,
                id=name,
                owner="demo",
                state=State.ACTIVE,
                roles=roles,
                created_at=time.time(),
            )
        )
        token = services.authority.mint(PrincipalKind.OPERATOR, name, ttl=600, roles=roles).token
        self.operators[name] = {"authorization": f"Bearer {token}"}

    async def ask(self, who: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """An operator's request to the control plane."""
        url = f"{self.stage.gate.control_url}/api/v1/approvals{path}"
        async with (
            aiohttp.ClientSession(headers=self.operators[who]) as http,
            http.request(method, url, json=body) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def decide(self, who: str, approval: str, verb: str) -> tuple[int, Any]:
        """Approve or deny."""
        return await self.ask(who, "POST", f"/{approval}/{verb}", {"reason": "asked the customer"})

    async def open(self, **session: Any) -> None:
        """Another session of the agent's."""
        self.session, self.token = await self.stage.open_session(
            self.application, standins.AGENT, subject=standins.SUBJECT, **session
        )

    def begin(self) -> None:
        """Count mails from now on."""
        self.sent = self.stage.records.count("outbox")

    def mails(self) -> int:
        """How many mails were really sent."""
        return self.stage.records.count("outbox") - self.sent


async def furnished(stage: standins.Stage) -> Desk:
    """An agent in a session; bea and cy, who approve, ada, who may do everything, and vic."""
    await stage.register(PrincipalKind.AGENT, standins.AGENT, owner="cy@shop.example")
    desk = Desk(stage, await stage.register(PrincipalKind.APPLICATION, "helpdesk"))
    await desk.operator("bea", "approver")
    await desk.operator("cy", "approver")
    await desk.operator("ada", "admin")
    await desk.operator("vic", "viewer")
    await desk.open()
    return desk


@contextlib.asynccontextmanager
async def desks(folder: Path, **approvals: Any) -> AsyncIterator[Desk]:
    """A gate with everything around it; ``approvals`` is that section of its configuration."""
    settings = {"approvals": approvals}
    async with standins.staged(folder, policy=policy(), settings=settings) as stage:
        yield await furnished(stage)


@contextlib.asynccontextmanager
async def started(stage: standins.Stage, state: str) -> AsyncIterator[standins.Stage]:
    """Another gate before the same servers, on a state directory of its own that stays."""
    config = stage.config.with_name(f"{state}.yaml")
    text = yaml.safe_load(stage.config.read_text(encoding="utf-8"))
    config.write_text(yaml.safe_dump(text | {"state": state}), encoding="utf-8")
    async with bootstrap.running_gate(load(config)) as gate:
        yield dataclasses.replace(stage, gate=gate, config=config)

"""An agent that was taken over answers a server's questions, with official client and server."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
import yaml
from mcp import Client, MCPError
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.types import ElicitResult
from pydantic import BaseModel
from typer.testing import CliRunner

import standins
from e2e.approvals.desk import Desk, furnished
from portcullis.cli.approval import app as approval_app
from portcullis.demo.serve import serving

pytestmark = pytest.mark.anyio

ADA, EVE = "ada@customer.example", "eve@evil.example"
TOOLS = """
  post.send:
    risk: external
    arguments: {subject: {role: payload}}
    answers: {to: {role: destination}}
  post.send_quietly:
    risk: external
    arguments: {subject: {role: payload}}
"""
ERAS = ["2026-07-28", "legacy"]


class Whom(BaseModel):
    to: str


def whom() -> Elicit[Whom]:
    return Elicit("To whom?", Whom)


def office(sent: list[Any]) -> MCPServer:
    """A server that asks for the recipient of a letter, and keeps what it was told."""
    server = MCPServer("post")

    @server.tool()
    async def send(subject: str, answer: Annotated[Whom, Resolve(whom)], ctx: Context) -> str:
        sent.append((subject, answer.to, dict(ctx.request_context.meta or {})))
        return "sent"

    @server.tool()
    async def send_quietly(subject: str, answer: Annotated[Whom, Resolve(whom)]) -> str:
        sent.append((subject, answer.to))
        return "sent"

    @server.tool()
    def stray(text: str) -> str:
        sent.append(text)
        return "done"

    return server


def policy() -> str:
    """The demonstration's with the post office, and containment."""
    text = yaml.safe_load(standins.support_policy())
    text["tools"] |= yaml.safe_load(TOOLS)
    role = text["roles"]["support_agent"]
    role["allowed_tools"] += ["post.send", "post.send_quietly", "post.stray"]
    role["server_requests"] = ["post.elicitation/create"]
    text["containment"] = {"approvals": 50}
    return yaml.safe_dump(text)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> Any:
    sent: list[Any] = []
    app = office(sent).streamable_http_app()
    async with app.router.lifespan_context(app), serving(app) as url:
        settings = {"mcp": {"post": {"url": f"{url}/mcp"}}}
        folder = tmp_path_factory.mktemp("house")
        async with standins.staged(folder, policy=policy(), settings=settings) as stage:
            yield await furnished(stage), sent


@pytest.fixture
async def desk(house: Any) -> Desk:
    made, sent = house
    sent.clear()
    await made.open(prompt=f"Send a letter to {ADA} that the parcel is late")
    return made


async def told(desk: Desk, mode: str, answer: ElicitResult, tool: str = "send", **more: Any) -> Any:
    """The result of a call in which the client answers so, or what its refusal says."""

    async def callback(context: Any, params: Any) -> ElicitResult:
        return answer

    async with standins.mcp_client(
        desk.stage, "post", desk.token, mode=mode, elicitation_callback=callback
    ) as client:
        try:
            return await asked(client, tool, **more)
        except MCPError as error:
            return error.error.data


async def asked(client: Client, tool: str, **more: Any) -> Any:
    return await client.call_tool(tool, {"subject": "The parcel is late"}, **more)


def accept(**content: Any) -> ElicitResult:
    return ElicitResult(action="accept", content=content)


@pytest.mark.parametrize("mode", ERAS)
async def test_whom_the_user_named_may_be_answered_and_the_agent_may_always_decline(
    desk: Desk, house: Any, mode: str
) -> None:
    done = await told(desk, mode, accept(to=ADA), meta={"com.example/note": "tell eve"})
    assert not done.is_error, done
    ((subject, to, meta),) = house[1]
    assert (subject, to) == ("The parcel is late", ADA)
    assert "eve" not in str(meta)
    refused = await told(desk, mode, ElicitResult(action="decline"))
    assert refused.is_error
    assert not refused.content[0].text.startswith("PC")
    assert len(house[1]) == 1


async def test_an_answer_that_nobody_asked_for_does_not_reach_a_legacy_server(
    desk: Desk, house: Any
) -> None:
    refused = await told(desk, "legacy", accept(to=EVE))
    assert "eve" not in str(refused)
    await told(desk, "legacy", accept(to=ADA), tool="send_quietly")
    assert house[1] == []
    denied = [e for e in desk.stage.events() if e.session == desk.session and e.code == "PC3060"]
    assert {e.name for e in denied} == {"elicitation/create"}
    assert EVE not in str(desk.stage.events())


async def test_an_answer_that_nobody_asked_for_waits_for_a_human_in_the_modern_era(
    desk: Desk, house: Any
) -> None:
    held = await told(desk, ERAS[0], accept(to=EVE))
    assert held.is_error
    approval = held.meta["portcullis/approval"]
    unknown = await told(desk, ERAS[0], accept(to=ADA), tool="send_quietly")
    assert "unknown" in unknown.content[0].text
    assert house[1] == []

    def on_terminal() -> str:
        words = ["show", approval, "--config", str(desk.stage.config)]
        done = CliRunner().invoke(approval_app, words)
        assert done.exit_code == 0, done.output
        return done.stdout

    said = await asyncio.to_thread(on_terminal)
    assert EVE in said
    assert "destination answers.to" in said
    assert (await desk.decide("bea", approval, "approve"))[0] == 200
    other = await told(desk, ERAS[0], accept(to="mallory@evil.example"))
    assert other.meta["portcullis/approval"] != approval
    assert house[1] == []
    done = await told(desk, ERAS[0], accept(to=EVE))
    assert not done.is_error, done
    assert [to for _, to, _ in house[1]] == [EVE]
    again = await told(desk, ERAS[0], accept(to=EVE))
    assert again.meta["portcullis/approval"] != approval


async def test_a_tool_that_the_catalogue_does_not_know_is_of_the_highest_class_until_approved(
    desk: Desk, house: Any
) -> None:
    async def stray() -> Any:
        async with standins.mcp_client(desk.stage, "post", desk.token) as client:
            return await client.call_tool("stray", {"text": "anything"})

    approval = (await stray()).meta["portcullis/approval"]
    assert house[1] == []
    held = await standins.eventually(
        desk.stage, lambda event: (event.approval, event.type) == (approval, "tool_call")
    )
    assert (held.verdict, held.risk, "unknown" in held.reason) == ("hold", "delete", True)
    await desk.decide("bea", approval, "approve")
    assert not (await stray()).is_error
    assert house[1] == ["anything"]
    assert (await stray()).meta["portcullis/approval"] != approval

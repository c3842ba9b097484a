"""The gate looks a value up itself before it asks a human about it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from mcp.server.mcpserver import MCPServer

import standins
from e2e.approvals.desk import Desk, furnished
from portcullis.demo.serve import serving

pytestmark = pytest.mark.anyio

KNOWN, STRANGER = "ada@ours.example", "eve@evil.example"
TOOLS = """
  letters.find:
    risk: read
    arguments: {query: {role: selector}}
    results: {"[].email": {trusted: destination, clearance: confidential}}
  letters.send:
    risk: external
    arguments:
      to: {role: destination, lookup: {tool: letters.find, query: query}}
      body: {role: payload}
"""


def server(calls: list[tuple[str, str]]) -> MCPServer:
    app = MCPServer("letters")

    @app.tool()
    def find(query: str) -> list[dict[str, str]]:
        calls.append(("find", query))
        return [{"email": KNOWN}] if query == KNOWN else []

    @app.tool()
    def send(to: str, body: str) -> str:
        calls.append(("send", to))
        return "sent"

    return app


def policy(*granted: str) -> str:
    text = yaml.safe_load(standins.support_policy())
    text["tools"] |= yaml.safe_load(TOOLS)
    text["roles"]["support_agent"]["allowed_tools"] += granted
    text["containment"] = {}
    return yaml.safe_dump(text)


async def desk_of(stage: Any) -> Desk:
    desk = await furnished(stage)
    await desk.open(prompt="Send a mail to Ada that the parcel is late")
    return desk


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_whom_the_address_book_knows_is_written_to_and_a_stranger_is_asked_about(
    tmp_path: Any, mode: str
) -> None:
    calls: list[tuple[str, str]] = []
    app = server(calls).streamable_http_app()
    async with app.router.lifespan_context(app), serving(app) as url:
        settings = {"mcp": {"letters": {"url": f"{url}/mcp"}}}
        granted = policy("letters.find", "letters.send")
        async with standins.staged(tmp_path, policy=granted, settings=settings) as stage:
            desk = await desk_of(stage)
            async with standins.mcp_client(stage, "letters", desk.token, mode=mode) as client:
                sent = await client.call_tool("send", {"to": KNOWN, "body": "late"})
                assert not sent.is_error, sent
                assert calls == [("find", KNOWN), ("send", KNOWN)]
                held = await client.call_tool("send", {"to": STRANGER, "body": "late"})
                assert held.is_error
                assert held.content[0].text.startswith("PC3040")
                again = await client.call_tool("send", {"to": STRANGER, "body": "late"})
                assert again.is_error
                assert calls[2:] == [("find", STRANGER)], "once, and nothing was sent"
            looked = [one for one in stage.events() if one.looked_up_for]
            for one in looked:  # what was held is on record a moment later
                await standins.eventually(stage, lambda each, one=one: each.id == one.looked_up_for)
            mine = {one.id for one in stage.events() if one.name == "send"}
    assert {one.name for one in looked} == {"find"}
    assert {one.looked_up_for for one in looked} <= mine


async def test_an_agent_that_may_not_read_the_address_book_gets_nothing_looked_up(
    tmp_path: Any,
) -> None:
    calls: list[tuple[str, str]] = []
    app = server(calls).streamable_http_app()
    async with app.router.lifespan_context(app), serving(app) as url:
        settings = {"mcp": {"letters": {"url": f"{url}/mcp"}}}
        async with standins.staged(
            tmp_path, policy=policy("letters.send"), settings=settings
        ) as stage:
            desk = await desk_of(stage)
            async with standins.mcp_client(stage, "letters", desk.token) as client:
                held = await client.call_tool("send", {"to": KNOWN, "body": "late"})
            assert held.is_error
    assert calls == []

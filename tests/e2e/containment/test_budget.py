"""A session's budget, with a real client: who looks up, asks and approves, and what each takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError

import standins
from e2e.approvals.desk import Desk, furnished
from e2e.containment.test_lookup import KNOWN, STRANGER, policy, server
from e2e.matrix.seen import code_in
from portcullis.demo.serve import serving

pytestmark = pytest.mark.anyio
PROMPT = "Send a mail to Ada that the parcel is late"


@contextlib.asynccontextmanager
async def desk(folder: Path, calls: list[tuple[str, str]]) -> AsyncIterator[Desk]:
    app = server(calls).streamable_http_app()
    async with app.router.lifespan_context(app), serving(app) as url:
        settings = {
            "mcp": {"letters": {"url": f"{url}/mcp"}},
            "approvals": {"wait_seconds": 0},
        }
        granted = policy("letters.find", "letters.send")
        async with standins.staged(folder, policy=granted, settings=settings) as stage:
            yield await furnished(stage)


async def left(desk: Desk) -> dict[str, int]:
    services = desk.stage.gate.services
    return await services.spending.left(await services.sessions.get(desk.session))


async def ask(desk: Desk, tool: str, **arguments: Any) -> str:
    """The code that a call is refused with, empty when it went."""
    async with standins.mcp_client(desk.stage, "letters", desk.token) as client:
        try:
            answer = await client.call_tool(tool, arguments)
        except MCPError as error:
            return code_in(error.error.data)
    return answer.content[0].text[:6] if answer.is_error else ""


async def test_what_goes_is_counted_and_not_what_waits_or_the_gate_looks_up(tmp_path: Path) -> None:
    calls: list[tuple[str, str]] = []
    async with desk(tmp_path, calls) as one:
        await one.open(prompt=PROMPT, budget={"calls": 3, "effects": 2})
        assert await ask(one, "send", to=KNOWN, body="late") == ""
        assert calls == [("find", KNOWN), ("send", KNOWN)]
        assert await left(one) == {"calls": 2, "effects": 1}
        assert await ask(one, "send", to=STRANGER, body="late") == "PC3040"
        assert await left(one) == {"calls": 2, "effects": 1}
        _, waiting = await one.ask("bea", "GET", "")
        assert (await one.decide("bea", waiting["approvals"][0]["id"], "approve"))[0] == 200
        assert await ask(one, "send", to=STRANGER, body="late") == ""
        assert await left(one) == {"calls": 1, "effects": 0}
        assert await ask(one, "send", to="mallory@evil.example", body="late") == "PC3061"
        _, asked = await one.ask("bea", "GET", "")
        assert [each["state"] for each in asked["approvals"]] == ["consumed"], "nobody in vain"
        assert await ask(one, "find", query="x") == ""
        assert await ask(one, "find", query="y") == "PC3061"
        await one.open(prompt=PROMPT, budget={"calls": 5})
        calls.clear()
        found = await asyncio.gather(*(ask(one, "find", query=f"q{n}") for n in range(15)))
        assert (found.count(""), found.count("PC3061"), len(calls)) == (5, 10, 5), "its own"

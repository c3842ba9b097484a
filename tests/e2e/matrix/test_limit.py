"""If these fail, an agent floods, empties or spends what it may use a little of."""

import secrets
import time

import pytest

from e2e.matrix.cells import EVERY, MCP, TOOLS, cells
from e2e.matrix.deployment import HURRIED, LIMITED

pytestmark = pytest.mark.anyio


@cells("limit", "request", *EVERY)
async def test_no_more_requests_than_the_rate(route, deployment, recorded):
    session, token = await deployment.open(LIMITED)
    for _ in range(3):
        assert (await route.effect(token)).passed
    before = len(route.effects())
    refused = await route.effect(token)
    assert refused.code == "PC3070"
    assert len(route.effects()) == before
    event = await recorded("PC3070", check="limit", session=session)
    assert event.reason.startswith("limit few: 3 requests in 3600 seconds, again at 20")
    if route.name != "mcp-stdio":  # which would start a process for it
        _, other = await deployment.open(LIMITED)
        assert (await route.good(other)).passed, "each session has its own"


@cells("limit", "result", *TOOLS)
async def test_no_more_data_than_its_volume(route, deployment, recorded):
    session, token = await deployment.open(LIMITED)
    word = secrets.token_hex(8)
    assert (await route.call("say", token=token, text="a")).passed
    much = await route.call("say", token=token, text=f"{word}-" * 300)
    assert much.code == "PC3077"
    assert word not in much.text
    await recorded("PC3077", session=session, verdict="deny")
    assert (await route.call("say", token=token, text="b")).passed, "what is left is left"


@cells("limit", "stream", "llm-stream")
async def test_no_more_of_a_stream_than_was_reserved(route, deployment, recorded):
    session, token = await deployment.open(LIMITED)
    seen = await route.scripted("pieces-endless", token=token)
    assert (seen.failed, seen.code) == (True, "PC3076")
    most = (4096 if route.api == "openai" else 9) * 8  # the gate names a maximum, or the client
    assert most - 500 < len(seen.text) <= most + 500
    event = await recorded("PC3076", session=session)
    assert event.reason.startswith("limit short:")


@cells("limit", "stream", *MCP)
async def test_no_stream_outlives_its_sessions_time(route, deployment, recorded, tmp_path):
    began = time.monotonic()
    session, token = await deployment.open(HURRIED)
    seen = await route.scripted("pieces-endless", token=token)
    assert seen.code == "PC3075"
    assert 0.9 < time.monotonic() - began < 30
    await recorded("PC3075", session=session)
    assert (await route.good(token)).code == "PC3075"

"""A gate that can record nothing does nothing, and load balancers are told."""

from __future__ import annotations

import errno
from pathlib import Path

import aiohttp
import pytest
from mcp import Client, MCPError

from portcullis.core.errors import Problem
from standins import agent_token, mcp_client, staged

pytestmark = pytest.mark.anyio


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


async def readiness(url: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/readyz") as answer:
        return answer.status


async def search(client: Client, times: int) -> None:
    for _ in range(times):
        await client.call_tool("search", {"customer_id": "C-1001"})


async def test_a_gate_whose_disk_is_full_denies_and_says_that_it_is_not_ready(
    tmp_path: Path,
) -> None:
    with pytest.raises(Problem) as caught:  # noqa: PT012 - closing the log tells it, too
        async with staged(tmp_path) as stage:
            token = await agent_token(stage)
            async with mcp_client(stage, "orders", token) as client:
                assert await readiness(stage.gate.control_url) == 200
                stage.gate.services.recorder._journal._sync = full  # type: ignore[attr-defined]
                with pytest.raises(MCPError):
                    await search(client, times=9)
            assert await readiness(stage.gate.control_url) == 503
    assert caught.value.code == "PC6001"

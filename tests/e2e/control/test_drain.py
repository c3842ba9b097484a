"""If this fails, operators lose the control plane just when a gate is being taken down."""

import asyncio

import httpx2
import pytest

from standins import agent_token, openai_client, staged

pytestmark = pytest.mark.anyio


async def answers_while_it_drains(url, first):
    """The answers of ``/readyz`` until nobody listens any more; ``first`` is set by the first."""
    seen = []
    async with httpx2.AsyncClient() as http:
        while True:
            try:
                seen.append((await http.get(f"{url}/readyz")).status_code)
            except httpx2.TransportError:
                return seen
            first.set()
            await asyncio.sleep(0.05)


async def test_the_control_plane_answers_until_the_last_stream_has_ended(tmp_path):
    async with staged(tmp_path, settings={"limits": {"drain_seconds": 1}}) as stage:
        client = openai_client(stage, await agent_token(stage))
        stream = await client.chat.completions.create(
            model="gpt-standin:stall", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        await anext(aiter(stream))
        first = asyncio.Event()
        watching = asyncio.create_task(answers_while_it_drains(stage.gate.control_url, first))
        await first.wait()
    seen = await watching
    assert seen[0] == 200
    assert seen.count(503) >= 5
    await client.close()

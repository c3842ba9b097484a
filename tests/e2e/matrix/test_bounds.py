"""If these fail, one request, answer or stream without end exhausts the gate for everybody."""

import asyncio
import json

import pytest

from e2e.matrix.cells import ALL, EVERY, GUARD, cells

pytestmark = pytest.mark.anyio
SECONDS = 3


@pytest.fixture(scope="module")
def limits():
    return {
        "body_bytes": 20_000,
        "result_bytes": 65_536,
        "held_bytes": 8_192,
        "request_seconds": SECONDS,
        "stream_seconds": SECONDS,
    }


@cells("bounds", "request", *EVERY)
async def test_a_huge_request_is_refused(route, recorded):
    good = route.body()
    assert (await route.raw(good)).passed
    before = len(route.upstream_saw())
    seen = await route.raw(good[:-1] + b" " * 20_000 + b"}")
    assert seen.code == "PC1007"
    await recorded("PC1007")
    assert len(route.upstream_saw()) - before <= (route.name == "mcp-http-legacy")


@cells("bounds", "result", *EVERY)
async def test_a_huge_answer_is_cut(route, recorded):
    await route.renew()
    assert (await route.good()).passed
    seen = await route.scripted("large")
    assert seen.code == "PC5004"
    await recorded("PC5004")


@cells("bounds", "result", GUARD)
async def test_a_result_that_does_not_come_in_time_comes_too_late(route, recorded):
    async with route.client() as http:
        call, slow = [
            json.loads((await route.ask(http, "say", {"text": "hello"})).text)["call"]
            for _ in range(2)
        ]
        asked = asyncio.get_running_loop().time()

        async def slowly():
            yield b'{"result":'
            await asyncio.sleep(asked + SECONDS + 0.5 - asyncio.get_running_loop().time())
            yield b'"late"}'

        await asyncio.sleep(1)
        reporting = asyncio.create_task(route.report(http, slow, slowly()))
        await asyncio.sleep(SECONDS - 1)
        event = await recorded("PC5021", route="guard", decision=call)
        assert (event.type, event.verdict) == ("tool_result", "error")
        assert (await route.report(http, call, '{"result": "late"}')).code == "PC5020"
        assert (await reporting).code == "PC5020"  # it began to arrive in time
    await recorded("PC5020")


@cells("bounds", "stream", *ALL)
async def test_an_answer_without_end_is_cut(route, recorded):
    await route.renew()
    assert (await route.scripted("pieces")).passed
    seen = await route.scripted("pieces-endless")
    assert seen.code in {"PC5002", "PC5004"}
    await recorded(seen.code)


@cells("bounds", "stream", "llm-stream")
async def test_a_tool_call_that_is_held_back_may_not_grow_without_bound(route, recorded):
    family = "claude" if route.api == "anthropic" else "gpt"
    for size, code in ((100, ""), (1_200, "PC5004")):
        call = [{"name": "orders__search", "arguments": {"customer_id": "C" * size}}]
        seen = await route.ask(f"{family}-standin:call", json.dumps(call))
        assert seen.code == code
    assert "CCCC" not in "".join(seen.pieces)
    assert "bytes of a stream wait" in (await recorded("PC5004")).reason


@cells("strict-input", "result", "mcp-stdio")
async def test_a_line_that_two_parsers_read_differently_is_no_answer(route, recorded):
    assert (await route.scripted("plain")).passed
    seen = await route.scripted("duplicate-key")
    assert seen.code == "PC5002"  # it was left out, and no other answer came in time
    await recorded("PC5002")

"""If these fail, an agent that was cut off goes on, or others go down with it."""

import asyncio
import contextlib
import socket
import time

import aiohttp
import httpx2
import openai
import pytest
from msgspec.structs import replace

from e2e.identity.door import CHAT, ask, opened, until
from policies import session_of
from portcullis.core.call import RiskClass
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture
async def door(tmp_path):
    async with opened(tmp_path, seconds=30) as made:
        yield made


async def streaming(http, door, model="silent", *, url="", **options):
    """A stream whose first piece is there."""
    answer = await http.post((url or door.url) + CHAT, json=ask(model, stream=True), **options)
    assert answer.status == 200
    await answer.content.readuntil(b"\n\n")
    return answer


async def rest(answer):
    """What comes until the stream ends, and when it ended."""
    with contextlib.suppress(aiohttp.ClientError):
        data = await asyncio.wait_for(answer.content.read(), 3)
        return data, time.perf_counter()
    return b"", time.perf_counter()


async def test_everything_of_an_agent_ends_at_once_and_nothing_of_its_neighbours(door):
    context = door.context("shop-1")
    idle = [await asyncio.open_connection("127.0.0.1", door.port, ssl=context) for _ in range(200)]
    async with door.aiohttp(context=context) as http, door.aiohttp("other") as neighbour:
        streams = [await streaming(http, door) for _ in range(50)]
        kept = await streaming(neighbour, door, "drip")
        beside = await streaming(neighbour, door)
        assert door.upstream.open == 52
        before = len(door.recorder.events)
        closing = [asyncio.create_task(reader.read()) for reader, _ in idle]
        ending = [asyncio.create_task(rest(answer)) for answer in streams]
        await asyncio.sleep(0)
        started = time.perf_counter()
        door.feed.cut("agent", "shop-1")
        ended = await asyncio.gather(*ending)
        await asyncio.gather(*closing, return_exceptions=True)
        took = time.perf_counter() - started
        assert took < 0.5, took
        assert all(b"PC4001" in data for data, _ in ended)
        await until(lambda: door.upstream.open == 2, 0.5)
        await kept.content.readuntil(b"\n\n")
        events = door.recorder.events[before:]
        assert [(e.type, e.code, e.principal) for e in events] == [
            ("llm_result", "PC4001", "shop-1")
        ] * 50
        assert len({e.decision for e in events}) == 50
        await until(lambda: len(door.live._connections) == 2)
        beside.close()
    for _, writer in idle:
        writer.transport.abort()


async def test_an_unmodified_client_is_told_why_in_its_own_way(door):
    async with httpx2.AsyncClient(verify=door.context("shop-1")) as http:
        client = openai.AsyncOpenAI(
            base_url=f"{door.url}/openai/v1", api_key="spiffe", http_client=http, max_retries=0
        )
        stream = await client.chat.completions.create(
            model="silent", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        async for _ in stream:
            break
        door.feed.cut("agent", "shop-1")
        with pytest.raises(openai.APIError, match="cut by the test"):
            async for _ in stream:
                pass


async def test_a_call_that_waits_for_a_silent_upstream_is_ended_and_answered(door):
    async with door.aiohttp("shop-1") as http:
        asking = asyncio.create_task(http.post(door.url + CHAT, json=ask("hang")))
        await until(lambda: door.upstream.open == 1)
        door.feed.cut("agent", "shop-1")
        answer = await asyncio.wait_for(asking, 1)
        assert answer.status == 403
        assert (await answer.json())["error"]["code"] == "PC4001"
        await until(lambda: door.upstream.open == 0)
    (event,) = await door.recorded("PC4001")
    assert event.type == "llm_result"


async def test_a_call_is_ended_while_its_decision_is_being_recorded(door):
    """Then it never reaches the upstream, and the record says so."""
    door.grant.risk = RiskClass.MODIFY
    durable, go = door.recorder.durable, asyncio.Event()

    async def slow(event):
        await durable(event)
        await go.wait()

    door.recorder.durable = slow
    async with door.aiohttp("shop-1") as http:
        asking = asyncio.create_task(http.post(door.url + CHAT, json=ask()))
        await until(lambda: door.recorder.events)
        door.feed.cut("agent", "shop-1")
        answer = await asyncio.wait_for(asking, 1)
        assert answer.status == 403
    assert door.upstream.asked == 0
    assert [(e.type, e.code) for e in door.recorder.events] == [
        ("llm_call", ""),
        ("llm_result", "PC4001"),
    ]


async def test_a_request_whose_body_is_on_its_way_is_ended(door):
    context = door.context("shop-1")
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=context)
    writer.write(
        f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        "Content-Length: 100\r\n\r\n{".encode()
    )
    await until(lambda: door.live._runs)
    door.feed.cut("agent", "shop-1")
    assert b"PC4001" in await asyncio.wait_for(reader.read(), 1)
    writer.close()
    (event,) = await door.recorded("PC4001")
    assert (event.type, event.principal) == ("error", "shop-1")


async def test_a_client_that_does_not_read_is_cut_off_all_the_same(door):
    context = door.context("shop-1")
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=context, limit=1024)
    writer.transport.pause_reading()
    body = str(ask("drip", stream=True)).replace("'", '"').replace("True", "true")
    writer.write(
        f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    await until(lambda: door.upstream.open == 1)
    (connection,) = door.live._connections
    door.feed.cut("agent", "shop-1")
    await until(lambda: connection.gone, 0.5)
    await until(lambda: door.upstream.open == 0, 0.5)
    await door.recorded("PC4001")
    writer.transport.abort()
    del reader


async def test_a_client_is_cut_off_before_the_gate_has_cleared_up(door):
    context = door.context("shop-1")

    def connected():
        raw = socket.create_connection(("127.0.0.1", door.port), timeout=2)
        return context.wrap_socket(raw, server_hostname="127.0.0.1")

    held = await asyncio.to_thread(connected)
    await until(lambda: door.live._connections)
    (connection,) = door.live._connections
    connection.abort()
    assert socket.socket.recv(held, 1) == b""  # and the gate's loop has not gone on meanwhile
    assert not connection.gone
    held.close()


async def test_only_the_connections_of_a_revoked_certificate_are_closed(door):
    first, second = door.aiohttp("shop-1"), door.aiohttp("shop-1")
    async with first, second:
        for http in (first, second):
            async with http.post(door.url + CHAT, json=ask()) as answer:
                assert await answer.json()
        one, other = door.live._connections
        door.feed.cut(one.principal.credential)
        await until(lambda: one.gone)
        assert not other.gone


async def test_a_cut_session_ends_its_calls_and_leaves_the_agent_its_others(door):
    plain = door.listener()
    await plain.open()
    async with aiohttp.ClientSession() as http:
        streams = []
        for session in ("one", "other"):
            door.memory.sessions[session] = replace(session_of("shop-1"), id=session)
            token = door.tokens.mint(PrincipalKind.AGENT, "shop-1", ttl=60, session=session).token
            headers = {"authorization": f"Bearer {token}"}
            streams.append(await streaming(http, door, "drip", url=plain.url, headers=headers))
        door.feed.cut("session", "one")
        assert b"PC4001" in (await rest(streams[0]))[0]
        await streams[1].content.readuntil(b"\n\n")
        streams[1].close()
    await plain.close()
    (event,) = await door.recorded("PC4001")
    assert event.session == "one"


async def test_who_was_cut_off_stays_out_until_it_is_lifted(door):
    async with door.aiohttp("shop-1") as http:
        async with http.post(door.url + CHAT, json=ask()) as answer:
            assert await answer.json()
        (connection,) = door.live._connections
        door.feed.cut("agent", "shop-1")
        await until(lambda: connection.gone)
        with pytest.raises(aiohttp.ClientError):
            await http.post(door.url + CHAT, json=ask())
        assert door.upstream.asked == 1
        door.feed.cuts.clear()
        async with http.post(door.url + CHAT, json=ask()) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_leaves_takes_its_upstream_call_with_it(door, stream):
    async with door.aiohttp("shop-1") as http:
        model = "silent" if stream else "hang"
        asking = asyncio.create_task(
            streaming(http, door) if stream else http.post(door.url + CHAT, json=ask(model))
        )
        await until(lambda: door.upstream.open == 1)
        if stream:
            (await asking).close()
        asking.cancel()
        await until(lambda: door.upstream.open == 0, 1)
    (event,) = await door.recorded("PC5014")
    assert event.type == "llm_result"
    assert not door.live._runs


async def test_on_the_plain_listener_too(tmp_path):
    async with opened(tmp_path) as door:
        plain = door.listener()
        await plain.open()
        token = door.tokens.mint(PrincipalKind.AGENT, "shop-1", ttl=60).token
        headers = {"authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(plain.url, headers=headers) as http:
            leaving = asyncio.create_task(http.post(CHAT, json=ask("hang")))
            await until(lambda: door.upstream.open == 1)
            leaving.cancel()
            await until(lambda: door.upstream.open == 0)
            await door.recorded("PC5014")
            asking = asyncio.create_task(http.post(CHAT, json=ask("hang")))
            await until(lambda: door.upstream.open == 1)
            door.feed.cut("agent", "shop-1")
            assert (await asking).status == 403
            await until(lambda: door.upstream.open == 0)
        await plain.close()


async def test_the_gate_closes_while_streams_run_and_each_leaves_its_record(tmp_path):
    async with opened(tmp_path) as door, door.aiohttp("shop-1") as http:
        for _ in range(3):
            await streaming(http, door)
        started = time.perf_counter()
    assert time.perf_counter() - started < 4
    assert len(door.events("PC5014")) + len(door.events("PC5008")) == 3

"""The HTTP channels of both eras against a server that breaks the protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from portcullis.config import Limits, McpUpstream
from portcullis.core.errors import Problem
from portcullis.execution.endpoint import Endpoint
from portcullis.execution.http import HttpForwarder
from portcullis.execution.mcp import McpChannels
from portcullis.execution.secrets import local_secrets

pytestmark = pytest.mark.anyio

ERAS = pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "modern"])
JSON = b"Content-Type: application/json"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t"}}


@pytest.fixture
async def opened(upstream, credential) -> AsyncIterator[McpChannels]:
    limits = Limits(request_seconds=1, idle_seconds=0.5, stream_seconds=2, result_bytes=20_000)
    secrets = local_secrets({"KEY": credential})
    endpoints = {"mcp:it": Endpoint(url=upstream.url + "/mcp", credential="env:KEY")}
    forwarder = HttpForwarder(endpoints, secrets=secrets, limits=limits)
    channels = McpChannels(
        {"it": McpUpstream(url=upstream.url + "/mcp", credential="env:KEY")},
        forwarder=forwarder,
        secrets=secrets,
        limits=limits,
        environ={},
    )
    yield channels
    await channels.close()
    await forwarder.close()


def gives(*answers: bytes):
    """A script that gives these answers in turn, the last one for ever."""
    left = list(answers)

    async def script(server, request, writer):
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return script


def message(**members: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **members}).encode()


def event(data: bytes, *fields: bytes) -> bytes:
    return b"\n".join([*fields, b"data: " + data]) + b"\n\n"


async def ask(channel, call=CALL) -> list[dict[str, object]]:
    async with asyncio.timeout(10):
        return [one.message async for one in channel.request(call, {})]


async def refused(channel, call=CALL) -> Problem:
    with pytest.raises(Problem) as caught:
        await ask(channel, call)
    return caught.value


@ERAS
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "PC5003"),
        (b"{", "PC5003"),
        (b"[]", "PC5003"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"result":{}}', "PC5003"),
        (message(id=2, result={}), "PC5003"),
        (message(id="1", result={}), "PC5003"),
        (message(id=True, result={}), "PC5003"),
        (message(id=1.0, result={}), "PC5003"),
        (message(id=None, result={}), "PC5003"),
        (message(method="notifications/message"), "PC5003"),
        (message(id=1, method="sampling/createMessage"), "PC5003"),
    ],
)
async def test_a_json_answer_that_is_none_is_not_passed_on(
    opened, upstream, wire, legacy, body, code
):
    upstream.script = gives(wire.answer(body, JSON))
    assert (await refused(await opened.open("it", "k", legacy=legacy))).code == code


@ERAS
@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"", "PC5008"),
        (event(message(method="notifications/message")), "PC5008"),
        (event(b"{"), "PC5003"),
        (event(b"\xff"), "PC5003"),
        (event(message(id=2, result={})), "PC5003"),
        (event(message(id=1, result={}), b"event: other"), "PC5010"),
        (event(b"x" * 30_000), "PC5004"),
    ],
)
async def test_a_stream_that_breaks_the_protocol_is_not_passed_on(
    opened, upstream, wire, legacy, stream, code
):
    upstream.script = gives(wire.stream + wire.chunked(*([stream] if stream else [])))
    assert (await refused(await opened.open("it", "k", legacy=legacy))).code == code


@ERAS
async def test_nothing_after_the_answer_is_passed_on(opened, upstream, wire, legacy):
    upstream.script = gives(
        wire.stream + wire.chunked(event(message(id=1, result={"n": 1})) * 3 + event(b"junk"))
    )
    channel = await opened.open("it", "k", legacy=legacy)
    assert [m["result"] for m in await ask(channel)] == [{"n": 1}]


@ERAS
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (b"202 Accepted", "PC5003"), (b"401 No", "PC5007"), (b"403 No", "PC5007"),
        (b"404 No", "PC5003"), (b"500 No", "PC5024"), (b"307 Moved", "PC5003"),
    ],
)  # fmt: skip
async def test_a_status_without_a_message_is_a_fault(opened, upstream, wire, legacy, status, code):
    upstream.script = gives(wire.answer(b"", status=status))
    assert (await refused(await opened.open("it", "k", legacy=legacy))).code == code


@ERAS
@pytest.mark.parametrize("answered", [None, 1])
async def test_an_error_message_is_passed_on_whatever_its_status(
    opened, upstream, wire, legacy, answered
):
    error = {"code": -32601, "message": "no"}
    body = message(id=answered, error=error)
    upstream.script = gives(wire.answer(body, JSON, status=b"404 Not Found"))
    channel = await opened.open("it", "k", legacy=legacy)
    assert await ask(channel) == [{"jsonrpc": "2.0", "id": 1, "error": error}]


@ERAS
async def test_the_connection_is_reused_whichever_way_the_server_answers(
    opened, upstream, wire, legacy
):
    whole = wire.answer(message(id=1, result={}), JSON)
    streamed = wire.stream + wire.chunked(event(message(id=1, result={})))
    upstream.script = gives(whole, streamed, whole, streamed, whole)
    channel = await opened.open("it", "k", legacy=legacy)
    for _ in range(5):
        await ask(channel)
    assert upstream.connections == 1


@ERAS
async def test_a_server_that_streams_on_for_ever_is_left(opened, upstream, wire, legacy):
    news = wire.chunked(event(message(method="notifications/message")))[:-5]

    async def script(server, request, writer):
        writer.write(wire.stream)
        while not writer.is_closing():
            writer.write(news)
            await writer.drain()
            await asyncio.sleep(0.05)

    upstream.script = script
    assert (await refused(await opened.open("it", "k", legacy=legacy))).code == "PC5002"


INITIALIZE = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}


def begins(wire, session: bytes = b"s-1") -> bytes:
    result = {"protocolVersion": "2025-06-18"}
    return wire.answer(message(id=0, result=result), JSON, b"Mcp-Session-Id: " + session)


def sent(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    found = {line.partition(":")[0].lower(): line.partition(": ")[2] for line in lines[1:]}
    return {"method": lines[0].split()[0], **found}


async def test_the_session_is_sent_on_and_never_shown(opened, upstream, wire):
    upstream.script = gives(begins(wire), wire.answer(message(id=1, result={}), JSON))
    channel = await opened.open("it", "k", legacy=True)
    assert "s-1" not in json.dumps(await ask(channel, INITIALIZE))
    await ask(channel)
    await channel.notify({"jsonrpc": "2.0", "method": "notifications/initialized"}, {})
    await channel.close()
    first, *later = [sent(request) for request in upstream.requests]
    assert "mcp-session-id" not in first
    assert [one["method"] for one in later] == ["POST", "POST", "DELETE"]
    assert {one["mcp-session-id"] for one in later} == {"s-1"}
    assert {one.get("mcp-protocol-version") for one in later[:2]} == {"2025-06-18"}


@pytest.mark.parametrize("session", [b"a b", b"", b"x" * 2000, b"a\tb"])
async def test_a_malformed_session_id_is_refused(opened, upstream, wire, session):
    upstream.script = gives(begins(wire, session))
    channel = await opened.open("it", "k", legacy=True)
    assert (await refused(channel, INITIALIZE)).code == "PC5003"


async def test_a_broken_answer_is_fetched_where_it_broke_off(opened, upstream, wire):
    half = event(message(method="notifications/message"), b"id: e1", b"retry: 10")
    rest = event(message(id=1, result={}), b"id: e2")
    upstream.script = gives(
        begins(wire), wire.stream + wire.chunked(half), wire.stream + wire.chunked(rest)
    )
    channel = await opened.open("it", "k", legacy=True)
    await ask(channel, INITIALIZE)
    assert len(await ask(channel)) == 2
    last = sent(upstream.requests[-1])
    assert (last["method"], last["last-event-id"], last["mcp-session-id"]) == ("GET", "e1", "s-1")


async def test_a_server_that_breaks_off_again_and_again_is_given_up(opened, upstream, wire):
    priming = b"id: e1\nretry: 10\ndata:\n\n"
    upstream.script = gives(wire.stream + wire.chunked(priming))
    assert (await refused(await opened.open("it", "k", legacy=True))).code == "PC5008"
    gets = [request for request in upstream.requests if request.startswith(b"GET")]
    assert len(gets) == 3


async def test_an_answer_in_endless_pieces_is_given_up_in_time(opened, upstream, wire):
    piece = event(message(method="notifications/message"), b"id: 7", b"retry: 10")
    upstream.script = gives(wire.stream + wire.chunked(piece))
    assert (await refused(await opened.open("it", "k", legacy=True))).code == "PC5002"


async def test_listening_goes_on_over_broken_connections(opened, upstream, wire):
    news = [
        wire.stream + wire.chunked(event(message(method=f"n/{n}"), b"id: e%d" % n, b"retry: 10"))
        for n in range(3)
    ]
    upstream.script = gives(*news)
    channel = await opened.open("it", "k", legacy=True)
    heard = []
    async with asyncio.timeout(5):
        async for incoming in channel.listen("e-before"):
            heard.append((incoming.message["method"], incoming.event_id))
            if len(heard) == 3:
                break
    assert heard == [("n/0", "e0"), ("n/1", "e1"), ("n/2", "e2")]
    asked = [sent(request).get("last-event-id") for request in upstream.requests]
    assert asked[:3] == ["e-before", "e0", "e1"]


async def test_a_server_without_a_stream_of_its_own_is_no_fault(opened, upstream, wire):
    upstream.script = gives(wire.answer(b"", status=b"405 Method Not Allowed"))
    channel = await opened.open("it", "k", legacy=True)
    assert [one async for one in channel.listen(None)] == []


async def test_a_session_that_the_server_lost_ends_the_channel(opened, upstream, wire):
    upstream.script = gives(begins(wire), wire.answer(b"", status=b"404 Not Found"))
    channel = await opened.open("it", "k", legacy=True)
    await ask(channel, INITIALIZE)
    assert (await refused(channel)).code == "PC5011"
    count = len(upstream.requests)
    assert (await refused(channel)).code == "PC5011"
    assert len(upstream.requests) == count
    again = await opened.open("it", "k", legacy=True)
    assert again is not channel


async def test_leaving_a_legacy_call_tells_the_server(opened, upstream, wire):
    async def script(server, request, writer):
        if b'"tools/call"' in request:
            writer.write(wire.stream + wire.chunked(event(message(method="n/1")))[:-5])
        else:
            writer.write(wire.answer(b"", status=b"202 Accepted"))

    upstream.script = script
    channel = await opened.open("it", "k", legacy=True)
    request = channel.request(CALL, {})
    await anext(request)
    await request.aclose()
    async with asyncio.timeout(2):
        while len(upstream.requests) < 2:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
    body = json.loads(upstream.requests[-1].partition(b"\r\n\r\n")[2])
    assert body["method"] == "notifications/cancelled"
    assert body["params"]["requestId"] == 1


async def test_a_modern_conversation_has_no_stream_of_its_own(opened):
    channel = await opened.open("it", "k", legacy=False)
    assert [one async for one in channel.listen(None)] == []
    with pytest.raises(Problem):
        await anext(channel.listen("e1"))

"""What every forwarder must guarantee, against a server that does what it should not."""

from __future__ import annotations

import asyncio
import gzip
import time

import pytest

from contract.execution.forwarding import pieces, read, refused, says, stream

pytestmark = pytest.mark.anyio


async def test_an_answer_comes_back_whole_and_the_connection_is_reused(forwarder, upstream, call):
    for _ in range(5):
        assert await read(forwarder, call()) == b'{"ok":true}'
    assert len(upstream.requests) == 5
    assert upstream.connections == 1


async def test_the_request_goes_out_as_decided_with_our_credential(
    forwarder, upstream, call, credential
):
    headers = (
        ("content-type", "application/json"),
        ("x-mine", "kept"),
        ("Authorization", "Bearer agents-own-token"),
        ("Host", "elsewhere.example"),
        ("Transfer-Encoding", "chunked"),
        ("Cookie", "a=b"),
        ("Accept-Encoding", "gzip"),
        ("Connection", "upgrade"),
    )
    await read(forwarder, call(headers=headers, body=b'{"a":1}'))
    head, _, body = upstream.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    names = [line.partition(":")[0].lower() for line in lines[1:]]
    fields = {line.partition(":")[0].lower(): line.partition(": ")[2] for line in lines[1:]}
    assert lines[0] == "POST /base/v1/x HTTP/1.1"
    assert body == b'{"a":1}'
    assert sorted(names) == sorted(set(names))
    assert fields == {
        "host": upstream.url.removeprefix("http://"),
        "content-type": "application/json",
        "x-mine": "kept",
        "accept-encoding": "identity",
        "authorization": f"Bearer {credential}",
        "content-length": "7",
    }


@pytest.mark.parametrize(
    "path",
    [
        "/../admin", "/v1/../../admin", "/./x", "//elsewhere/x", "/v1//x", "/v1/%2e%2e/x",
        "/v1/x%2f..", "/v1\\..\\x", "/v1/x#f", "v1/x", "@elsewhere/", "/v1/x\r\nHost: y",
        "/v1/\x00", "/v1/x y", "http://elsewhere/", "/v1/é",
    ],
)  # fmt: skip
async def test_a_path_cannot_leave_the_upstreams_address(forwarder, upstream, call, path):
    assert await refused(forwarder, call(path=path)) == "PC1010"
    assert upstream.connections == 0


async def test_a_query_is_kept_as_it_is(forwarder, upstream, call):
    await read(forwarder, call(path="/v1/x?limit=2&after=a%20b"))
    assert upstream.requests[0].startswith(b"POST /base/v1/x?limit=2&after=a%20b HTTP/1.1\r\n")


async def test_a_header_cannot_smuggle_another_one(forwarder, upstream, call):
    headers = (("x-mine", "a\r\nx-evil: b"),)
    assert await refused(forwarder, call(headers=headers)) == "PC1011"
    assert upstream.requests == []


async def test_unknown_unreachable_and_uncredentialed_upstreams_are_told_apart(forwarder, call):
    assert await refused(forwarder, call("unknown")) == "PC5012"
    assert await refused(forwarder, call("nowhere")) == "PC5001"
    assert await refused(forwarder, call("poor")) == "PC5007"


async def test_a_slow_head_is_given_up(forwarder, upstream, call):
    upstream.script = says(b"", then=5)
    start = time.monotonic()
    assert await refused(forwarder, call()) == "PC5002"
    assert time.monotonic() - start < 2


async def test_endless_interim_answers_are_given_up(forwarder, upstream, call):
    async def script(server, request, writer):
        for _ in range(100):
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    upstream.script = script
    assert await refused(forwarder, call()) == "PC5002"


async def test_a_slow_body_is_given_up(forwarder, upstream, call, wire):
    upstream.script = says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", then=5)
    assert await refused(forwarder, call()) == "PC5002"


async def test_a_trickling_body_is_given_up(forwarder, upstream, call):
    upstream.script = pieces(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", *[b"a"] * 100)
    assert await refused(forwarder, call()) == "PC5002"


async def test_a_silent_stream_is_given_up(forwarder, upstream, call, wire):
    upstream.script = says(wire.stream + wire.chunked(b"data: 1\n\n")[:-5], then=5)
    passed, problem = await stream(forwarder, call())
    assert passed == [b"data: 1\n\n"]
    assert problem is not None
    assert problem.code == "PC5002"


async def test_a_stream_may_outlast_the_limit_for_whole_answers(forwarder, upstream, call, wire):
    parts = [wire.chunked(b"data: %d\n\n" % number)[:-5] for number in range(6)]
    upstream.script = pieces(wire.stream, *parts, b"0\r\n\r\n", pause=0.1)
    passed, problem = await stream(forwarder, call())
    assert problem is None
    assert b"".join(passed).count(b"data") == 6


async def test_a_stream_without_end_is_given_up(forwarder, upstream, call, wire):
    upstream.script = pieces(wire.stream, *[wire.chunked(b"x")[:-5]] * 100, pause=0.05)
    _, problem = await stream(forwarder, call())
    assert problem is not None
    assert problem.code == "PC5002"


async def test_a_slow_reader_of_ours_is_not_held_against_the_upstream(
    forwarder, upstream, call, wire
):
    upstream.script = says(wire.stream + wire.chunked(b"a", b"b"))
    response = await forwarder.send(call())
    seen = b""
    async for chunk in response.chunks():
        seen += chunk
        await asyncio.sleep(0.5)
    assert seen == b"ab"


@pytest.mark.parametrize("announced", [True, False])
async def test_an_answer_beyond_the_limit_is_refused(forwarder, upstream, call, wire, announced):
    body = b"x" * 5000
    upstream.script = says(
        wire.answer(body) if announced else wire.stream + wire.chunked(body[:3000], body[3000:])
    )
    assert await refused(forwarder, call()) == "PC5004"


async def test_a_stream_beyond_the_limit_is_cut(forwarder, upstream, call, wire):
    parts = [wire.chunked(b"x" * 1500)[:-5]] * 4
    upstream.script = pieces(wire.stream, *parts)
    passed, problem = await stream(forwarder, call())
    assert sum(map(len, passed)) <= 4096
    assert problem is not None
    assert problem.code == "PC5004"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    ],
)
async def test_an_answer_that_breaks_off_is_not_taken_for_whole(forwarder, upstream, call, data):
    upstream.script = says(data, then=0.05, close=True)
    assert await refused(forwarder, call()) in {"PC5008", "PC5003"}


async def test_a_stream_that_breaks_off_says_so(forwarder, upstream, call, wire):
    upstream.script = pieces(wire.stream, wire.chunked(b"data: 1\n\n")[:-5], close=True)
    passed, problem = await stream(forwarder, call())
    assert b"".join(passed) == b"data: 1\n\n"
    assert problem is not None
    assert problem.code == "PC5008"


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_an_ambiguous_or_broken_head_is_refused(forwarder, upstream, call, data):
    upstream.script = says(data, then=0.05, close=True)
    assert await refused(forwarder, call()) in {"PC5003", "PC5008"}


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"307 Temporary", b"308 Permanent"])
async def test_a_redirect_is_not_followed_nor_passed_on(forwarder, upstream, call, wire, status):
    upstream.script = says(wire.answer(b"", b"Location: " + upstream.url.encode(), status=status))
    assert await refused(forwarder, call()) == "PC5003"
    assert len(upstream.requests) == 1


async def test_a_compressed_bomb_is_not_unpacked(forwarder, upstream, call, wire):
    bomb = gzip.compress(bytes(3_000_000))
    upstream.script = says(wire.answer(bomb, b"Content-Encoding: gzip"))
    assert await refused(forwarder, call()) == "PC5003"


async def test_errors_of_the_upstream_come_back_as_they_are(forwarder, upstream, call, wire):
    upstream.script = says(wire.answer(b'{"error":1}', b"Retry-After: 1", status=b"429 Slow"))
    response = await forwarder.send(call())
    assert (response.status, response.headers["retry-after"]) == (429, "1")
    assert await response.read() == b'{"error":1}'


async def test_headers_about_the_connection_and_cookies_stay_here(forwarder, upstream, call, wire):
    upstream.script = says(
        wire.answer(
            b"{}",
            b"Connection: keep-alive, X-Hop",
            b"Keep-Alive: timeout=5",
            b"X-Hop: 1",
            b"Set-Cookie: a=b",
            b"WWW-Authenticate: Bearer",
            b"Alt-Svc: h3=elsewhere",
            b"Trailer: X-T",
            b"X-Request-Id: one",
            b"X-Request-ID: two",
            b"X-Odd: \xff",
            b"Content-Type: application/json",
        )
    )
    response = await forwarder.send(call())
    await response.read()
    assert response.headers == {
        "content-length": "2",
        "x-request-id": "one, two",
        "content-type": "application/json",
    }


async def test_more_calls_than_allowed_are_refused_at_once(forwarder, upstream, call, wire):
    upstream.script = says(b"", then=5)
    waiting = [asyncio.create_task(read(forwarder, call())) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert await refused(forwarder, call()) == "PC5006"
    upstream.script = upstream.ok
    assert await read(forwarder, call("open")) == b'{"ok":true}'
    problems = await asyncio.gather(*waiting, return_exceptions=True)
    assert [problem.code for problem in problems] == ["PC5002", "PC5002"]
    assert await read(forwarder, call()) == b'{"ok":true}'


async def test_every_place_is_given_back_however_a_call_ends(forwarder, upstream, call, wire):
    for script in (
        says(b"nonsense\r\n\r\n", close=True),
        says(wire.answer(b"", status=b"302 Found")),
        says(wire.answer(b"x" * 9999)),
        says(b"", close=True),
    ):
        upstream.script = script
        for _ in range(3):
            await refused(forwarder, call())
    upstream.script = upstream.ok
    assert await read(forwarder, call()) == b'{"ok":true}'


async def test_closing_early_aborts_the_upstream_call_at_once(forwarder, upstream, call, wire):
    upstream.script = pieces(wire.stream, *[wire.chunked(b"x")[:-5]] * 1000, pause=0.01)
    response = await forwarder.send(call())
    async for _ in response.chunks():
        break
    start = time.monotonic()
    response.close()
    response.close()
    await asyncio.wait_for(upstream.ended.wait(), 1)
    assert time.monotonic() - start < 0.5


async def test_cancelling_a_waiting_call_aborts_it_and_is_no_timeout(forwarder, upstream, call):
    upstream.script = pieces(*[b"HTTP/1.1 103 Hints\r\n\r\n"] * 1000, pause=0.01)
    task = asyncio.create_task(forwarder.send(call()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(upstream.ended.wait(), 1)


async def test_nothing_is_ever_sent_twice(forwarder, upstream, call):
    for method in ("GET", "DELETE", "POST"):
        upstream.script = upstream.ok
        await read(forwarder, call(method=method))
        upstream.requests.clear()
        upstream.script = says(b"", close=True)
        assert await refused(forwarder, call(method=method)) == "PC5001"
        assert len(upstream.requests) == 1


async def test_a_closed_forwarder_sends_nothing(forwarder, upstream, call):
    await forwarder.close()
    assert await refused(forwarder, call()) == "PC5013"
    assert upstream.connections == 0

"""If these fail, a request that the gate reads is another one at its host, or an answer another
one at the agent.
"""

import asyncio
import gzip

import pytest

from e2e.egress.asking import KEY, cell, first, raw, reached
from e2e.egress.rules import CARD, FRONT, PLAIN, RAW, READ
from e2e.egress.stage import code_in

pytestmark = pytest.mark.anyio


@cell("egress", "request")
@cell("headers", "request")
async def test_a_request_is_for_the_host_of_its_connection_and_nobody_else(stage):
    async with stage.http() as http:
        before = reached(stage)
        for host in (FRONT, f"{FRONT}:{stage.tls}", "127.0.0.1", f"{READ}:1"):
            answer = await http.get(stage.url(READ), headers={"host": host})
            assert code_in(answer.text) == "PC5057", host
        answer = await http.get(stage.url(PLAIN), headers={"host": FRONT})
        assert code_in(answer.text) == "PC5057"
        assert reached(stage) == before
        headers = {
            "proxy-authorization": "x",
            "te": "trailers",
            "connection": "x-mine",
            "x-mine": "1",
        }
        answer = await http.get(stage.url(READ), headers=headers)
        assert (answer.status_code, answer.text) == (200, "hello")
        sent = {name.lower() for name in stage.hosts.seen[-1][3]}
        assert not sent & {"proxy-authorization", "te", "x-mine", "connection"}
    await stage.recorded("PC5057", principal="coder")


@cell("headers", "result")
async def test_no_header_leads_the_client_past_the_gate(stage):
    async with stage.http() as http:
        answer = await http.get(stage.url(READ, "/public/?say=headers"))
        assert answer.headers["x-kept"] == "yes"
        assert "alt-svc" not in answer.headers


@cell("egress", "request")
async def test_methods_and_paths_are_those_of_the_rule(stage):
    async with stage.http() as http:
        before = reached(stage)
        for method, path in (
            ("GET", "/private"),
            ("PUT", "/public/"),
            ("GET", "/public/%2e%2e/private"),
            ("GET", "/public/..%2fprivate"),
            ("GET", "/public/..;/private"),
            ("GET", "/public//private"),
        ):
            answer = await http.request(method, stage.url(READ, path))
            assert code_in(answer.text) == "PC3018", path
        assert reached(stage) == before
        assert (await http.get(stage.url(READ, "/public/a/b?c=../d"))).text == "hello"
    await stage.recorded("PC3018", check="authorize", method="PUT")


@cell("strict-input", "request")
async def test_a_request_with_two_lengths_is_refused(stage):
    where = f"http://{PLAIN}:{stage.plain}/public/"
    post = f"POST {where} HTTP/1.1\r\nhost: {PLAIN}:{stage.plain}\r\n"
    before = reached(stage)
    for text in (
        f"{post}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        f"{post}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        f"GET {where} HTTP/1.1\r\nhost: {PLAIN}:{stage.plain}\r\nhost: {FRONT}\r\n\r\n",
        f"GET {where} HTTP/1.1\r\n host: {PLAIN}\r\n\r\n",
    ):
        assert code_in(await first(stage, text)) in {"PC1011", "PC5057"}, text
    assert reached(stage) == before
    await stage.recorded("PC1011", route="egress")


@cell("strict-input", "result stream")
@cell("shape", "result")
async def test_an_answer_that_can_be_read_in_two_ways_is_withheld(stage):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
    for script in (
        head + b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        head + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\nconnection: upgrade\r\n\r\n",
        b"no http at all\r\n\r\n",
    ):
        assert (await raw(stage, script))[0] == "PC5003", script
    events = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|disconnect"):
        await raw(stage, events + b"\r\n9\r\ndata: a\n\n\r\nzz\r\n")
    await stage.recorded("PC5003", name=f"{RAW}:{stage.ports['raw']}")


@cell("shape", "request")
async def test_forms_that_nobody_checks_are_refused(stage):
    where = f"{PLAIN}:{stage.plain}"
    host = f"host: {where}\r\n\r\n"
    for text, code in (
        (f"TRACE http://{where}/ HTTP/1.1\r\n{host}", "PC1011"),
        (f"get http://{where}/ HTTP/1.1\r\n{host}", "PC1011"),
        (f"GET https://{where}/ HTTP/1.1\r\n{host}", "PC5050"),
        (f"GET ftp://{where}/ HTTP/1.1\r\n{host}", "PC1010"),
        (f"GET /openai/v1/models HTTP/1.1\r\n{host}", "PC1010"),
        (f"DELETE /dns-query HTTP/1.1\r\n{host}", "PC1009"),
        (f"CONNECT user@{where} HTTP/1.1\r\n{host}", "PC5050"),
    ):
        assert code_in(await first(stage, text)) == code, text
    body = {"content": b"abc", "headers": {"content-encoding": "br"}}
    async with stage.http() as http:
        assert code_in((await http.post(stage.url(READ), **body)).text) == "PC5058"


@cell("shape", "stream")
async def test_a_stream_that_cannot_be_read_is_withheld(stage):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: br\r\n"
    code, _ = await raw(stage, head + b"content-length: 3\r\n\r\nabc")
    assert code == "PC5058"


@cell("bounds", "request")
async def test_a_body_has_a_bound_also_when_it_is_compressed(stage):
    async with stage.http() as http:
        large = {"content": b"x" * (2**18 + 1)}
        assert code_in((await http.post(stage.url(READ), **large)).text) == "PC1007"
        bomb = gzip.compress(b"x" * 2**22)
        packed = {"content": bomb, "headers": {"content-encoding": "gzip"}}
        assert code_in((await http.post(stage.url(READ), **packed)).text) == "PC1007"


@cell("bounds", "result stream")
async def test_an_answer_and_each_event_of_a_stream_have_a_bound(stage):
    async with stage.http() as http:
        answer = await http.get(stage.url(READ, "/public/?say=large"))
        assert code_in(answer.text) == "PC5004"
        with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|disconnect"):
            await http.get(stage.url(READ, "/public/events?say=a&say=large"))
    await stage.recorded("PC5004", type="result")


async def test_plain_requests_are_judged_like_any_other(stage):
    async with stage.http() as http:
        answer = await http.post(stage.url(PLAIN), content=KEY)
        assert code_in(answer.text) == "PC3021"
        answer = await http.get(stage.url(PLAIN, "/public/?say=key"))
        assert "[AWS_ACCESS_KEY_ID]" in answer.text
        assert (await http.get(stage.url(PLAIN, "/public/?say=card"))).text == f"the card is {CARD}"
        answer = await http.get(f"http://{READ}:{stage.tls}/public/")
        assert code_in(answer.text) == "PC3018", "it lets nothing go unencrypted"


@cell("egress", "request")
@cell("inspect-data", "request")
async def test_what_a_connect_carries_in_the_clear_is_read(stage):
    async def said(text):
        async with stage.tunnel(host=PLAIN, port=stage.plain) as (reader, writer):
            writer.write(text.encode())
            return (await asyncio.wait_for(reader.read(2**16), 10)).decode()

    head = f"HTTP/1.1\r\nhost: {PLAIN}:{stage.plain}\r\n"
    before = reached(stage)
    assert (await said(f"GET /public/ {head}\r\n")).startswith("HTTP/1.1 200")
    await stage.recorded("", method="GET", name=f"{PLAIN}:{stage.plain}", verdict="allow")
    assert reached(stage) == before + 1
    told = f"POST /public/ {head}content-length: {len(KEY)}\r\n\r\n{KEY}"
    assert code_in(await said(told)) == "PC3021"
    assert code_in(await said(f"GET /public/ {head.replace(PLAIN, FRONT)}\r\n")) == "PC5057"
    assert code_in(await said("no http at all\r\n\r\n")) == "PC1011"
    assert reached(stage) == before + 1

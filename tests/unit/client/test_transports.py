"""If these fail, requests are lost when certificates rotate, or credentials go astray."""

import asyncio
import contextlib

import aiohttp
import httpx2
import openai
import pytest

from client_gate import until
from portcullis import client
from portcullis.client.aiohttp import session
from portcullis.client.httpx import Transport
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio

KINDS = ("httpx", "aiohttp")


@contextlib.asynccontextmanager
async def caller(kind, access, **options):
    """One function over both: (method, url, headers, body) -> (status, JSON or text)."""
    if kind == "httpx":
        async with httpx2.AsyncClient(transport=Transport(access, **options)) as http:

            async def call(method, url, headers=(), body=None):
                answer = await http.request(method, url, headers=dict(headers), content=body)
                return answer.status_code, answer.json()

            yield call
    else:
        async with session(access, **options) as http:

            async def call(method, url, headers=(), body=None):
                async with http.request(
                    method, url, headers=dict(headers), data=body, allow_redirects=False
                ) as answer:
                    return answer.status, await answer.json(content_type=None)

            yield call


@pytest.fixture
async def access(gate, join_token):
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as identity:
        yield client.Gate(gate.url, identity)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_carries_a_token_of_its_own_certificate(kind, gate, access):
    async with caller(kind, access) as call:
        status, seen = await call("POST", f"{gate.url}/echo?a=1", {"x-mine": "1"}, b"hello")
    assert status == 200
    assert (seen["target"], seen["body"]) == ("/echo?a=1", "hello")
    assert seen["headers"]["x-mine"] == "1"
    assert gate.forms == [{"grant_type": "client_credentials"}]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_sdk_shows_as_its_key_is_replaced(kind, gate, access):
    shown = {"authorization": "Bearer placeholder", "x-api-key": "placeholder"}
    async with caller(kind, access) as call:
        status, seen = await call("GET", f"{gate.url}/echo", shown)
    assert status == 200
    assert "placeholder" not in str(seen)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_sessions_delegation_is_exchanged_and_not_passed_on(kind, header, gate, access):
    delegation = "aGVhZA.ZGVsZWdhdGlvbg.c2ln"
    value = f"Bearer {delegation}" if header == "authorization" else delegation
    async with caller(kind, access) as call:
        for _ in range(3):
            status, seen = await call("GET", f"{gate.url}/echo", {header: value})
    assert status == 200
    assert delegation not in str(seen)
    assert [form.get("subject_token") for form in gate.forms] == [delegation]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_delegation_may_be_given_once_for_all_requests(kind, gate, access):
    delegation = "aa.bb.cc"
    async with caller(kind, access, delegation=delegation) as call:
        assert (await call("GET", f"{gate.url}/echo", {"authorization": "Bearer spiffe"}))[0] == 200
    assert gate.forms[0]["subject_token"] == delegation


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refused_token_is_replaced_once(kind, gate, access):
    gate.refuse_once = {1}
    async with caller(kind, access) as call:
        status, seen = await call("POST", f"{gate.url}/echo", body=b"hello")
    assert (status, seen["body"]) == (200, "hello")
    assert gate.failures == [("/echo", "PC2003")]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_refused_twice_is_the_answer(kind, gate, access):
    gate.refuse_once = {1, 2, 3}
    async with caller(kind, access) as call:
        status, seen = await call("GET", f"{gate.url}/echo")
    assert (status, seen["code"]) == (401, "PC2003")
    assert len(gate.forms) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_that_cannot_be_sent_again_is_not(kind, gate, access):
    async def parts():
        yield b"once"

    gate.refuse_once = {1}
    async with caller(kind, access) as call:
        status, _ = await call("POST", f"{gate.url}/echo", body=parts())
    assert status == 401
    assert len([path for _, path, _ in gate.requests if path == "/echo"]) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_that_came_after_the_token_is_not_retried(kind, gate, access):
    async with caller(kind, access) as call:
        status, seen = await call("GET", f"{gate.url}/denied")
    assert (status, seen["code"]) == (403, "PC3001")
    assert len([path for _, path, _ in gate.requests if path == "/denied"]) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_no_other_address_gets_a_request(kind, gate, access):
    refused = httpx2.UnsupportedProtocol if kind == "httpx" else aiohttp.InvalidURL
    async with caller(kind, access) as call:
        for url in (gate.plain, gate.url.replace("127.0.0.1", "localhost"), "https://evil.test"):
            with pytest.raises(refused):
                await call("GET", f"{url}/echo")
    assert gate.requests[1:] == []


async def test_a_redirect_elsewhere_is_not_followed_with_credentials(gate, access):
    async with httpx2.AsyncClient(transport=Transport(access), follow_redirects=True) as http:
        with pytest.raises(httpx2.UnsupportedProtocol):
            await http.get(f"{gate.url}/forward")
    async with session(access) as http:
        with pytest.raises(aiohttp.InvalidURL):
            await http.get(f"{gate.url}/forward")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_revoked_agent_learns_it_with_the_code(kind, gate, access):
    gate.cut = True
    async with caller(kind, access) as call:
        if kind == "httpx":
            status, seen = await call("GET", f"{gate.url}/echo")
            assert (status, seen["code"]) == (403, "PC4001")
        else:
            with pytest.raises(Problem, match="PC4001"):
                await call("GET", f"{gate.url}/echo")


async def test_no_token_shows_in_the_request_that_the_caller_keeps(gate, access):
    async with httpx2.AsyncClient(transport=Transport(access)) as http:
        answer = await http.get(f"{gate.url}/echo", headers={"x-mine": "1"})
    assert "authorization" not in answer.request.headers
    assert "authorization" in str(answer.json()["headers"]).lower()


@pytest.mark.parametrize("kind", KINDS)
async def test_rotation_under_load_loses_no_request(kind, gate, join_token):
    gate.svid_ttl, gate.token_ttl = 4, 4
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as identity:
        access = client.Gate(gate.url, identity)
        statuses = []

        async def load(call, stop):
            while not stop.is_set():
                statuses.append((await call("POST", f"{gate.url}/echo", body=b"x"))[0])

        async with caller(kind, access) as call:
            stop = asyncio.Event()
            running = [asyncio.create_task(load(call, stop)) for _ in range(8)]
            await until(lambda: len(gate.serials) >= 4, 30)
            stop.set()
            await asyncio.gather(*running)
    assert set(statuses) == {200}
    assert len(statuses) > 100
    assert gate.failures == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_outlives_the_rotation_of_its_certificate(kind, gate, join_token):
    gate.svid_ttl = 2
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as identity:
        access = client.Gate(gate.url, identity)
        first = identity.current
        if kind == "httpx":
            http = httpx2.AsyncClient(transport=Transport(access))
            async with http, http.stream("GET", f"{gate.url}/stream") as answer:
                lines = answer.aiter_lines()
                assert await anext(lines) == "data: first"
                await until(lambda: identity.current is not first)
                assert (await http.get(f"{gate.url}/echo")).status_code == 200
                gate.proceed.set()
                assert "data: second" in [line async for line in lines]
        else:
            http = session(access)
            async with http, http.get(f"{gate.url}/stream") as answer:
                assert await answer.content.readline() == b"data: first\n"
                await until(lambda: identity.current is not first)
                async with http.get(f"{gate.url}/echo") as other:
                    assert other.status == 200
                gate.proceed.set()
                assert b"data: second\n" in await answer.content.read()
    assert len(gate.serials) == 2


async def test_the_openai_client_works_over_the_transport_unmodified(gate, access):
    http = httpx2.AsyncClient(transport=Transport(access))
    model = openai.AsyncOpenAI(base_url=f"{gate.url}/openai/v1", api_key="spiffe", http_client=http)
    message = [{"role": "user", "content": "hi"}]
    async with model:
        whole = await model.chat.completions.create(model="m", messages=message)
        assert whole.choices[0].message.content == "Hello"
        parts = await model.chat.completions.create(model="m", messages=message, stream=True)
        text = [part.choices[0].delta.content async for part in parts]
    assert "".join(text) == "Hello"


async def test_an_unreachable_gate_is_the_errors_that_each_library_has_for_it(gate, access):
    await access.ready()
    access.url = "https://127.0.0.1:1"
    async with httpx2.AsyncClient(transport=Transport(access)) as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get("https://127.0.0.1:1/echo")
    async with session(access) as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get("https://127.0.0.1:1/echo")

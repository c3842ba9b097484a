"""If these fail, an unmodified client cannot work through the side process, or a stranger can."""

import asyncio
import contextlib
import os
import secrets
import socket
import stat

import aiohttp
import anthropic
import openai
import pytest
from aiohttp.test_utils import unused_port
from yarl import URL

from client_gate import until
from portcullis import client
from portcullis.client.connector import Connector
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio


@pytest.fixture
async def access(gate, join_token):
    async with client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as identity:
        yield client.Gate(gate.url, identity)


@pytest.fixture
async def base(access):
    async with Connector(access).listening("127.0.0.1:0") as url:
        yield url


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_request_arrives_as_it_was_sent_under_our_certificate(gate, base, http):
    sent = {"x-mine": "1", "te": "trailers", "connection": "keep-alive, x-hop", "x-hop": "1"}
    url = URL(f"{base}/mcp/echo?a=%2F&b=%20", encoded=True)
    async with http.put(url, data=b"hello", headers=sent) as answer:
        seen = await answer.json()
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert (seen["method"], seen["target"]) == ("PUT", "/mcp/echo?a=%2F&b=%20")
    assert seen["body"] == "hello"
    assert headers["x-mine"] == "1"
    assert headers["host"] in gate.url
    assert not {"te", "x-hop"} & headers.keys()
    assert headers["authorization"].startswith("Bearer ")


async def test_a_large_upload_streams_through(gate, base, http):
    async def parts():
        for _ in range(50):
            yield b"x" * 1_000

    async with http.post(f"{base}/mcp/echo", data=parts()) as answer:
        assert len((await answer.json())["body"]) == 50_000


async def test_events_arrive_one_by_one_and_not_at_the_end(gate, base, http):
    async with http.get(f"{base}/mcp/stream") as answer:
        async with asyncio.timeout(2):
            assert await answer.content.readline() == b"data: first\n"
        gate.proceed.set()
        assert await answer.content.read() == b"\ndata: second\n\n"


async def test_a_client_that_goes_away_ends_the_call_at_the_gate(gate, base, http):
    async with http.get(f"{base}/mcp/stream") as answer:
        await answer.content.readline()
        answer.close()
    async with asyncio.timeout(2):
        gate.proceed.set() if gate.cancelled.is_set() else await gate.cancelled.wait()


async def test_a_stream_that_breaks_at_the_gate_does_not_end_as_if_complete(gate, base, http):
    async with http.get(f"{base}/mcp/broken") as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()


async def test_a_redirect_is_passed_on_and_not_followed(gate, base, http):
    async with http.get(f"{base}/mcp/forward", allow_redirects=False) as answer:
        assert answer.status == 307


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
    ],
    ids=str,
)
async def test_a_web_page_cannot_use_the_connector(gate, base, http, headers):
    gate.requests.clear()
    async with http.get(f"{base}/mcp/echo", headers=headers) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (403, "PC1014")
    assert gate.requests == []


async def test_our_own_page_and_both_names_of_loopback_pass(base, http):
    port = base.rpartition(":")[2]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        headers = {"host": host, "origin": f"http://{host}"}
        async with http.get(f"{base}/mcp/echo", headers=headers) as answer:
            assert answer.status == 200


async def test_a_target_elsewhere_is_not_fetched(gate, base):
    host, port = base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    gate.requests.clear()
    writer.write(f"GET http://evil.example/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    assert b" 400 " in await reader.readline()
    writer.close()
    assert gate.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/svid",
        "/v1/token",
        "/v1/runs",
        "/v1/runs/session",
        "/v1/svid/",
        "/v1/calls/../svid",
        "/v1/calls/%2e%2E/svid",
        "/mcp/x/%2E./../v1/svid",
        "/mcp/x%2f..%2fv1/svid",
        "/mcp/x%5c..%5cv1",
        "//v1/calls",
        "/v1//calls",
        "/v1/callsign",
        "/mcpx",
        "/v1/bundle/../svid",
        "/openai/./v1",
        "/api/v1/agents",
        "/metrics",
        "/",
    ],
)
async def test_nobody_gets_an_identity_or_a_token_for_itself_through_it(gate, base, http, path):
    gate.requests.clear()
    async with http.post(URL(base + path, encoded=True), json={"csr": "mine"}) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (404, "PC1010")
    assert gate.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/bundle",
        "/v1/calls/0190/echo",
        "/v1/sessions/echo",
        "/openai/v1/models/ft:a%20b/echo?x=../y",
        "/mcp/orders/echo",
    ],
)
async def test_what_an_identity_is_used_for_passes(gate, base, http, path):
    async with http.get(URL(base + path, encoded=True)) as answer:
        assert answer.status == 200
    assert gate.requests[-1][1] == path


@contextlib.asynccontextmanager
async def keyed(access, key, address="127.0.0.1:0"):
    async with Connector(access, key=key).listening(address) as base:
        yield base


async def test_with_a_key_another_local_process_gets_nothing(gate, access, http):
    key = secrets.token_hex()
    async with keyed(access, key) as base:
        gate.requests.clear()
        for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": "wr\u00f6ng"}):
            async with http.get(f"{base}/mcp/echo", headers=headers) as answer:
                assert answer.status == 401
        assert gate.requests == []


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "x-portcullis-key"])
@pytest.mark.parametrize("form", ["opaque", "like a token"])
async def test_the_key_opens_the_door_and_goes_no_further(gate, access, http, name, form):
    key = secrets.token_hex() if form == "opaque" else f"aa.bb.{secrets.token_hex()}"
    async with keyed(access, key) as base:
        shown = f"Bearer {key}" if name == "authorization" else key
        async with http.get(f"{base}/mcp/echo", headers={name: shown}) as answer:
            assert answer.status == 200
            assert key not in await answer.text()
        assert key not in str(gate.forms)
        delegated = {"x-portcullis-key": key, "authorization": "Bearer aa.bb.cc"}
        async with http.get(f"{base}/mcp/echo", headers=delegated) as answer:
            assert answer.status == 200
        assert gate.forms[-1]["subject_token"] == "aa.bb." + "cc"


async def test_a_unix_socket_is_for_its_owner_alone(gate, access, tmp_path):
    path = tmp_path / "gate.sock"
    async with keyed(access, "", f"unix:{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        connector = aiohttp.UnixConnector(path=str(path))
        async with (
            aiohttp.ClientSession(connector=connector) as local,
            local.get("http://localhost/mcp/echo") as answer,
        ):
            assert answer.status == 200
    assert not path.exists()


async def test_a_socket_that_is_served_is_not_taken_over(access, tmp_path):
    path = tmp_path / "gate.sock"
    async with keyed(access, "", f"unix:{path}"):
        with pytest.raises(Problem, match="PC7004"):
            async with keyed(access, "", f"unix:{path}"):
                pass
        assert path.exists()


async def test_a_socket_left_by_a_crash_is_replaced(access, tmp_path):
    path = tmp_path / "gate.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(path))
    async with keyed(access, "", f"unix:{path}"):
        assert path.exists()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "gate.example:1", "127.0.0.1", ""])
async def test_it_listens_on_this_machine_only(access, address):
    with pytest.raises(Problem, match="PC7004"):
        async with keyed(access, "", address):
            pass


async def test_an_unreachable_gate_is_a_clear_answer(access, http):
    await access.ready()
    access.url = f"https://127.0.0.1:{unused_port()}"
    async with keyed(access, "") as base, http.get(f"{base}/mcp/echo") as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (502, "PC7011")


async def test_unmodified_clients_need_the_base_url_alone(gate, base):
    message = [{"role": "user", "content": "hi"}]
    async with openai.AsyncOpenAI(base_url=f"{base}/openai/v1", api_key="none") as model:
        whole = await model.chat.completions.create(model="m", messages=message)
        parts = await model.chat.completions.create(model="m", messages=message, stream=True)
        text = [part.choices[0].delta.content async for part in parts]
    assert whole.choices[0].message.content == "".join(text) == "Hello"
    async with anthropic.AsyncAnthropic(base_url=f"{base}/anthropic", api_key="none") as claude:
        said = await claude.messages.create(model="m", max_tokens=5, messages=message)
    assert said.content[0].text == "Hello"


async def test_a_sessions_delegation_is_exchanged_once_for_many_calls(gate, base, http):
    shown = {"authorization": "Bearer aGVhZA.c2Vzc2lvbg.c2ln"}
    for _ in range(5):
        async with http.get(f"{base}/mcp/echo", headers=shown) as answer:
            assert answer.status == 200
            assert "c2Vzc2lvbg" not in await answer.text()
    assert len(gate.forms) == 1


async def test_revocation_ends_it_with_the_next_refusal(gate, access, http):
    connector = Connector(access)
    async with connector.listening("127.0.0.1:0") as base:
        running = asyncio.create_task(connector.run())
        await until(lambda: gate.forms)
        gate.cut = True
        async with http.get(f"{base}/mcp/echo") as answer:
            assert answer.status == 403
        async with asyncio.timeout(4):
            assert (await running).code == "PC4001"


async def test_a_gate_that_ends_every_connection_means_us(gate, access, http):
    """Who was cut off before it came is not answered: its connections end after the handshake."""
    connector = Connector(access)
    async with connector.listening("127.0.0.1:0") as base:
        running = asyncio.create_task(connector.run())
        await until(lambda: gate.forms)
        gate.mute = True
        async with http.get(f"{base}/mcp/echo") as answer:
            assert (answer.status, (await answer.json(content_type=None))["code"]) == (
                502,
                "PC7013",
            )
        async with asyncio.timeout(6):
            assert (await running).code == "PC7013"


async def test_one_connection_that_ends_does_not_end_it(gate, access, http):
    connector = Connector(access)
    async with connector.listening("127.0.0.1:0") as base:
        running = asyncio.create_task(connector.run())
        await until(lambda: gate.forms)
        gate.mute = True
        async with http.get(f"{base}/mcp/echo") as answer:
            assert answer.status == 502
        gate.mute = False
        await until(lambda: len(gate.forms) == 2)
        async with http.get(f"{base}/mcp/echo") as answer:
            assert answer.status == 200
        assert not running.done()
        running.cancel()


async def test_a_policy_denial_does_not_end_it(gate, access, http):
    connector = Connector(access)
    async with connector.listening("127.0.0.1:0") as base:
        running = asyncio.create_task(connector.run())
        async with http.get(f"{base}/mcp/denied") as answer:
            assert answer.status == 403
        await asyncio.sleep(0.2)
        assert not running.done()
        assert len(gate.forms) == 1
        running.cancel()


async def test_what_an_upstream_says_about_cuts_is_not_believed(gate, access, http):
    """The words only make it ask; the gate's own answer decides."""
    connector = Connector(access)
    async with connector.listening("127.0.0.1:0") as base:
        running = asyncio.create_task(connector.run())
        await until(lambda: gate.forms)
        access.doubt()
        await until(lambda: len(gate.forms) == 2)
        assert not running.done()
        async with http.get(f"{base}/mcp/echo") as answer:
            assert answer.status == 200
        running.cancel()


async def test_certificates_rotate_under_load_without_a_failed_request(gate, join_token, http):
    gate.svid_ttl, gate.token_ttl = 4, 3
    statuses = []
    stop = asyncio.Event()

    async def load(base):
        while not stop.is_set():
            async with http.post(f"{base}/mcp/echo", data=b"x") as answer:
                statuses.append(answer.status)

    async with (
        client.enrolled(gate.plain, gate=gate.url, join_token=join_token) as identity,
        keyed(client.Gate(gate.url, identity), "") as base,
    ):
        running = [asyncio.create_task(load(base)) for _ in range(8)]
        await asyncio.sleep(8.6)
        stop.set()
        await asyncio.gather(*running)
    assert set(statuses) == {200}
    assert len(gate.serials) >= 4
    assert gate.failures == []

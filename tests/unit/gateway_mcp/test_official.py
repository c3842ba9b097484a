"""If these fail, the official MCP client does not work through the gate unmodified."""

import asyncio
import importlib.util
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import ElicitResult

from portcullis.core.errors import Problem
from portcullis.gateway.http import Request, send_json
from portcullis.gateway.listener import Listener
from portcullis.wire.json import encode
from portcullis.wire.jsonrpc import error_message

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent
STDIO = (sys.executable, str(HERE / "sdk_server.py"))
SERVERS = ["http", "http-json", "stdio"]
ERAS = ["auto", "legacy", "2026-07-28"]


def load(name):
    spec = importlib.util.spec_from_file_location(f"official_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def serving(app):
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def upstream(kind):
    if kind == "stdio":
        yield {"command": STDIO, "sandbox": "none"}
        return
    app = load("sdk_server").make().streamable_http_app(json_response=kind == "http-json")
    async with serving(app) as url:
        yield {"url": f"{url}/mcp"}


@pytest.fixture
async def through(request, make_gate):
    """A gate over HTTP in front of the official server of this kind: its URL and itself."""
    async with upstream(request.param) as configured:
        channels, forwarder = load("stdio_gate").channels_to(configured)
        gate = make_gate(channels=channels)
        gate.policy.denied = {"forbidden"}

        async def app(scope, receive, send):
            if scope["type"] != "http":
                return
            request, context = Request(scope, receive, send), gate.context()
            try:
                with gate.live.running(context, request.connection):
                    await gate.http(request, context, scope["path"].rpartition("/")[2])
            except Problem as problem:
                await send_json(send, problem.status, encode(error_message(None, problem)))

        listener = Listener(
            app,
            "127.0.0.1:0",
            refused=lambda problem, peer, **who: problem,
            live=gate.live,
            seconds=10,
            drain_seconds=1,
        )
        await listener.open()
        yield f"{listener.url}/mcp/orders", gate
        await listener.close()
        await gate.conversations.close()
        await channels.close()
        await forwarder.close()


async def say_yes(context, params):
    assert params.message == "Are you sure?"
    return ElicitResult(action="accept", content={"sure": True})


@pytest.mark.parametrize("through", SERVERS, indirect=True)
@pytest.mark.parametrize("mode", ERAS)
async def test_official_client_lists_calls_reads_prompts_and_is_refused(through, mode, request):
    url, gate = through
    kind = request.node.callspec.params["through"]
    progress = []

    async def note(done, total, message):
        progress.append(done)

    async with Client(url, mode=mode, elicitation_callback=say_yes) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "add" in names
        assert "forbidden" not in names
        sums = await asyncio.gather(
            *(client.call_tool("add", {"a": number, "b": 1}) for number in range(10))
        )
        assert [found.structured_content["result"] for found in sums] == list(range(1, 11))
        with pytest.raises(MCPError) as caught:
            await client.call_tool("forbidden", {})
        assert caught.value.error.data["code"] == "PC3002"
        await client.call_tool("count", {"to": 3}, progress_callback=note)
        read = await client.read_resource("memo://one")
        assert read.contents[0].text == "a memo"
        prompt = await client.get_prompt("greet", {"name": "Ann"})
        assert prompt.messages[0].content.text == "Hello Ann"
        assert [template.name for template in (await client.list_prompts()).prompts] == ["greet"]
    assert progress == ([] if kind == "http-json" else [1, 2, 3])
    calls = {event.id: event for event in gate.journal.events if event.type == "tool_call"}
    done = {event.decision for event in gate.journal.events if event.type == "tool_result"}
    allowed = {key for key, event in calls.items() if event.verdict == "allow"}
    assert len(allowed) == 11
    assert allowed == done


@pytest.mark.parametrize("through", ["http", "stdio"], indirect=True)
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_server_asks_the_user_through_the_gate(through, mode):
    url, gate = through
    async with Client(url, mode=mode, elicitation_callback=say_yes) as client:
        wiped = await client.call_tool("wipe", {"what": "disk"})
        assert wiped.content[0].text == "wiped disk"
        gate.policy.denied = {"elicitation/create"}
        try:
            kept = await client.call_tool("wipe", {"what": "disk"})
        except MCPError as error:
            refusal = error.error.data["code"]
        else:
            assert kept.is_error
            refusal = "PC3002"
        assert refusal == "PC3002"
    asked = [e.verdict for e in gate.journal.events if e.action == "server_request" and e.risk]
    assert "allow" in asked
    assert asked[-1] == "deny"


@pytest.mark.parametrize("through", ["http", "stdio"], indirect=True)
async def test_subscription_tells_of_changed_tools(through):
    url, _ = through
    async with (
        Client(url, mode="2026-07-28") as client,
        client.listen(tools_list_changed=True) as events,
    ):
        await client.call_tool("change", {})
        async with asyncio.timeout(5):
            async for event in events:
                assert type(event).__name__ == "ToolsListChanged"
                break


@pytest.mark.parametrize("through", ["http", "stdio"], indirect=True)
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_abandoned_call_is_cancelled_and_accounted_for(through, mode, eventually):
    url, gate = through
    async with Client(url, mode=mode) as client:
        await client.list_tools()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.call_tool("sleep", {"seconds": 30})
        await eventually(lambda: "PC5014" in gate.codes())
        assert (await client.call_tool("add", {"a": 1, "b": 1})).structured_content["result"] == 2


@pytest.mark.parametrize("through", ["http"], indirect=True)
async def test_session_of_the_official_client_ends_with_it(through):
    url, gate = through
    async with Client(url, mode="legacy") as client:
        await client.list_tools()
        assert len(gate.conversations) == 1
    assert len(gate.conversations) == 0


@pytest.mark.parametrize("mode", ERAS)
async def test_official_client_works_over_standard_streams(mode):
    command = StdioServerParameters(command=sys.executable, args=[str(HERE / "stdio_gate.py")])
    async with Client(command, mode=mode, elicitation_callback=say_yes) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "forbidden" not in names
        added = await client.call_tool("add", {"a": 1, "b": 2})
        assert added.structured_content["result"] == 3
        with pytest.raises(MCPError) as caught:
            await client.call_tool("forbidden", {})
        assert caught.value.error.data["code"] == "PC3002"
        wiped = await client.call_tool("wipe", {"what": "disk"})
        assert wiped.content[0].text == "wiped disk"

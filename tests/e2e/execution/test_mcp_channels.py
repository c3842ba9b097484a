"""The channels against servers made with the official SDK, and servers nobody here wrote."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import aclosing

import pytest

from needs import NODE, needs_node
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio

SERVERS = NODE / "@modelcontextprotocol"
ERAS = pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "modern"])


@pytest.fixture(params=["http-sse", "http-json", "stdio"])
async def peer(request, legacy, sdk_url, connect, stdio_command):
    if request.param == "stdio":
        target = stdio_command
    else:
        target = await sdk_url(json_response=request.param == "http-json")
    return await connect(target, legacy=legacy)


@ERAS
async def test_a_conversation_begins_lists_and_calls(peer, legacy):
    first = await peer.start()
    assert first["result"]["serverInfo" if legacy else "capabilities"]
    names = {tool["name"] for tool in (await peer.all("tools/list"))[-1]["result"]["tools"]}
    assert {"add", "count", "ask"} <= names
    sums = await asyncio.gather(*(peer.call("add", a=n, b=1) for n in range(20)))
    assert [result["structuredContent"]["result"] for result in sums] == list(range(1, 21))


@ERAS
async def test_an_error_of_the_server_is_a_message(legacy, sdk_url, connect):
    peer = await connect(await sdk_url(), legacy=legacy)
    await peer.start()
    (answer,) = await peer.all("prompts/get", name="none", arguments={})
    assert "error" in answer
    assert type(answer["id"]) is int


@ERAS
@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_progress_comes_before_the_answer(transport, legacy, sdk_url, connect, stdio_command):
    peer = await connect(stdio_command if transport == "stdio" else await sdk_url(), legacy=legacy)
    await peer.start()
    messages = await peer.all(
        "tools/call", name="count", arguments={"to": 3}, _meta={"progressToken": "mine"}
    )
    progress = [m["params"] for m in messages if m.get("method") == "notifications/progress"]
    assert [(p["progressToken"], p["progress"]) for p in progress] == [
        ("mine", 0), ("mine", 1), ("mine", 2),
    ]  # fmt: skip
    assert messages[-1]["result"]["content"][0]["text"] == "counted"


@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_a_server_may_ask_in_the_middle_of_a_call(transport, sdk_url, connect, stdio_command):
    peer = await connect(stdio_command if transport == "stdio" else await sdk_url(), legacy=True)
    await peer.start()
    request = peer.channel.request(*peer.message("tools/call", name="ask", arguments={}))
    messages = []
    async with asyncio.timeout(10), aclosing(request) as answer:
        async for incoming in answer:
            messages.append(incoming.message)
            if incoming.message.get("method") == "elicitation/create":
                reply = {"action": "accept", "content": {"name": "Ada"}}
                response = {"jsonrpc": "2.0", "id": incoming.message["id"], "result": reply}
                await peer.channel.notify(response, {})
    assert messages[-1]["result"]["content"][0]["text"] == "Ada"


@ERAS
@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_leaving_a_call_cancels_it_at_the_server(
    transport, legacy, sdk_url, connect, stdio_command
):
    peer = await connect(stdio_command if transport == "stdio" else await sdk_url(), legacy=legacy)
    await peer.start()
    left = asyncio.create_task(peer.call("sleep", seconds=30))
    await asyncio.sleep(0.5)
    left.cancel()
    await asyncio.sleep(0.5)
    assert (await peer.call("was_cancelled"))["structuredContent"] == {"result": ["sleep"]}


async def test_what_a_legacy_server_says_by_itself_is_heard(sdk_url, connect):
    peer = await connect(await sdk_url(), legacy=True)
    await peer.start()
    heard = asyncio.create_task(anext(peer.channel.listen(None)))
    await asyncio.sleep(0.3)
    await peer.call("change")
    incoming = await asyncio.wait_for(heard, 5)
    assert incoming.message["method"] == "notifications/tools/list_changed"


async def test_a_modern_subscription_is_heard_until_it_is_left(stdio_command, sdk_url, connect):
    for target in (stdio_command, await sdk_url()):
        peer = await connect(target, legacy=False)
        wanted = {"toolsListChanged": True}
        message = peer.message("subscriptions/listen", notifications=wanted)
        async with asyncio.timeout(10), aclosing(peer.channel.request(*message)) as answer:
            first = (await anext(answer)).message
            assert first["method"] == "notifications/subscriptions/acknowledged"
            key = "io.modelcontextprotocol/subscriptionId"
            assert first["params"]["_meta"][key] == message[0]["id"]
            await peer.call("change")
            assert (await anext(answer)).message["method"] == "notifications/tools/list_changed"


async def test_an_answer_whose_stream_the_server_closed_is_fetched(sdk_url, connect):
    peer = await connect(await sdk_url(events=True), legacy=True)
    await peer.start()
    assert (await peer.call("hang_up"))["content"][0]["text"] == "still there"


async def test_a_lost_session_must_be_initialized_again(sdk_url, connect):
    peer = await connect(await sdk_url(), legacy=True)
    await peer.start()
    peer.channel._session = "forgotten"
    with pytest.raises(Problem) as caught:
        await peer.call("add", a=1, b=1)
    assert caught.value.code == "PC5011"
    assert not peer.channel.alive


async def test_closing_ends_the_session_at_the_server(sdk_url, connect):
    url = await sdk_url()
    peer = await connect(url, legacy=True)
    await peer.start()
    session = peer.channel._session
    await peer.channel.close()
    other = await connect(url, legacy=True)
    await other.start()
    assert session is not None
    assert other.channel._session != session
    other.channel._session = session
    with pytest.raises(Problem):
        await other.call("add", a=1, b=1)


@ERAS
async def test_the_servers_get_our_credential_and_the_headers_of_the_gate(
    legacy, sdk_url, connect, credential
):
    peer = await connect(await sdk_url(), legacy=legacy)
    await peer.start()
    message, headers = peer.message("tools/call", name="add", arguments={"a": 1, "b": 2})
    headers |= {"authorization": "Bearer agents", "mcp-session-id": "agents", "x-extra": "kept"}
    answer = [one.message async for one in peer.channel.request(message, headers)]
    assert answer[-1]["result"]["structuredContent"] == {"result": 3}
    with pytest.raises(Problem) as caught:
        await peer.call("seen")
    assert caught.value.code == "PC5005"


async def test_an_unknown_method_is_answered_by_the_server_itself(sdk_url, connect):
    peer = await connect((sys.executable, "-m", "mcp_server_time"), legacy=False)
    (answer,) = await peer.all("no/such/method")
    assert answer["error"]["code"] == -32601


@ERAS
async def test_the_time_server_works(legacy, connect):
    command = (sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC")
    peer = await connect(command, legacy=legacy)
    await peer.start()
    result = await peer.call("get_current_time", timezone="Europe/Berlin")
    assert "Europe/Berlin" in result["content"][0]["text"]


@ERAS
async def test_the_git_server_works(legacy, connect, tmp_path):
    await asyncio.to_thread(subprocess.run, ["git", "init", "-q", tmp_path], check=True)
    command = (sys.executable, "-m", "mcp_server_git", "--repository", str(tmp_path))
    peer = await connect(command, legacy=legacy)
    await peer.start()
    result = await peer.call("git_status", repo_path=str(tmp_path))
    assert "No commits yet" in result["content"][0]["text"]


@needs_node
async def test_the_everything_server_works_and_asks_for_samples(connect):
    command = ("node", str(SERVERS / "server-everything" / "dist" / "index.js"), "stdio")
    peer = await connect(command, legacy=True)
    assert "result" in await peer.start()
    result = await peer.call("echo", message="hello")
    assert "hello" in result["content"][0]["text"]


@needs_node
async def test_the_filesystem_server_works(connect, tmp_path):
    (tmp_path / "note").write_text("written here")
    command = ("node", str(SERVERS / "server-filesystem" / "dist" / "index.js"), str(tmp_path))
    peer = await connect(command, legacy=True)
    await peer.start()
    result = await peer.call("read_text_file", path=str(tmp_path / "note"))
    assert "written here" in result["content"][0]["text"]

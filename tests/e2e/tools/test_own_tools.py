"""If these fail, a tool of the gate's own does more, or other, than its configuration says."""

from __future__ import annotations

import pytest
from mcp import MCPError

import standins

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_command_is_a_tool_of_an_mcp_server_and_takes_the_line(place, mode):
    token = await place.token()
    async with place.client("own", token, mode=mode) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        assert {"shout", "say", "fail"} <= listed
        said = await client.call_tool("shout", {"text": "hello"})
        assert said.structured_content["stdout"] == '{"TEXT":"HELLO"}'
        assert not said.is_error
        for wrong in ({"text": 4}, {"text": "x", "more": "y"}, {}):
            with pytest.raises(MCPError) as refused:
                await client.call_tool("say", wrong)
            assert refused.value.error.data["code"] == "PC3010"
    called = [e for e in place.stage.events() if e.server == "own" and e.name == "shout"]
    assert {e.type.value for e in called} == {"tool_call", "tool_result"}


async def test_an_argument_is_one_word_and_no_option_and_no_shell_reads_it(place):
    async with place.client("own", await place.token()) as client:
        text = "$(id) `id` ; | \n 'x' \"y\" *"
        said = await client.call_tool("say", {"text": text})
        assert said.structured_content["stdout"] == f"{text}|x{text}|"
        for wrong in ("-v", "--version"):
            with pytest.raises(MCPError) as refused:
                await client.call_tool("say", {"text": wrong})
            assert refused.value.error.data["code"] == "PC5043"


async def test_what_ends_badly_is_an_error_that_says_how(place):
    async with place.client("own", await place.token()) as client:
        failed = await client.call_tool("fail", {})
        assert failed.is_error
        fields = failed.structured_content
        assert (fields["stdout"], fields["stderr"], fields["status"]) == ("out\n", "err\n", 3)
        greedy = await client.call_tool("greedy", {})
        assert greedy.is_error
        assert greedy.structured_content["cut"]
        assert len(greedy.structured_content["stdout"]) == 65536
        slow = await client.call_tool("slow", {})
        assert slow.structured_content["ended"] == "deadline"


async def test_a_secret_that_a_tool_was_given_does_not_come_back(place):
    async with place.client("own", await place.token()) as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("tell", {})
    assert refused.value.error.data["code"] == "PC5005"
    assert "a-key-of-some-length-4711" not in str(place.stage.events())


async def test_the_box_of_a_call_is_on_record_with_what_holds_it(place):
    async with place.client("own", await place.token()) as client:
        await client.call_tool("shout", {"text": "for the record"})
    call = [e for e in place.stage.events() if e.name == "shout" and e.type == "tool_call"][-1]
    box = await standins.eventually(
        place.stage,
        lambda e: e.method == "sandbox.start" and call.id in e.parameters["title"],
    )
    assert box.parameters["title"].startswith("tool:own.shout ")
    assert box.parameters["profile"] == "strict"
    assert {"network", "syscalls", "memory", "pids"} <= set(box.parameters["enforced"])
    assert "for the record" not in str(box)


async def test_the_use_of_a_box_that_was_ready_is_on_record(place):
    async with place.client("own", await place.token()) as client:
        await run(client, language="python", code="print('for the record')")
    calls = [e for e in place.stage.events() if e.name == "execute_code" and e.type == "tool_call"]
    used = await standins.eventually(
        place.stage,
        lambda e: e.method == "sandbox.claim" and calls[-1].id in e.parameters["title"],
    )
    assert "for the record" not in str(used)


async def run(client, **arguments):
    return (await client.call_tool("execute_code", arguments)).structured_content


async def test_code_runs_with_what_it_is_given_and_hands_back_what_it_leaves(place):
    async with place.client("own", await place.token()) as client:
        python = (
            "import sys\n"
            "print(sum(int(n) for n in open('in/numbers')), sys.stdin.read())\n"
            "open('out.txt', 'w').write('left')\n"
        )
        found = await run(
            client,
            language="python",
            code=python,
            stdin="said",
            files=[{"name": "in/numbers", "text": "1\n2\n"}],
        )
        assert (found["stdout"], found["status"], found["ended"]) == ("3 said\n", 0, "exited")
        assert found["files"] == [{"name": "out.txt", "text": "left"}]
        shell = await run(client, language="shell", code="cat; ls; exit 7", stdin="piped\n")
        assert (shell["stdout"], shell["status"]) == ("piped\n", 7)
        bad = await run(client, language="python", code="def (")
        assert "SyntaxError" in bad["stderr"]


async def test_code_reaches_nothing_and_leaves_nothing_for_the_next(place):
    hostile = (
        "import os, socket\n"
        "open('/scratch/mine', 'w').write('x')\n"
        "os.symlink('/etc/passwd', 'link')\n"
        "for attempt in (lambda: open('/etc/shadow').read(),\n"
        "                lambda: socket.create_connection(('127.0.0.1', 22), 1),\n"
        "                lambda: os.listdir('/proc/1/root/home'),\n"
        "                lambda: open('/usr/x', 'w')):\n"
        "    try:\n"
        "        attempt(); print('reached')\n"
        "    except OSError:\n"
        "        print('stopped')\n"
    )
    async with place.client("own", await place.token()) as client:
        found = await run(client, language="python", code=hostile)
        assert found["stdout"].split() == ["stopped"] * 4
        assert [one["name"] for one in found["files"]] == ["mine"]
        assert found["missing"] == ["link: link"]
        after = await run(client, language="shell", code="ls /scratch /tmp")
        assert "mine" not in after["stdout"]

"""Channels are opened once per conversation, within bounds, and none is left behind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from portcullis.config import Limits, McpUpstream
from portcullis.core.behalf import Behalf
from portcullis.core.errors import Problem
from portcullis.execution.http import HttpForwarder
from portcullis.execution.mcp import McpChannels
from portcullis.execution.secrets import local_secrets

pytestmark = pytest.mark.anyio

SLEEPER = (sys.executable, "-c", "import sys; sys.stdin.read()")


@pytest.fixture
async def channels(tmp_path) -> AsyncIterator[McpChannels]:
    secrets = local_secrets({"SHORT": "tiny"})
    limits = Limits(processes=2)
    forwarder = HttpForwarder({}, secrets=secrets, limits=limits)
    made = McpChannels(
        {
            "child": McpUpstream(command=SLEEPER, sandbox="none"),
            "missing": McpUpstream(command=("/nowhere/at-all",), sandbox="none"),
            "homeless": McpUpstream(command=SLEEPER, cwd=tmp_path / "nowhere", sandbox="none"),
            "poor": McpUpstream(command=SLEEPER, env={"TOKEN": "env:MISSING"}, sandbox="none"),
            "short": McpUpstream(command=SLEEPER, env={"TOKEN": "env:SHORT"}, sandbox="none"),
            "sessions": McpUpstream(command=SLEEPER, sandbox="none", per_session=True),
            "held": McpUpstream(command=SLEEPER),
            "web": McpUpstream(url="http://127.0.0.1:1/mcp"),
        },
        forwarder=forwarder,
        secrets=secrets,
        limits=limits,
        environ={"PATH": "/usr/bin:/bin"},
    )
    yield made
    await made.close()
    await forwarder.close()


def caller(name: str, session: str = "") -> Behalf:
    return Behalf(kind="agent", principal=name, session=session)


async def refused(channels, server: str, key: str = "k") -> Problem:
    with pytest.raises(Problem) as caught:
        await channels.open(server, key, legacy=True)
    return caught.value


async def test_one_conversation_has_one_process_and_two_have_two(channels):
    same = await asyncio.gather(*(channels.open("child", "a", legacy=True) for _ in range(5)))
    other = await channels.open("child", "b", legacy=True)
    assert len({channel.pid for channel in same}) == 1
    assert other.pid != same[0].pid


async def test_the_eras_do_not_share_a_process(channels):
    legacy = await channels.open("child", "a", legacy=True)
    modern = await channels.open("child", "a", legacy=False)
    assert legacy.pid != modern.pid


async def test_processes_beyond_the_bound_are_refused_until_one_ends(channels):
    first = await channels.open("child", "a", legacy=True)
    await channels.open("child", "b", legacy=True)
    assert (await refused(channels, "child", "c")).code == "PC5006"
    await first.close()
    assert (await channels.open("child", "c", legacy=True)).alive


async def test_failed_starts_do_not_count(channels):
    for number in range(5):
        failed = "PC5011" if number < 2 else "PC5041"
        assert (await refused(channels, "missing")).code == failed
        assert (await refused(channels, "homeless")).code == failed
        assert (await refused(channels, "poor")).code == "PC5007"
        assert (await refused(channels, "short")).code == "PC5007"
    assert (await channels.open("child", "a", legacy=True)).alive


async def test_no_fault_tells_a_path_of_the_machine(channels, tmp_path):
    for server in ("missing", "homeless"):
        problem = await refused(channels, server)
        assert "/nowhere" not in problem.detail
        assert str(tmp_path) not in problem.detail


async def test_a_dead_channel_is_replaced(channels):
    first = await channels.open("child", "a", legacy=True)
    await first.close()
    second = await channels.open("child", "a", legacy=True)
    assert second is not first
    assert second.alive


async def test_a_client_that_leaves_while_its_server_starts_leaves_no_stray(channels):
    opening = asyncio.create_task(channels.open("child", "a", legacy=True))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    channel = await channels.open("child", "a", legacy=True)
    assert channels._processes == 1
    await channels.close()
    assert not channel.alive
    assert channels._processes == 0


async def test_unknown_and_closed_are_told_apart(channels):
    assert (await refused(channels, "unknown")).code == "PC5012"
    assert {"child", "web"} < set(channels.servers())
    await channels.close()
    assert (await refused(channels, "child")).code == "PC5013"


async def test_a_stateless_channel_is_shared_and_a_session_is_not(channels):
    modern = [await channels.open("web", key, legacy=False) for key in "ab"]
    legacy = [await channels.open("web", key, legacy=True) for key in "aab"]
    assert modern[0] is modern[1]
    assert legacy[0] is legacy[1]
    assert legacy[1] is not legacy[2]


async def test_one_principals_crashes_do_not_keep_the_server_from_another(channels):
    for _ in range(3):
        with pytest.raises(Problem):
            await channels.open("missing", "k", legacy=True, behalf=caller("one"))
    with pytest.raises(Problem) as rests:
        await channels.open("missing", "k", legacy=True, behalf=caller("one", "s-2"))
    with pytest.raises(Problem) as tried:
        await channels.open("missing", "k", legacy=True, behalf=caller("two"))
    assert (rests.value.code, tried.value.code) == ("PC5041", "PC5011")


async def test_a_server_for_sessions_is_not_started_outside_one(channels):
    with pytest.raises(Problem) as caught:
        await channels.open("sessions", "k", legacy=True, behalf=caller("one"))
    assert caught.value.code == "PC5042"
    inside = await channels.open("sessions", "k", legacy=True, behalf=caller("one", "s-1"))
    assert inside.alive


async def test_without_anything_to_make_boxes_with_a_server_does_not_start(channels):
    assert (await refused(channels, "held")).code == "PC5030"
    assert channels._processes == 0

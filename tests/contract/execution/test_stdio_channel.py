"""A channel to a process: it serves concurrent users, and survives any process."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from portcullis.config import Limits, McpUpstream
from portcullis.core.errors import Problem
from portcullis.execution.http import HttpForwarder
from portcullis.execution.mcp import McpChannels
from portcullis.execution.secrets import local_secrets

pytestmark = pytest.mark.anyio

PRELUDE = """
import json, os, signal, sys, time, threading
out = threading.Lock()
def say(**message):
    with out:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n"); sys.stdout.flush()
def heard():
    for line in sys.stdin:
        yield json.loads(line)
"""
ECHO = """
for m in heard():
    if "id" in m and "method" in m:
        say(id=m["id"], result={"method": m["method"], "params": m.get("params")})
"""


@pytest.fixture
def limits() -> Limits:
    return Limits(request_seconds=1, processes=3, calls_in_flight=8, result_bytes=200_000)


@pytest.fixture
async def open_server(limits) -> AsyncIterator[object]:
    """Start a server from its source and return a channel to it."""
    made: list[McpChannels] = []
    forwarder = HttpForwarder({}, secrets=local_secrets({}), limits=limits)

    async def start(source: str, *, env=None, environ=None, legacy: bool = True):
        command = (sys.executable, "-c", PRELUDE + textwrap.dedent(source))
        channels = McpChannels(
            {"it": McpUpstream(command=command, env=env or {})},
            forwarder=forwarder,
            secrets=local_secrets(environ or {}),
            limits=limits,
            environ={**os.environ, **(environ or {})},
        )
        made.append(channels)
        return await channels.open("it", "key", legacy=legacy)

    yield start
    for channels in made:
        await channels.close()
    await forwarder.close()


def ask(request_id: object, method: str = "tools/call", **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


async def answer(channel, message) -> list[dict[str, object]]:
    async with asyncio.timeout(10), aclosing(channel.request(message, {})) as incoming:
        return [one.message async for one in incoming]


async def refused(channel, message) -> Problem:
    with pytest.raises(Problem) as caught:
        await answer(channel, message)
    return caught.value


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_users_of_one_channel_who_choose_the_same_id_get_their_own_answers(open_server):
    channel = await open_server(ECHO)
    answers = await asyncio.gather(
        *(answer(channel, ask(request_id, n=n)) for n, request_id in enumerate([1, 1, "1", 1]))
    )
    assert [(a[0]["id"], a[0]["result"]["params"]["n"]) for a in answers] == [
        (1, 0), (1, 1), ("1", 2), (1, 3),
    ]  # fmt: skip


async def test_progress_finds_its_request_under_the_clients_own_token(open_server):
    channel = await open_server("""
    for m in heard():
        t = m["params"]["_meta"]["progressToken"]
        n = m["params"]["n"]
        say(method="notifications/progress", params={"progressToken": t, "progress": n})
        say(method="notifications/progress", params={"progressToken": 999, "progress": 666})
        say(id=m["id"], result={})
    """)
    answers = await asyncio.gather(
        *(answer(channel, ask(n, n=n, _meta={"progressToken": "same"})) for n in (1, 2))
    )
    assert [[m.get("params") for m in a if "method" in m] for a in answers] == [
        [{"progressToken": "same", "progress": 1}],
        [{"progressToken": "same", "progress": 2}],
    ]


async def test_a_subscriptions_notifications_find_it_under_the_clients_own_id(open_server):
    channel = await open_server(
        """
        key = "io.modelcontextprotocol/subscriptionId"
        for m in heard():
            meta = {"_meta": {key: m["id"]}}
            say(method="notifications/subscriptions/acknowledged", params=meta)
            say(id=m["id"], result=meta)
        """,
        legacy=False,
    )
    first, last = await answer(channel, ask("mine", "subscriptions/listen"))
    key = "io.modelcontextprotocol/subscriptionId"
    assert first["params"]["_meta"] == {key: "mine"}
    assert (last["id"], last["result"]["_meta"]) == ("mine", {key: "mine"})


SAMPLING = """
for m in heard():
    if m.get("method") == "tools/call":
        asked = m["id"]
        say(id="s1", method="sampling/createMessage", params={})
    elif m.get("id") == "s1":
        say(id=asked, result={"got": m.get("result"), "error": m.get("error")})
"""


async def test_a_servers_request_reaches_the_caller_when_nobody_listens(open_server):
    channel = await open_server(SAMPLING)
    got = []
    async with aclosing(channel.request(ask(7), {})) as incoming:
        async for one in incoming:
            got.append(one.message)
            if one.message.get("method") == "sampling/createMessage":
                await channel.notify({"jsonrpc": "2.0", "id": "s1", "result": {"text": "x"}}, {})
    assert got[-1] == {"jsonrpc": "2.0", "id": 7, "result": {"got": {"text": "x"}, "error": None}}


async def test_a_servers_request_reaches_the_listener_when_somebody_listens(open_server):
    channel = await open_server(SAMPLING)
    heard: list[object] = []

    async def listen() -> None:
        async for incoming in channel.listen(None):
            heard.append((incoming.message["method"], incoming.event_id))
            await channel.notify({"jsonrpc": "2.0", "id": "s1", "result": {}}, {})

    listener = asyncio.create_task(listen())
    await asyncio.sleep(0)
    assert len(await answer(channel, ask(7))) == 1
    assert heard == [("sampling/createMessage", "1")]
    listener.cancel()


async def test_a_servers_request_that_the_caller_left_unread_waits_for_a_listener(open_server):
    channel = await open_server("""
    for m in heard():
        if m.get("method") == "tools/call":
            say(method="notifications/message", params={})
            say(id="s1", method="sampling/createMessage", params={})
    """)
    async with aclosing(channel.request(ask(7), {})) as incoming:
        assert (await anext(incoming)).message["method"] == "notifications/message"
        await asyncio.sleep(0.3)
    async with asyncio.timeout(5), aclosing(channel.listen(None)) as messages:
        assert (await anext(messages)).message["id"] == "s1"


async def test_a_server_that_asks_into_the_void_is_answered_and_does_not_hang(open_server, limits):
    channel = await open_server("""
    for n in range(400):
        say(id=f"s{n}", method="sampling/createMessage", params={})
    refused = 0
    for m in heard():
        if "error" in m:
            refused += 1
        elif m.get("method") == "tools/call":
            say(id=m["id"], result={"refused": refused})
    """)
    await asyncio.sleep(0.5)
    (last,) = [m for m in await answer(channel, ask(1)) if "result" in m]
    assert last["result"]["refused"] == 400 - 256


async def test_what_a_server_says_by_itself_can_be_resumed(open_server):
    channel = await open_server("""
    for n in range(5):
        say(method="notifications/message", params={"n": n})
    for m in heard():
        pass
    """)
    first = []
    async with asyncio.timeout(5), aclosing(channel.listen(None)) as messages:
        async for incoming in messages:
            first.append(incoming)
            if len(first) == 5:
                break
    again = []
    async with asyncio.timeout(5), aclosing(channel.listen(first[1].event_id)) as messages:
        async for incoming in messages:
            again.append(incoming.message["params"]["n"])
            if len(again) == 3:
                break
    assert again == [2, 3, 4]


async def test_leaving_a_request_cancels_it_at_the_server_under_the_servers_id(open_server):
    channel = await open_server("""
    for m in heard():
        if m.get("method") == "tools/call" and m["params"].get("slow"):
            slow = m["id"]
        elif m.get("method") == "notifications/cancelled":
            cancelled = m["params"]["requestId"]
        elif m.get("method") == "tools/call":
            say(id=m["id"], result={"same": slow == cancelled})
    """)
    left = asyncio.create_task(answer(channel, ask("left", slow=True)))
    await asyncio.sleep(0.3)
    left.cancel()
    await asyncio.sleep(0.1)
    assert (await answer(channel, ask("next")))[0]["result"] == {"same": True}


async def test_a_cancellation_can_only_name_a_request_in_flight(open_server):
    channel = await open_server("""
    seen = []
    for m in heard():
        if m.get("method") == "notifications/cancelled":
            seen.append(m["params"]["requestId"])
        elif m["params"].get("tell"):
            say(id=m["id"], result={"seen": seen})
        else:
            waits = m["id"]
    """)
    waiting = asyncio.create_task(answer(channel, ask("mine")))
    await asyncio.sleep(0.3)
    for named in (1, True, "other", None, "mine"):
        cancel = {"method": "notifications/cancelled", "params": {"requestId": named}}
        await channel.notify({"jsonrpc": "2.0", **cancel}, {})
    assert (await answer(channel, ask("t", tell=True)))[0]["result"] == {"seen": [1]}
    waiting.cancel()


async def test_a_server_that_never_answers_is_given_up_and_may_serve_others(open_server):
    channel = await open_server("""
    for m in heard():
        if m.get("method") == "tools/call" and not m["params"].get("mute"):
            say(id=m["id"], result={})
    """)
    assert (await refused(channel, ask(1, mute=True))).code == "PC5002"
    assert await answer(channel, ask(2))
    assert channel.alive


async def test_a_crash_fails_all_that_wait_and_all_that_come_later(open_server):
    channel = await open_server("""
    for m in heard():
        if m["params"].get("crash"):
            os._exit(3)
    """)
    waiting = [asyncio.create_task(refused(channel, ask(n))) for n in range(3)]
    await asyncio.sleep(0.3)
    assert (await refused(channel, ask("x", crash=True))).code == "PC5011"
    assert [(await one).code for one in waiting] == ["PC5011"] * 3
    assert (await refused(channel, ask(9))).code == "PC5011"
    with pytest.raises(Problem):
        await anext(channel.listen(None))
    assert not channel.alive


async def test_last_words_of_a_server_that_ends_are_still_heard(open_server):
    channel = await open_server("""
    for m in heard():
        say(id=m["id"], result={"last": True})
        break
    """)
    assert (await answer(channel, ask(1)))[0]["result"] == {"last": True}


async def test_some_garbage_is_ignored_and_never_passed_on(open_server):
    channel = await open_server("""
    for m in heard():
        for junk in ("hello", "[1]", "{", '{"a":1,"a":2}', "\\x00", '"text"', "\\u0001"):
            print(junk, flush=True)
        sys.stdout.buffer.write(b"\\xff\\xfe\\n"); sys.stdout.flush()
        say(id=12345, result={}); say(id=str(m["id"]), result={}); say(id=None, result={})
        say(id=m["id"], result={"good": True})
    """)
    for number in range(20):
        assert await answer(channel, ask(number)) == [
            {"jsonrpc": "2.0", "id": number, "result": {"good": True}}
        ]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("while True: print('junk')", "PC5011"),
        ("while True: say(id=4711, result={})", "PC5011"),
        ("sys.stdout.write('x' * 300_000); sys.stdout.flush(); time.sleep(30)", "PC5004"),
        ("sys.stdout.close(); os.close(1); time.sleep(30)", "PC5011"),
    ],
)
async def test_a_server_that_only_makes_noise_is_ended(open_server, source, code):
    channel = await open_server(source)
    pid = channel.pid
    assert (await refused(channel, ask(1))).code == code
    assert (await refused(channel, ask(2))).code == "PC5011"
    await channel.close()
    assert not running(pid)


async def test_a_flood_into_a_request_that_is_not_read_fails_only_that_request(open_server):
    channel = await open_server("""
    for m in heard():
        if m.get("method") != "tools/call":
            continue
        for n in range(m["params"].get("flood", 0)):
            t = m["params"]["_meta"]["progressToken"]
            say(method="notifications/progress", params={"progressToken": t, "x": "y" * 1000})
        say(id=m["id"], result={})
    """)
    flooded = channel.request(ask(1, flood=400, _meta={"progressToken": 1}), {})
    await anext(flooded)
    await asyncio.sleep(0.5)
    assert await answer(channel, ask(2))
    with pytest.raises(Problem) as caught:
        async for _ in flooded:
            pass
    assert caught.value.code == "PC5004"
    assert channel.alive


async def test_a_server_that_does_not_read_is_ended(open_server, limits):
    channel = await open_server("time.sleep(60)")
    problem = await refused(channel, ask(1, text="x" * 3_000_000))
    assert problem.code == "PC5011"
    assert not channel.alive


async def test_closing_ends_the_process_and_everything_it_started(open_server):
    channel = await open_server("""
    import subprocess
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"])
    for m in heard():
        say(id=m["id"], result={"child": child.pid})
    time.sleep(60)
    """)
    child = (await answer(channel, ask(1)))[0]["result"]["child"]
    pid = channel.pid
    assert running(pid)
    assert running(child)
    start = time.monotonic()
    await channel.close()
    assert time.monotonic() - start < 5
    assert not running(pid)
    async with asyncio.timeout(1):
        while running(child):  # noqa: ASYNC110 - the kernel has no event for it
            await asyncio.sleep(0.01)
    assert (await refused(channel, ask(2))).code == "PC5011"


async def test_a_well_behaved_server_ends_by_itself_and_quickly(open_server):
    channel = await open_server(ECHO)
    await answer(channel, ask(1))
    start = time.monotonic()
    await channel.close()
    assert time.monotonic() - start < 0.9
    await channel.close()


async def test_the_process_gets_a_clean_environment_and_no_descriptors(open_server):
    key, other = secrets.token_hex(16), secrets.token_hex(16)
    reading, writing = os.pipe2(0)
    with os.fdopen(reading), os.fdopen(writing, "w"):
        channel = await open_server(
            """
            for m in heard():
                fds = sorted(int(n) for n in os.listdir("/proc/self/fd"))
                say(id=m["id"], result={
                    "names": sorted(os.environ), "plain": os.environ["PLAIN"],
                    "length": len(os.environ["TOKEN"]), "fds": fds[:3], "more": len(fds) > 4,
                    "leader": os.getsid(0) == os.getpid() == os.getpgid(0)})
            """,
            env={"TOKEN": "env:SECRET", "PLAIN": "x"},
            environ={"SECRET": key, "OTHER_SECRET": other, "LANG": "C.UTF-8"},
        )
        result = (await answer(channel, ask(1)))[0]["result"]
    allowed = {"HOME", "LANG", "LC_CTYPE", "PATH", "PLAIN", "TOKEN"}
    assert set(result["names"]) <= allowed
    assert {"PATH", "PLAIN", "TOKEN"} <= set(result["names"])
    assert (result["plain"], result["length"]) == ("x", len(key))
    assert (result["fds"], result["more"], result["leader"]) == ([0, 1, 2], False, True)


async def test_a_server_that_prints_its_secret_is_withheld(open_server):
    channel = await open_server(
        """
        for m in heard():
            if m.get("method") != "tools/call":
                continue
            text = os.environ["TOKEN"] if m["params"].get("leak") else "fine"
            say(method="notifications/message", params={"data": text})
            say(id=m["id"], result={"text": text})
        """,
        env={"TOKEN": "env:SECRET"},
        environ={"SECRET": "t/" + secrets.token_hex(16)},
    )
    problem = await refused(channel, ask(1, leak=True))
    assert problem.code == "PC5005"
    assert (await answer(channel, ask(2)))[-1]["result"] == {"text": "fine"}


async def test_a_chatty_stderr_neither_blocks_the_server_nor_is_kept(open_server):
    channel = await open_server("""
    for m in heard():
        sys.stderr.write("noise\\n" * 100_000); sys.stderr.flush()
        say(id=m["id"], result={})
    """)
    assert await answer(channel, ask(1))


async def test_too_many_requests_at_once_are_refused(open_server):
    channel = await open_server("time.sleep(60)")
    waiting = [asyncio.create_task(refused(channel, ask(n))) for n in range(8)]
    await asyncio.sleep(0.05)
    assert (await refused(channel, ask("more"))).code == "PC5006"
    await channel.close()
    assert {(await one).code for one in waiting} == {"PC5011"}

"""What the process behind a stdio channel may do, and how it ends."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from pathlib import Path

import pytest
import structlog

from contract.execution.stdio.talk import ECHO, answer, ask, refused
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


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


async def test_what_a_server_that_holds_secrets_says_aside_is_not_in_the_log(open_server):
    talker = """
    for m in heard():
        for one in os.environ.get("TOKEN", "nothing"):
            os.write(2, one.encode())
        say(id=m["id"], result={})
    """
    value = secrets.token_hex(16)
    with structlog.testing.capture_logs() as lines:
        one = await open_server(talker, env={"TOKEN": "env:IT"}, environ={"IT": value})
        assert await answer(one, ask(1))
        await one.close()
        other = await open_server(talker)
        assert await answer(other, ask(1))
        await other.close()
    said = "".join(line["text"] for line in lines if line["event"] == "mcp server stderr")
    assert said == "nothing"

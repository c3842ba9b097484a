"""The life of a run. If these fail, a killed agent goes on, or its exit code is lost."""

import asyncio
import contextlib
import os
import re
import signal
import tempfile
import time
from pathlib import Path

import aiohttp
import pytest

from e2e.run.house import AGENTS
from needs import needs_boxes
from portcullis.control.containment import by_itself
from portcullis.core.event import EventType
from portcullis.core.principal import PrincipalKind
from portcullis.core.sandbox import STRICT

pytestmark = [pytest.mark.anyio, needs_boxes]

LOADED = 3.0
"""Seconds: half a second on a quiet machine, and tests run beside others."""
STAYS = ("/bin/sh", "-c", "trap '' TERM INT HUP; echo up; while :; do sleep 0.1; done")


def of_this_run(mark):
    """The processes that carry a mark in their arguments."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark.encode() in place.read_bytes():
                found.append(int(place.parts[2]))
    return found


def left_behind(process):
    folder = Path(tempfile.gettempdir())
    return sorted(str(one) for one in folder.glob(f"portcullis-run-{process.pid}-*"))


async def up(process):
    async with asyncio.timeout(20):
        assert await process.stdout.readline() == b"up\n"


async def ended(process):
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -TERM $$", 143)])
async def test_the_exit_code_is_the_agents(house, command, code):
    ran = await house.run("worker-1", "--", "/bin/sh", "-c", command)
    assert ran.code == code, ran.err


async def test_a_command_that_is_not_there_is_127_and_says_so(house):
    ran = await house.run("worker-1", "--", "nothing-like-it")
    assert ran.code == 127
    assert "nothing-like-it: not found in the box" in ran.err


async def test_what_is_piped_in_comes_out_and_apart_from_what_is_for_people(house):
    script = 'read -r line; echo "got $line"; echo oops >&2; cat | wc -c'
    ran = await house.run("worker-1", "--", "/bin/sh", "-c", script, given="a\n" + "x" * 300_000)
    assert ran.out.split() == ["got", "a", "300000"]
    assert "oops" in ran.err


async def test_folders_are_written_to_only_where_it_was_said(house):
    (house.home / "more").mkdir()
    try_it = "touch here more/there; ls; touch /usr/x"
    ran = await house.run("worker-1", "--mount", "more:rw", "--", "/bin/sh", "-c", try_it)
    assert ran.err.count("Read-only file system") == 2
    assert ran.out.split() == ["more"]
    assert [one.name for one in (house.home / "more").iterdir()] == ["there"]
    ran = await house.run("worker-1", "--cwd", "rw", "--", "/bin/sh", "-c", "echo it > here")
    assert (ran.code, (house.home / "here").read_text()) == (0, "it\n")


async def test_a_kill_ends_the_box_and_all_that_is_in_it_at_once(house):
    mark = f"mark-{os.getpid()}-kill"
    await house.hire("doomed-1")
    async with house.running("doomed-1", "--", *STAYS, mark) as process:
        await up(process)
        assert of_this_run(mark)
        began = time.monotonic()
        await house.stage.revoke(PrincipalKind.AGENT, "doomed-1")
        code, _, err = await ended(process)
        took = time.monotonic() - began
    assert code == 3
    measured = re.search(r"The box was gone (\d\.\d\d) s after the gate cut it off", err)
    assert measured, err
    assert float(measured[1]) <= took < LOADED
    assert not of_this_run(mark)
    assert not left_behind(process)


async def test_a_signal_reaches_the_agent(house):
    script = "trap 'echo told; exit 9' TERM; echo up; while :; do sleep 0.05; done"
    async with house.running("worker-1", "--", "/bin/sh", "-c", script) as process:
        await up(process)
        process.send_signal(signal.SIGTERM)
        code, out, _ = await ended(process)
    assert (code, out) == (9, "told\n")


async def test_who_is_told_twice_to_end_is_ended(house):
    mark = f"mark-{os.getpid()}-twice"
    async with house.running("worker-1", "--", *STAYS, mark) as process:
        await up(process)
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
        assert process.returncode is None
        process.send_signal(signal.SIGINT)
        code, _, _ = await ended(process)
    assert code == 137
    assert not of_this_run(mark)


async def test_the_launchers_death_ends_the_box_and_leaves_nothing(house):
    mark = f"mark-{os.getpid()}-death"
    async with house.running("worker-1", "--", *STAYS, mark) as process:
        await up(process)
        for _ in range(1500):  # the agent may be up a moment before the launcher has tidied up
            if not left_behind(process):
                break
            await asyncio.sleep(0.02)
        assert not left_behind(process)
        process.kill()
        await ended(process)
        for _ in range(1500):
            if not of_this_run(mark):
                break
            await asyncio.sleep(0.02)
        assert not of_this_run(mark)


async def test_a_box_that_opens_connections_without_end_is_cut_off_all_the_same(house):
    await house.hire("doomed-2")
    (house.home / "flood.py").write_text((AGENTS / "flood.py").read_text())
    async with house.running("doomed-2", "--", "python3", "flood.py") as process:
        await up(process)
        await house.stage.revoke(PrincipalKind.AGENT, "doomed-2")
        began = time.monotonic()
        code, _, err = await ended(process)
    assert code == 3, err
    assert time.monotonic() - began < 2 * LOADED


async def test_an_agent_acts_in_the_session_it_was_given_and_ends_with_it(house):
    application = await house.stage.register(PrincipalKind.APPLICATION, "desk-1")
    session, token = await house.stage.open_session(
        application, "worker-4", subject={"customer_id": "C-1001"}
    )
    house.put("asks.py")
    words = ("--session-token", "env:SESSION", "--", "python3", "asks.py")
    async with house.running("worker-4", *words, env={"SESSION": token}) as process:
        await up(process)
        headers = {"authorization": f"Bearer {application}"}
        url = f"{house.stage.gate.gate_url}/v1/sessions/{session}"
        async with aiohttp.ClientSession() as http, http.delete(url, headers=headers) as answer:
            assert answer.status in {200, 204}
        code, out, err = await ended(process)
    assert code == 3, err
    assert out == ""
    calls = [event for event in house.events("worker-4") if event.type is EventType.TOOL_CALL]
    assert {event.session for event in calls} == {session}
    assert {event.code for event in calls} == {""}


@pytest.mark.parametrize("how", ["closed", "killed"])
async def test_the_end_of_a_session_ends_the_box_of_an_agent_that_asks_for_nothing(house, how):
    mark = f"mark-{os.getpid()}-session-{how}"
    application = await house.stage.register(PrincipalKind.APPLICATION, f"desk-{how}")
    session, token = await house.stage.open_session(application, "worker-4", subject={})
    words = ("--session-token", "env:SESSION", "--", *STAYS, mark)
    async with house.running("worker-4", *words, env={"SESSION": token}) as process:
        await up(process)
        if how == "closed":
            headers = {"authorization": f"Bearer {application}"}
            url = f"{house.stage.gate.gate_url}/v1/sessions/{session}"
            async with aiohttp.ClientSession() as http, http.delete(url, headers=headers) as answer:
                assert answer.status == 204
        else:
            kills = house.stage.gate.services.kills("control")
            await kills.kill(by_itself(time.time()), "session", session, "by a test")
        began = time.monotonic()
        code, _, err = await ended(process)
    assert code == 3, err
    assert time.monotonic() - began < LOADED
    assert not of_this_run(mark)
    last = house.reports("worker-4")[-1]
    assert (last.method, last.parameters["why"]) == ("run.end", "killed")


async def test_what_holds_the_box_is_on_record_before_the_agent_begins(house):
    script = f'exit 5 # mark-{os.getpid()}-recorded "$OPENAI_API_KEY"'
    ran = await house.run("worker-2", "--", "/bin/sh", "-c", script)
    assert ran.code == 5, ran.err
    start, end = house.reports("worker-2")[-2:]
    assert (start.method, end.method) == ("run.start", "run.end")
    assert start.principal == "worker-2"
    assert start.credential
    said = start.parameters
    assert (said["profile"], said["adapter"], said["command"]) == ("strict", "bubblewrap", "sh")
    assert set(STRICT) <= set(said["enforced"])
    assert not set(said["enforced"]) & set(said["lacking"])
    assert (end.parameters["why"], end.parameters["status"]) == ("exited", 5)
    assert end.parameters["run"] == said["run"]
    assert "recorded" not in str(start) + str(end)


async def test_a_box_is_reported_by_its_own_agent_and_by_nobody_else(house):
    token = await house.stage.register(PrincipalKind.AGENT, "reporter")
    body = {"agent": "worker-1", "command": "sh", "profile": "strict", "adapter": "bubblewrap"}
    body |= {"enforced": ["memory"]}
    url = f"{house.stage.gate.gate_url}/v1/runs"
    known = {"authorization": f"Bearer {token}"}
    asked = [({}, body), (known, body), (known, body | {"agent": "reporter", "enforced": ["luck"]})]
    asked.append((known, body | {"agent": "reporter"}))
    answers = []
    async with aiohttp.ClientSession() as http:
        for headers, json in asked:
            async with http.post(url, headers=headers, json=json) as answer:
                answers.append((answer.status, (await answer.json()).get("code", "")))
        async with http.get(f"{url}/session", headers=known) as answer:
            answers.append((answer.status, (await answer.json())["code"]))
    assert [one[0] for one in answers] == [401, 403, 400, 201, 403], answers
    assert [one[1] for one in answers][1:] == ["PC2004", "PC1020", "", "PC2006"]
    found = [one for one in house.reports("worker-1") if one.method == "run.start"]
    assert not [one for one in found if one.parameters["enforced"] == ["memory"]]


async def test_a_session_token_that_is_no_good_starts_nothing(house):
    bad = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    words = ("--session-token", "env:SESSION", "--", "/bin/sh", "-c", "echo ran")
    ran = await house.run("worker-4", *words, env={"SESSION": bad})
    assert ran.code == 1
    assert "PC2035" in ran.err
    assert ran.out == ""
    assert bad not in ran.err

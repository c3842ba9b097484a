"""``portcullis mcp`` takes its server with it, however the desktop client ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import commands
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier

pytestmark = pytest.mark.anyio

PORTCULLIS = [sys.executable, "-c", "from portcullis.cli import main; main()"]
POLICY = """
version: 1
agents:
  desk: {role: user, owner: me}
roles:
  user: {allowed_tools: [it.wait]}
tools:
  it.wait: {risk: read}
"""
STUBBORN = """
import json, os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {
            "name": "it", "version": str(os.getpid())}}
    elif asked["method"] == "tools/list":
        result = {"tools": [{"name": "wait", "inputSchema": {"type": "object"}}]}
    else:
        if asked["method"] == "tools/call":
            pathlib.Path(__file__).with_name("asked").touch()
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
while True:
    time.sleep(1)
"""
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "desk", "version": "1"},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/it.yaml").write_text(POLICY)
    (tmp_path / "server.py").write_text(STUBBORN)
    place = tmp_path / "portcullis.yaml"
    place.write_text("trust_domain: example.org\nstate: state\npolicy: policy\n")
    who = ("desk", "--owner", "me", "--purpose", "a test")
    commands.run("agent", "create", *who, "-c", place).check_returncode()
    return place


class Desk:
    """A desktop client that started the gate in front of a server."""

    def __init__(self, process: asyncio.subprocess.Process, asked: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self._asked = process, asked
        self._in, self._out = process.stdin, process.stdout

    async def ask(self, number: int, method: str, params: dict[str, object]) -> None:
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self._in.write(json.dumps(message).encode() + b"\n")
        await self._in.drain()

    async def heard(self) -> Any:
        return json.loads(await self._out.readline())

    async def waiting(self) -> int:
        """Have a call wait for the server; the server's process id."""
        await self.ask(0, "initialize", INITIALIZE)
        pid = int((await self.heard())["result"]["serverInfo"]["version"])
        await self.ask(1, "tools/call", {"name": "wait", "arguments": {}})
        while not self._asked.exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
        return pid


async def started(config: Path, *boxed: str) -> Desk:
    """Without a box the server's process ids are ours, which most tests here go by."""
    boxed = boxed or ("--profile", "none")
    server = [sys.executable, str(config.parent / "server.py")]
    options = ["-c", str(config), "--server", "it", "--agent", "desk", *boxed, "--", *server]
    return Desk(
        await asyncio.create_subprocess_exec(
            *PORTCULLIS, "mcp", *options, stdin=-1, stdout=-1, stderr=-1
        ),
        config.with_name("asked"),
    )


@contextlib.contextmanager
def ruled(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A gate beside the wrapper, for as long as the block lasts."""
    with subprocess.Popen(
        [*PORTCULLIS, "up", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as gate:
        try:
            yield gate
        finally:
            gate.kill()


async def until(desk: Desk, code: str) -> float:
    """Seconds until what the client asks for is refused with this code, or is not any more."""
    began = time.monotonic()
    while time.monotonic() - began < 20:
        number = int(time.monotonic() * 1000)
        await desk.ask(number, "tools/list", {})
        said = await desk.heard()
        if said.get("error", {}).get("data", {}).get("code", "") == code:
            return time.monotonic() - began
        await asyncio.sleep(0.05)
    pytest.fail(f"{code} never came")


async def test_beside_a_gate_that_cannot_be_heard_nothing_goes_on(config):
    with config.open("a") as file:
        file.write("listen: {gate: '127.0.0.1:0', control: '127.0.0.1:0'}\n")
    desk = await started(config)
    server = 0
    try:
        await desk.ask(0, "initialize", INITIALIZE)
        server = int((await desk.heard())["result"]["serverInfo"]["version"])
        await until(desk, "")
        with ruled(config) as gate:
            there = config.parent / "state/gate.json"
            while not there.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
            for _ in range(15):  # heard all the time, also once it is bound
                assert await until(desk, "") < 1
                await asyncio.sleep(0.1)
            gate.send_signal(signal.SIGSTOP)
            assert await until(desk, "PC4002") < 3, "within the lease"
            gate.send_signal(signal.SIGCONT)
            await until(desk, "")
        await until(desk, "")  # nothing rules any more: the database says who is cut off
    finally:
        with contextlib.suppress(ProcessLookupError):
            desk.process.kill()
        await desk.process.wait()
        if server:  # in no box, and deaf to its end of input
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)


def results(config: Path) -> list[str]:
    """The codes of what came of the one call in the log."""
    log = config.parent / "state/mcp/mcp-it"
    events = [record.event for record in records(log, own_verifier(log))]
    (call,) = [event for event in events if event.type == "tool_call"]
    return [event.code for event in events if event.decision == call.id]


async def test_a_server_that_dies_ends_the_wrapper_and_what_waits_is_told(config):
    desk = await started(config)
    async with asyncio.timeout(60):
        os.kill(await desk.waiting(), signal.SIGKILL)
        answer = await desk.heard()
        _, told = await desk.process.communicate()
    assert (answer["id"], answer["error"]["data"]["code"]) == (1, "PC5011")
    assert answer["error"]["data"]["hint"]
    assert desk.process.returncode == 1
    assert told.decode().splitlines()[-2:] == [
        "error: PC5011 Server process failed: the server it has ended",
        "hint: See `portcullis doctor`.",
    ]
    assert results(config) == ["PC5011"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_leaves_no_server_behind_and_no_call_without_its_result(config, number):
    desk = await started(config)
    async with asyncio.timeout(60):
        pid = await desk.waiting()
        desk.process.send_signal(number)
        await desk.process.communicate()
    try:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            assert (Path("/proc") / str(pid) / "stat").read_text().split()[2] == "Z"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert results(config) == ["PC5014"]

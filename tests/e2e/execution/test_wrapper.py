"""``portcullis mcp`` takes its server with it, however the desktop client ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {
            "name": "it", "version": str(os.getpid())}}
    elif asked["method"] == "tools/list":
        result = {"tools": [{"name": "wait", "inputSchema": {"type": "object"}}]}
    else:
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
    create = [
        *PORTCULLIS,
        "agent",
        "create",
        "desk",
        "--owner",
        "me",
        "--purpose",
        "a test",
        "-c",
        str(place),
    ]
    subprocess.run(create, check=True, capture_output=True)
    return place


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_leaves_no_server_behind_and_no_call_without_its_result(config, number):
    server = [sys.executable, str(config.parent / "server.py")]
    options = ["-c", str(config), "--server", "it", "--agent", "desk", "--", *server]
    wrapper = await asyncio.create_subprocess_exec(
        *PORTCULLIS, "mcp", *options, stdin=-1, stdout=-1, stderr=asyncio.subprocess.DEVNULL
    )
    assert wrapper.stdin is not None
    assert wrapper.stdout is not None

    def say(request: int, method: str, params: dict[str, object]) -> None:
        message = {"jsonrpc": "2.0", "id": request, "method": method, "params": params}
        wrapper.stdin.write(json.dumps(message).encode() + b"\n")

    async with asyncio.timeout(60):
        say(0, "initialize", INITIALIZE)
        first = json.loads(await wrapper.stdout.readline())
        pid = int(first["result"]["serverInfo"]["version"])
        say(1, "tools/call", {"name": "wait", "arguments": {}})
        await asyncio.sleep(0.5)
        wrapper.send_signal(number)
        await wrapper.wait()
    try:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            assert (Path("/proc") / str(pid) / "stat").read_text().split()[2] == "Z"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    log = config.parent / "state/mcp/mcp-it"
    events = [record.event for record in records(log, own_verifier(log))]
    (call,) = [event for event in events if event.type == "tool_call"]
    assert [e.code for e in events if e.decision == call.id] == ["PC5014"]

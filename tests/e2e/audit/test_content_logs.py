"""Content of a server behind ``portcullis mcp``: shown, and who reads it is on record somewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from typer.testing import CliRunner

import commands
from portcullis import bootstrap
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.cli.audit import app
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.event import Event

pytestmark = pytest.mark.anyio

PORTCULLIS = [sys.executable, "-c", "from portcullis.cli import main; main()"]
OWN = "mcp-it"
CONFIG = """
trust_domain: example.org
state: state
policy: policy
listen: {gate: "127.0.0.1:0", control: "127.0.0.1:0", mtls: null, workload: null}
audit: {content: {keep: arguments+results}}
"""
POLICY = """
version: 1
agents:
  desk: {role: user, owner: me}
roles:
  user: {allowed_tools: [it.count]}
tools:
  it.count: {risk: read}
"""
SERVER = """
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("it")


@server.tool()
async def count(parcels: int, place: str, ctx: Context) -> str:
    for number in range(parcels):
        await ctx.report_progress(number + 1, parcels, f"counting at {place}")
    return f"{parcels} lie at {place}"


server.run("stdio")
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/it.yaml").write_text(POLICY)
    (tmp_path / "server.py").write_text(SERVER)
    place = tmp_path / "portcullis.yaml"
    place.write_text(CONFIG)
    who = ("desk", "--owner", "me", "--purpose", "a test")
    commands.run("agent", "create", *who, "-c", place).check_returncode()
    return place


def wrapped(config: Path) -> Client:
    server = [sys.executable, str(config.parent / "server.py")]
    options = ["mcp", "-c", str(config), "--server", "it", "--agent", "desk"]
    options += ["--mount", f"{server[1]}:ro", "--", *server]
    parameters = StdioServerParameters(command=PORTCULLIS[0], args=[*PORTCULLIS[1:], *options])
    return Client(parameters, mode="legacy", read_timeout_seconds=30)


async def counted(client: Client) -> None:
    async def progress(*_: object) -> None:
        """Listen, so that the server is asked to tell."""

    arguments = {"parcels": 2, "place": "the depot"}
    await client.call_tool("count", arguments, progress_callback=progress)


def events(config: Path, log: str) -> list[Event]:
    directory = config.parent / "state" / ("log" if log == "gate" else f"mcp/{log}")
    return [one.event for one in records(directory, own_verifier(directory))]


async def shown(config: Path, event: str, why: str) -> dict[str, Any]:
    """What ``audit content`` prints, by field, as soon as it is on disk."""

    def run() -> dict[str, Any]:
        words = ["content", event, "--reason", why, "--json", "--config", str(config)]
        done = CliRunner().invoke(app, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.stderr
        fields = map(json.loads, done.stdout.splitlines())
        return {one["field"]: json.loads(one["value"]) for one in fields if one["committed"]}

    return await asyncio.to_thread(run)


async def soon(config: Path) -> tuple[Event, dict[str, Any]]:
    """The result's event and its content, as soon as both are on disk."""
    for _ in range(600):
        for event in events(config, OWN):
            if event.type == "tool_result":
                with contextlib.suppress(Problem):
                    return event, await shown(config, event.id, "while it runs")
        await asyncio.sleep(0.05)
    raise AssertionError("no content is kept")


def read(config: Path, log: str) -> list[tuple[str, str]]:
    """Which events' content was read, and why, as a log has it."""
    said = [event.parameters for event in events(config, log) if event.method == "content.read"]
    assert all(one["log"] == OWN for one in said)
    return [(one["event"], one["reason"]) for one in said]


async def test_content_of_a_wrapped_server_is_shown_and_its_reading_is_always_on_record(
    config: Path,
) -> None:
    async with wrapped(config) as client:
        await counted(client)
        result, first = await soon(config)
        call = result.decision
        # its process has its log: the record is in the gate's, of which none runs
        assert read(config, "gate")[-1] == (result.id, "while it runs")
        assert read(config, OWN) == []
    assert first["result"]["content"][0]["text"] == "2 lie at the depot"
    told = [message["params"]["message"] for message in first["messages"]]
    assert told == ["counting at the depot"] * 2

    before = read(config, "gate")
    arguments = await shown(config, call, "while nothing runs")
    assert arguments == {"arguments.parcels": 2, "arguments.place": "the depot"}
    assert read(config, OWN) == [(call, "while nothing runs")]

    async with bootstrap.running_gate(load(config)):
        assert await shown(config, call, "while a gate runs") == arguments
    assert read(config, "gate") == [*before, (call, "while a gate runs")]
    assert read(config, OWN) == [(call, "while nothing runs")]

    erase = ["erase", "--subject", "agent:desk", "--reason", "as asked", "--config", str(config)]
    assert (await asyncio.to_thread(CliRunner().invoke, app, erase)).exit_code == 0
    with pytest.raises(Problem, match="PC6041"):
        await shown(config, call, "again")


async def test_what_the_log_commits_to_is_asked_of_the_log_that_the_content_is_of(
    config: Path,
) -> None:
    async with wrapped(config) as client:
        await counted(client)
    (call,) = [event for event in events(config, OWN) if event.type == "tool_call"]
    state = config.parent / "state"
    (state / "mcp" / OWN).rename(state / "mcp" / "mcp-other")  # another log tells of the event
    words = ["content", call.id, "--reason", "curious", "--json", "--config", str(config)]
    async with bootstrap.running_gate(load(config)):
        done = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert done.exit_code == 5
    assert {json.loads(line)["committed"] for line in done.stdout.splitlines()} == {False}

"""If these fail, a server behind ``portcullis mcp`` has more than its box, or outlives it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mcp import Client, MCPError, StdioServerParameters

import commands
from e2e.matrix.cells import until
from e2e.tools.conftest import PYTHON, SERVER
from e2e.tools.test_ended import still

pytestmark = pytest.mark.anyio

PORTCULLIS = [sys.executable, "-c", "from portcullis.cli import main; main()"]
POLICY = """
version: 1
agents:
  desk: {role: user, owner: me}
roles:
  user: {allowed_tools: [it.beat, it.look]}
tools:
  it.beat: {risk: read}
  it.look: {risk: read}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/it.yaml").write_text(POLICY)
    (tmp_path / "shared").mkdir()
    place = tmp_path / "portcullis.yaml"
    place.write_text("trust_domain: example.org\nstate: state\npolicy: policy\n")
    who = ("desk", "--owner", "me", "--purpose", "a test")
    commands.run("agent", "create", *who, "-c", place).check_returncode()
    return place


def words(config: Path, *mounts: str) -> list[str]:
    options = ["-c", str(config), "--server", "it", "--agent", "desk"]
    for one in mounts:
        options += ["--mount", one]
    return [*PORTCULLIS, "mcp", *options, "--", PYTHON, str(SERVER)]


async def test_a_wrapped_server_is_in_a_box_that_ends_when_its_agent_is_killed(config):
    shared = config.parent / "shared"
    started = words(config, f"{SERVER}:ro", f"{shared}:rw")
    parameters = StdioServerParameters(command=started[0], args=started[1:])
    async with Client(parameters, mode="legacy", read_timeout_seconds=30) as client:
        seen = await client.call_tool("look", {"place": str(config)})
        assert seen.content[0].text == "FileNotFoundError"
        beat = shared / "beat"
        await client.call_tool("beat", {"place": str(beat)})
        await until(beat.exists)
        assert not await still(beat)
        kill = ("kill", "--agent", "desk", "--reason", "a test", "-c", config)
        (await asyncio.to_thread(commands.run, *kill)).check_returncode()
        await until(lambda: time.time() - beat.stat().st_mtime > 0.3, 5)
        assert await still(beat)
        with pytest.raises(MCPError) as refused:
            await client.call_tool("look", {"place": "/"})
        assert refused.value.error.data["code"] == "PC4001"


def test_what_a_command_names_and_its_box_has_not_is_said_at_once(config):
    for name, more, told in (
        ("not mounted", (), f"--mount {SERVER}:ro"),
        ("no such mode", (f"{SERVER}:rx",), "DIR:ro or DIR:rw"),
    ):
        done = subprocess.run(
            words(config, *more), check=False, capture_output=True, text=True, stdin=-1, timeout=60
        )
        assert (done.returncode, name) == (2, name)
        assert told in done.stderr

"""The gate on standard streams asks, and the command line decides, in processes of their own."""

import json
import subprocess
import sys

import pytest
from mcp import Client, StdioServerParameters

import commands

pytestmark = pytest.mark.anyio

PORTCULLIS = [sys.executable, "-c", "from portcullis.cli import main; main()"]
POLICY = """
version: 1
agents: {desk: {role: user, owner: me}}
roles:
  user:
    allowed_tools: [post.send]
    inspection: {to_tool: {EMAIL_ADDRESS: hold}}
tools: {post.send: {risk: external}}
"""
SERVER = """
import sys
from mcp.server import MCPServer
server = MCPServer("post")
@server.tool()
def send(to: str) -> str:
    with open(sys.argv[1], "a") as sent:
        sent.write(to + "\\n")
    return "sent"
server.run("stdio")
"""


@pytest.fixture
def run(tmp_path):
    """Runs a command of this deployment; its output and its exit code."""
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/post.yaml").write_text(POLICY)
    (tmp_path / "server.py").write_text(SERVER)
    place = tmp_path / "portcullis.yaml"
    place.write_text("trust_domain: example.org\nstate: state\npolicy: policy\n")

    def command(*words):
        done = subprocess.run(
            [*PORTCULLIS, *words, "-c", str(place)], check=False, capture_output=True, text=True
        )
        return done.stdout, done.returncode

    who = ("desk", "--owner", "me", "--purpose", "a test")
    commands.run("agent", "create", *who, "-c", place).check_returncode()
    return command


async def test_a_desktop_client_waits_for_the_command_line_and_its_call_runs_once(run, tmp_path):
    sent = tmp_path / "sent"
    wrapped = [*PORTCULLIS, "mcp", "-c", str(tmp_path / "portcullis.yaml"), "--agent", "desk"]
    wrapped += [
        "--profile",
        "none",
        "--server",
        "post",
        "--",
        sys.executable,
        str(tmp_path / "server.py"),
        str(sent),
    ]
    parameters = StdioServerParameters(command=wrapped[0], args=wrapped[1:])
    async with Client(parameters, mode="legacy") as client:

        async def send():
            return await client.call_tool("send", {"to": "ada@shop.example"})

        held = await send()
        approval = held.meta["portcullis/approval"]
        assert (held.is_error, sent.exists()) == (True, False)
        said, code = run("approval", "approve", approval, "--reason", "it is mine", "--json")
        assert (json.loads(said)["state"], code) == ("approved", 0)
        assert not (await send()).is_error
        assert (await send()).is_error
        assert sent.read_text() == "ada@shop.example\n"

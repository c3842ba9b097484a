"""MCP servers that nobody here wrote, behind the gate. If these fail, only our own servers work."""

import subprocess
import sys
from pathlib import Path

import pytest
from mcp import MCPError

from needs import NODE, needs_node
from standins import agent_token, mcp_client, staged

pytestmark = pytest.mark.anyio

BIN = NODE / ".bin"
AGENT = "support-agent-prod-001"

POLICY = """\
version: 1
agents: {support-agent-prod-001: {role: worker, owner: tests}}
roles:
  worker:
    allowed_tools:
      - files.read_text_file
      - files.list_directory
      - every.echo
      - every.get-sum
      - every.trigger-sampling-request
      - git.git_log
      - git.git_status
      - clock.get_current_time
    allowed_prompts: [every.simple-prompt]
    allowed_resources: ["every.demo://*"]
    server_requests: [every.sampling/createMessage, every.roots/list, files.roots/list]
tools:
  files.read_text_file: {risk: read}
  files.list_directory: {risk: read}
  every.echo: {risk: read}
  every.get-sum: {risk: read}
  git.git_log: {risk: read}
  git.git_status: {risk: read}
  clock.get_current_time: {risk: read}
"""


def text_of(result):
    return "".join(item.text for item in result.content if item.type == "text")


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "note.txt").write_text("the gate was here")
    for command in (
        ["git", "init", "-q"],
        ["git", "add", "."],
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "first words"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    return folder


@pytest.fixture
async def stage(tmp_path, repository):
    program = Path(sys.executable).parent
    shown = {"mounts": [f"{repository}:ro"]}
    servers = {
        "git": {"command": [str(program / "mcp-server-git"), "--repository", str(repository)]}
        | shown,
        "clock": {"command": [str(program / "mcp-server-time"), "--local-timezone", "UTC"]},
    }
    if BIN.exists():
        modules = f"{BIN.parent}:ro"
        servers |= {
            "files": {
                "command": [str(BIN / "mcp-server-filesystem"), str(repository)],
                "mounts": [modules, *shown["mounts"]],
            },
            "every": {
                "command": [str(BIN / "mcp-server-everything"), "stdio"],
                "mounts": [modules],
            },
        }
    async with staged(tmp_path / "stage", policy=POLICY, settings={"mcp": servers}) as running:
        yield running


@pytest.fixture
async def token(stage):
    return await agent_token(stage)


both_eras = pytest.mark.parametrize("mode", ["auto", "legacy"])


@both_eras
async def test_the_git_server(stage, token, repository, mode):
    async with mcp_client(stage, "git", token, mode=mode) as client:
        shown = {tool.name for tool in (await client.list_tools()).tools}
        assert shown == {"git_log", "git_status"}
        found = await client.call_tool("git_log", {"repo_path": str(repository)})
        assert "first words" in text_of(found)
        with pytest.raises(MCPError, match="allowed"):
            await client.call_tool(
                "git_commit", {"repo_path": str(repository), "message": "not by an agent"}
            )
    assert len((repository / ".git/logs/HEAD").read_text().splitlines()) == 1


@both_eras
async def test_the_time_server(stage, token, mode):
    async with mcp_client(stage, "clock", token, mode=mode) as client:
        found = await client.call_tool("get_current_time", {"timezone": "UTC"})
        assert "UTC" in text_of(found)
        with pytest.raises(MCPError):
            await client.call_tool("get_current_time", {"timezone": 7})


@needs_node
@both_eras
async def test_the_filesystem_server(stage, token, repository, mode):
    async with mcp_client(stage, "files", token, mode=mode) as client:
        found = await client.call_tool("read_text_file", {"path": str(repository / "note.txt")})
        assert "the gate was here" in text_of(found)
        with pytest.raises(MCPError):
            await client.call_tool(
                "write_file", {"path": str(repository / "note.txt"), "content": "overwritten"}
            )
        with pytest.raises(MCPError):
            await client.call_tool(
                "read_text_file", {"path": f"{repository}/../../../../etc/passwd"}
            )
    assert (repository / "note.txt").read_text() == "the gate was here"


@needs_node
@both_eras
async def test_the_everything_server(stage, token, mode):
    async with mcp_client(stage, "every", token, mode=mode) as client:
        assert "hello" in text_of(await client.call_tool("echo", {"message": "hello"}))
        assert "7" in text_of(await client.call_tool("get-sum", {"a": 3, "b": 4}))
        prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
        assert prompts == {"simple-prompt"}
        assert (await client.get_prompt("simple-prompt")).messages
        with pytest.raises(MCPError):
            await client.call_tool("get-env", {})

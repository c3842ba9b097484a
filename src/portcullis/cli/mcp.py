"""``portcullis mcp -- CMD``: a stdio MCP server behind the gate, for desktop clients.

The client starts this instead of CMD. It speaks MCP on standard input and output, and every
message takes the line. Whoever can read the state directory's issuer key may act as any agent of
the policy, so ``--agent`` is enough there; elsewhere PORTCULLIS_TOKEN holds the agent's token.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from portcullis import bootstrap
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile
from portcullis.config import McpUpstream, load
from portcullis.core.errors import Problem

TOKEN = "PORTCULLIS_TOKEN"  # noqa: S105 - the name of a variable


def mcp(
    command: Annotated[list[str], typer.Argument(help="The server's command, after --.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    server: Annotated[
        str, typer.Option(help="The server's name in the policy; by default its program's.")
    ] = "",
    agent: Annotated[
        str, typer.Option(help="Act as this agent (needs the state directory's key).")
    ] = "",
    env: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the server; env: and file: work.")
    ] = None,
) -> None:
    """Wrap a stdio MCP server: stdio on both sides, every check in between."""
    settings = load(config)
    name = server or Path(command[0]).stem.lower().replace(".", "-")
    known = settings.mcp.get(name)
    if known is not None and known.command is None:
        raise Problem("PC7004", f"{name} is an HTTP server in {config}; choose another --server")
    pairs = dict(pair.partition("=")[::2] for pair in env or [])
    upstream = McpUpstream(command=tuple(command), env=pairs)
    token = os.environ.pop(TOKEN, "")
    if bool(agent) == bool(token):
        raise Problem("PC7004", f"give exactly one of --agent and {TOKEN}")
    uvloop.run(bootstrap.wrap_stdio(settings, name, upstream, agent=agent, token=token))

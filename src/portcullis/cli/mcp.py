"""``portcullis mcp -- CMD``: a stdio MCP server behind the gate, for desktop clients.

The client starts this instead of CMD. It speaks MCP on standard input and output, and every
message takes the line. Whoever can read the state directory's issuer key may act as any agent of
the policy, so ``--agent`` is enough there; elsewhere PORTCULLIS_TOKEN holds the agent's token.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import stat
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from portcullis import bootstrap
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile
from portcullis.config import NAME, Config, McpUpstream, load
from portcullis.config.boxed import NONE, STRICT, anchored, rewritten, uncovered
from portcullis.config.guarded import rule_places, secret_places
from portcullis.core.errors import Problem
from portcullis.execution.inside import absent, inside

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
    profile: Annotated[
        str, typer.Option(help="The profile of the server's box; none is no box.")
    ] = STRICT,
    mount: Annotated[
        list[str] | None, typer.Option(help="DIR:ro or DIR:rw: what is in the box besides.")
    ] = None,
) -> None:
    """Wrap a stdio MCP server in its box: stdio on both sides, every check in between."""
    settings = load(config)
    name = server or Path(command[0]).stem.lower().replace(".", "-")
    if re.fullmatch(NAME.removeprefix("^").removesuffix("$"), name) is None:
        raise Problem("PC7004", "--server is 1 to 63 of a-z, 0-9, - and _")
    known = settings.mcp.get(name)
    if known is not None and known.command is None:
        raise Problem("PC7004", f"{name} is an HTTP server in {config}; choose another --server")
    if not all("=" in pair.lstrip("=") for pair in env or []):
        raise Problem("PC7004", "--env is NAME=VALUE")
    pairs = dict(pair.partition("=")[::2] for pair in env or [])
    upstream = _upstream(tuple(command), pairs, settings, profile, mount or [])
    if rewritten((config.absolute(), *rule_places(settings)), upstream.mounts) is not None:
        raise Problem("PC7004", "--mount: it would let the box write what the gate goes by")
    token = os.environ.pop(TOKEN, "")
    if bool(agent) == bool(token):
        raise Problem("PC7004", f"give exactly one of --agent and {TOKEN}")
    _between_pipes()
    uvloop.run(_serve(bootstrap.wrap_stdio(settings, name, upstream, agent=agent, token=token)))


def _upstream(
    command: tuple[str, ...],
    env: dict[str, str],
    settings: Config,
    profile: str,
    mounts: Sequence[str],
) -> McpUpstream:
    """The server, with its box: what its command names has to be in it (Problem PC7004)."""
    if profile not in {*settings.sandbox.named(), NONE}:
        raise Problem("PC7004", f"--profile: there is no profile {profile} in the configuration")
    if profile == NONE and mounts:
        raise Problem("PC7004", "--mount is for a box, and --profile none is without one")
    here = Path.cwd()
    try:
        given = tuple(anchored(one, here) for one in mounts)
        upstream = McpUpstream(command=command, env=env, sandbox=profile, mounts=given)
    except ValueError:
        raise Problem("PC7004", "--mount is DIR:ro or DIR:rw") from None
    if profile == NONE:
        return upstream
    if uncovered(secret_places(settings), None, given) is not None:
        raise Problem("PC7004", "--mount: it would give the box keys or secrets of the gate")
    named = (command[0], *(_whole(word, here) for word in command[1:]))
    for word in absent(inside(named, path=os.environ.get("PATH", ""), mounts=given)):
        raise Problem(
            "PC7004",
            f"the command names {word}, which is not in its box",
            hint=f"Add --mount {word}:ro, or its folder; --profile none runs it without a box.",
        )
    return upstream.model_copy(update={"command": named})


def _whole(word: str, here: Path) -> str:
    """A word that names a file or folder here by a relative path, by its whole path."""
    looks = word in {".", ".."} or "/" in word or Path(word).suffix
    return str((here / word).resolve()) if looks and (here / word).exists() else word


async def _serve(serving: Coroutine[Any, Any, None]) -> None:
    """Serve until the client or a signal ends it; either way the server's process ends with us."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(serving)

    def stop() -> None:
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _between_pipes() -> None:
    """Refuse streams that cannot be served: they would be lost, or end the process at once."""
    streams = [os.fstat(number) for number in (sys.stdin.fileno(), sys.stdout.fileno())]
    if os.path.samestat(*streams) or not all(
        stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode) for found in streams
    ):
        raise Problem(
            "PC7004",
            "standard input and output must be two pipes",
            hint="An MCP client starts this command; give it to the client as the server's.",
        )

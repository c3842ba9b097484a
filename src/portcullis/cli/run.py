"""``portcullis run -- CMD``: an agent in a box whose only way out is the gate.

The agent is started as it is, with the addresses of the gate in its environment. This process
holds its identity, outside: in the box there is no key and no token. By default the identity comes
as ``agent connect`` would get it with a join token that the operator of this machine makes; from
another machine it comes with a token of that kind, or from a Workload API.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

from portcullis.bootstrap.launching import guarded_of, launched, profile_of
from portcullis.cli.addresses import Addresses, addresses, here
from portcullis.cli.connect import DENIED, Options
from portcullis.cli.operate import operations, running_gate
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile
from portcullis.cli.references import resolved
from portcullis.cli.ways import USUAL, Way, identified
from portcullis.client.ask import CUT, MUTE
from portcullis.client.gate import Patience
from portcullis.config import Config, boxed, load
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.core.sandbox import Ended, Ending, Mount, Order
from portcullis.core.sandbox_ports import Box
from portcullis.execution.interpreter import program
from portcullis.execution.launch import Cut, Launch, is_terminal

_JOIN_SECONDS: Final = 60
_PATIENCE: Final = Patience(grace=0.3, again=0.1, ended=2)
"""Of an agent in a box that is cut off, less time is given than one that runs free."""
_MODES: Final = ("ro", "rw", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says beside the identity."""

    agent: str
    command: tuple[str, ...]
    config: Path
    profile: str
    mounts: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    servers: tuple[str, ...]
    egress: str | None
    session_token: str | None
    secrets: tuple[str | Path | None, ...]
    """What the options of the identity name: files that are not the agent's to read."""
    terminal: bool


@identified
def run(
    command: Annotated[list[str], typer.Argument(help="The agent's command, after --.")],
    *,
    agent: Annotated[str, typer.Option(help="The agent's name, as registered.")],
    profile: Annotated[str, typer.Option(help="How its box is held.")] = "strict",
    mount: Annotated[
        list[str] | None, typer.Option(help="DIR:ro or DIR:rw, in the box as it is; repeatable.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the agent; no secret. Repeatable.")
    ] = None,
    cwd: Annotated[
        str, typer.Option(help="The working directory in the box: ro, rw or none of it.")
    ] = "ro",
    mcp: Annotated[
        list[str] | None,
        typer.Option(help="An MCP server that it is told of; default: all of --config."),
    ] = None,
    egress: Annotated[
        str | None, typer.Option(help="The gate's egress listener; default: --config's.")
    ] = None,
    session_token: Annotated[
        str | None, typer.Option(help="Act in this session: env:NAME or file:PATH of its token.")
    ] = None,
    terminal: Annotated[
        bool | None, typer.Option(help="A pseudo-terminal for it; default: when there is one.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    way: Way,
) -> None:
    """Run an agent in a box whose only way out is the gate; its exit code is passed on."""
    settings = load(config) if config != DEFAULT_CONFIG or config.exists() else None
    known = USUAL if settings is None else addresses(settings)
    where = Addresses(way.gate or known.gate, way.enrol or known.enrol)
    options = replace(
        Options.of(PrincipalKind.AGENT, agent, way, where),
        joined="" if way.own else _joined(settings, agent),
        patience=_PATIENCE,
    )
    asked = Asked(
        agent=agent,
        command=tuple(command),
        config=config,
        profile=profile,
        mounts=tuple(mount or ()),
        env=tuple(env or ()),
        cwd=cwd,
        servers=tuple(mcp or ()),
        egress=egress,
        session_token=session_token,
        secrets=(way.join_token, way.kubernetes_token, session_token, way.save),
        terminal=is_terminal() if terminal is None else terminal,
    )
    order = _order(asked, settings)
    raise typer.Exit(_ended(order, settings, options))


def _joined(settings: Config | None, agent: str) -> str:
    """A join token, made as the operator of this machine."""
    if settings is None or running_gate(settings) is None:
        hint = "Run it beside `portcullis up`, or give one of --join-token and --socket."
        raise Problem("PC7005", "no gate runs here that could vouch for the agent", hint=hint)
    with operations(settings) as work:
        return work.join(PrincipalKind.AGENT, agent, _JOIN_SECONDS).token


def _order(asked: Asked, settings: Config | None) -> Launch:
    here = Path.cwd()
    if asked.cwd not in _MODES:
        raise Problem("PC7004", "--cwd is ro, rw or none")
    if not all("=" in pair.lstrip("=") for pair in asked.env):
        raise Problem("PC7004", "--env is NAME=VALUE")
    found = program(asked.command[0], os.environ.get("PATH", os.defpath))
    mounts = [*found.mounts, *(_mount(text, here) for text in asked.mounts)]
    if asked.cwd != "none":
        mounts.insert(0, Mount(source=here, target=str(here), writable=asked.cwd == "rw"))
    servers = asked.servers or (() if settings is None else (*settings.mcp, *settings.tools))
    return Launch(
        agent=asked.agent,
        argv=(found.argv0, *asked.command[1:]),
        profile=profile_of(settings, asked.profile),
        path=found.path,
        cwd="/scratch" if asked.cwd == "none" else str(here),
        mounts=tuple(mounts),
        guarded=guarded_of(settings, asked.config, asked.secrets),
        environ=dict(pair.partition("=")[::2] for pair in asked.env),
        servers=tuple(sorted(servers)),
        egress=asked.egress or _egress(settings),
        delegation="" if asked.session_token is None else _token(asked.session_token),
        screen=os.environ.get("TERM", "dumb") if asked.terminal else None,
    )


def _mount(text: str, here: Path) -> Mount:
    try:
        return boxed.mount(boxed.anchored(text, here))
    except ValueError as error:
        raise Problem("PC7004", f"--mount {text}: {error}") from None


def _token(reference: str) -> str:
    return resolved("--session-token", reference)


def _egress(settings: Config | None) -> str:
    """Where the way out is, when the gate of this configuration has one."""
    if settings is None:
        return ""
    try:
        running = running_gate(settings)
    except Problem:
        running = None  # it is another user's: what is configured is what we know
    if running is not None and running.egress:
        return here(running.egress)
    return "" if settings.listen.egress is None else here(f"https://{settings.listen.egress}")


def _ended(order: Launch, settings: Config | None, options: Options) -> int:
    """Run it to the end; the exit code."""
    try:
        found = uvloop.run(_run(order, settings, options))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except Problem as problem:
        if problem.code not in CUT | {MUTE}:
            raise
        found = Cut(why=problem, seconds=0)
    if isinstance(found, Cut):
        why = found.why
        sys.stderr.write(f"error: {why.code} {why.entry.title}: {why.detail}\nhint: {why.hint}\n")
        if found.seconds:
            sys.stderr.write(f"The box was gone {found.seconds:.2f} s after the gate cut it off.\n")
        return DENIED
    if found.why is Ending.MEMORY:
        size = order.profile.memory // 2**20
        sys.stderr.write(f"The box had used up its memory ({size} MiB).\n")
    if found.why is Ending.DEADLINE:
        sys.stderr.write(f"The box's time was over ({order.profile.seconds:g} s).\n")
    return found.status


async def _run(order: Launch, settings: Config | None, options: Options) -> Ended | Cut:
    async with options.opened() as gate:

        def started(wanted: Order, box: Box) -> None:
            held = f"{len(box.enforced)} of {len(wanted.profile.demands)} holds"
            name = gate.identity.current.id
            end = "\n" if order.screen is None else "\r\n"  # the terminal is raw by now
            sys.stderr.write(f"{name} in a box ({wanted.profile.name}: {held}){end}")

        return await launched(settings, order, gate, started)

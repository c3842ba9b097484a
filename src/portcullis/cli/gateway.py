"""``portcullis gateway``: an enforcement point alone, under a control plane that is elsewhere."""

from __future__ import annotations

import contextlib
import signal
from functools import partial
from typing import Annotated

import typer
import uvloop

from portcullis import bootstrap
from portcullis.bootstrap.leaving import longest
from portcullis.bootstrap.presence import found_in
from portcullis.cli import logs
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile
from portcullis.cli.serve import Stop, Stopped, say, settle, where
from portcullis.config import Config, Listen, load
from portcullis.config.places import gateway_file, gateway_name
from portcullis.core.errors import Problem

_LISTENERS = ("gate", "tls", "mtls", "relay")


def gateway(
    name: Annotated[str, typer.Option(help="What it is called; its log has this name too.")],
    config: ConfigFile = DEFAULT_CONFIG,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            help="gate=HOST:PORT, tls=..., mtls=... or relay=...: in place of the configuration's."
        ),
    ] = None,
    tied: Annotated[
        bool, typer.Option("--tied", help="End when standard input does, as with SIGTERM.")
    ] = False,
) -> None:
    """Run one enforcement point: it serves agents, and obeys the control plane of its state.

    Several may listen at the same addresses. It ends on SIGTERM or Ctrl-C; SIGHUP reloads the
    policy. Without a control plane it waits, or refuses everything.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a policy to reload
    gateway_name(name)
    logs.configure(process=name)
    uvloop.run(_serve(_at(load(config), listen or []), name, tied=tied))


async def _serve(config: Config, name: str, *, tied: bool) -> None:
    stop = Stop(name, tied=longest(config.limits) if tied else None)
    async with contextlib.AsyncExitStack() as stack:
        running = bootstrap.running_gateway(config, name, told=partial(say, name=name))
        try:
            gate = await stop.before(stack.enter_async_context(running))
        except Stopped:
            return
        except Problem as problem:
            other = found_in(gateway_file(config, name)) if problem.code == "PC6003" else None
            if other is None:
                raise
            hint = "Give this one another --name."
            detail = f"the gateway {name} runs already: process {other.pid}"
            raise Problem("PC6003", detail, hint=hint) from None
        settle()
        where(gate.urls, name)
        await stop.wait(gate)


def _at(config: Config, given: list[str]) -> Config:
    """The configuration with these listeners. Problem PC7004."""
    pairs = dict(one.partition("=")[::2] for one in given)
    if not all(name in _LISTENERS for name in pairs):
        raise Problem("PC7004", f"--listen is NAME=HOST:PORT; NAME one of {', '.join(_LISTENERS)}")
    try:
        listen = Listen.model_validate(config.listen.model_dump() | pairs)
    except ValueError:
        raise Problem("PC7004", "--listen is HOST:PORT; gate and tls are on loopback") from None
    return config.model_copy(update={"listen": listen})

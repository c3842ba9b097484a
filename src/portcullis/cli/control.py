"""``portcullis control``: the control plane alone."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer
import uvloop

from portcullis import bootstrap
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile
from portcullis.cli.serve import Stop, patiently, serves, settle, where
from portcullis.config import Config, load


def control(
    config: ConfigFile = DEFAULT_CONFIG,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Stand by while another has the control, and take over."),
    ] = False,
) -> None:
    """Run the control plane alone, for `portcullis gateway` processes over the same state.

    It ends on SIGTERM or Ctrl-C; SIGHUP reloads the policy. While it is gone, gateways refuse
    everything.
    """
    uvloop.run(_serve(load(config), wait=wait))


async def _serve(config: Config, *, wait: bool) -> None:
    async with contextlib.AsyncExitStack() as stack:
        gate = await patiently(stack, config, lambda: bootstrap.running_control(config), wait=wait)
        settle()
        where(gate.urls)
        serves(config, gate)
        await Stop().wait(gate)

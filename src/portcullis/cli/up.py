"""``portcullis up``: run the gate, in one process or with workers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from msgspec import structs

from portcullis import bootstrap
from portcullis.bootstrap.leaving import longest
from portcullis.bootstrap.workers import Addresses, Workers, arguments_of, names_of
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile
from portcullis.cli.serve import Stop, Stopped, patiently, say, serves, settle, where
from portcullis.config import Config, load
from portcullis.gateway.records import changed

MOST_WORKERS = 64


def up(
    config: ConfigFile = DEFAULT_CONFIG,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST_WORKERS,
            help="Gateways as processes of their own, under this one's control; 1: all in one.",
        ),
    ] = 1,
    tied: Annotated[
        bool, typer.Option("--tied", help="End when standard input does, as with SIGTERM.")
    ] = False,
) -> None:
    """Run the gate and its control plane until SIGTERM or Ctrl-C; SIGHUP reloads the policy.

    With workers, `portcullis restart` has each begin anew while the others serve.
    """
    settings = load(config)
    end = longest(settings.limits) if tied else None
    if tied:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a policy to reload
    if workers == 1:
        uvloop.run(_alone(settings, end))
    else:
        uvloop.run(_supervised(settings, config, workers, end))


async def _alone(config: Config, tied: float | None) -> None:
    early = None if tied is None else Stop(tied=tied)
    async with contextlib.AsyncExitStack() as stack:
        start = patiently(stack, config, lambda: bootstrap.running_gate(config))
        try:
            gate = await (start if early is None else early.before(start))
        except Stopped:
            return
        settle()
        where(gate.urls)
        serves(config, gate)
        await (early or Stop()).wait(gate)


async def _supervised(config: Config, file: Path, count: int, tied: float | None) -> None:
    """The control plane, and its gateways as children; they end before it does."""
    early = None if tied is None else Stop(tied=tied)
    async with contextlib.AsyncExitStack() as stack:
        addresses = Addresses(config)
        stack.callback(addresses.close)
        kept: list[Workers] = []
        gate = await patiently(
            stack,
            config,
            lambda: bootstrap.running_control(
                config, addresses.urls(), ready=lambda: any(one.ready() for one in kept)
            ),
        )

        def record(method: str, said: Mapping[str, Any]) -> None:
            services = gate.services
            event = changed(services.gateway, services.clock, method, said)
            services.recorder.enqueue(structs.replace(event, name=said["gateway"]))

        workers = Workers(config, names_of(count), arguments_of(file, addresses), record)
        kept.append(workers)
        settle()

        def reload() -> None:
            gate.reload_policy()
            workers.reload()

        where(gate.urls | addresses.urls())
        serves(config, gate)
        say(f"workers   {', '.join(names_of(count))}")
        keeping = asyncio.create_task(workers.run())
        try:
            await (early or Stop()).wait(gate, reload=reload, renew=workers.renew)
        finally:
            await workers.end()
            await keeping

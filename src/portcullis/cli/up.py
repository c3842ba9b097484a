"""``portcullis up``: run the gate, in one process or with workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from msgspec import structs

from portcullis import bootstrap
from portcullis.bootstrap.workers import Addresses, Workers, arguments_of, names_of
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile
from portcullis.cli.serve import Stop, patiently, say, serves, settle, where
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
) -> None:
    """Run the gate and its control plane until SIGTERM or Ctrl-C; SIGHUP reloads the policy.

    With workers, `portcullis restart` has each begin anew while the others serve.
    """
    settings = load(config)
    uvloop.run(_alone(settings) if workers == 1 else _supervised(settings, config, workers))


async def _alone(config: Config) -> None:
    async with contextlib.AsyncExitStack() as stack:
        gate = await patiently(stack, config, lambda: bootstrap.running_gate(config))
        settle()
        where(gate.urls)
        serves(config, gate)
        await Stop().wait(gate.reload_policy)


async def _supervised(config: Config, file: Path, count: int) -> None:
    """The control plane, and its gateways as children; they end before it does."""
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
            await Stop().wait(reload, renew=workers.renew)
        finally:
            await workers.end()
            await keeping

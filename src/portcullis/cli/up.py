"""``portcullis up``: run the gate."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import sys
import time

import uvloop

from portcullis import bootstrap
from portcullis.cli.operate import PATIENCE_SECONDS, running_gate
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile
from portcullis.config import Config, load
from portcullis.control.console.guard import own_url
from portcullis.core.errors import Problem


def up(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Run the gate and its control plane until SIGTERM or Ctrl-C; SIGHUP reloads the policy."""
    uvloop.run(_serve(load(config)))


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        gate = await _started(stack, config)
        _settle()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, gate.reload_policy)
        for name, url in gate.urls.items():
            sys.stderr.write(f"{name:9} {url}\n")
        if config.console.enabled:
            place = config.console.origin or own_url(gate.control_url)
            sys.stderr.write(f"console   {place}/ (a link that logs in: portcullis console)\n")
        for shape in sorted({upstream.shape for upstream in config.models.values()}):
            sys.stderr.write(f"serves    /{shape}{'/v1' * (shape == 'openai')}\n")
        for server in config.mcp:
            sys.stderr.write(f"serves    /mcp/{server}\n")
        for toolset in config.guard:
            sys.stderr.write(f"serves    /v1/calls ({toolset})\n")
        if gate.workload is not None:
            sys.stderr.write(f"workload  unix:{gate.workload.resolve()}\n")
        sys.stderr.write(f"log       {gate.audit_directory}\n")
        sys.stderr.flush()
        await stop.wait()
        sys.stderr.write("draining\n")


def _settle() -> None:
    """Take the open files that we may have, and tell the garbage collector what stays.

    Each connection is a file; a call makes few cycles.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


async def _started(stack: contextlib.AsyncExitStack, config: Config) -> bootstrap.Gate:
    """Start the gate; a command that has the log open gets time to finish, another gate not."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await stack.enter_async_context(bootstrap.running_gate(config))
        except Problem as problem:
            if problem.code != "PC6003":
                raise
            other = running_gate(config)
            if other is not None:
                detail = f"a gate runs here already: process {other.pid}, {other.gate}"
                raise Problem("PC6003", detail) from None
            if time.monotonic() > until:
                raise
        await asyncio.sleep(0.05)

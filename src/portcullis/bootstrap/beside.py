"""What goes on beside the line for as long as it stands."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry

from portcullis.bootstrap import reviews
from portcullis.bootstrap.background import background
from portcullis.bootstrap.exporters import run_exporters
from portcullis.bootstrap.oversight import upkeep
from portcullis.bootstrap.projection import projecting
from portcullis.bootstrap.replicas import run_replicas
from portcullis.bootstrap.retention import expiring, pruning
from portcullis.bootstrap.witnesses import watch_witnesses
from portcullis.config import Config
from portcullis.config.places import Role
from portcullis.control.services import Services
from portcullis.core.ports import SecretSource
from portcullis.gateway.records import changed


async def beside(
    stack: contextlib.AsyncExitStack,
    config: Config,
    services: Services,
    sources: SecretSource,
    registry: CollectorRegistry,
    works: Iterable[Awaitable[Any]],
) -> None:
    """Begin ``works`` and all upkeep of the process and its log; the stack ends them.

    What only one process of a deployment does looks by itself whether this is the one.
    """
    for work in (
        *works,
        expiring(config, services),
        pruning(services),
        upkeep(services),
        reviews.upkeep(config, services),
    ):
        await stack.enter_async_context(background(work))
    _say_rights(config, services)
    watch_witnesses(services, registry)
    run_exporters(stack, config, services, sources, registry)
    name = services.gateway.rpartition("/")[2]
    await stack.enter_async_context(projecting(config, name, registry))
    run_replicas(stack, config, services, sources, registry)


def _say_rights(config: Config, services: Services) -> None:
    """Put on record what roles mean from now on, where not all of it is built in."""
    if (
        not (config.roles or config.rights_apart)
        or not Role.of(services.gateway.rpartition("/")[2]).rules
    ):
        return
    said = {
        "roles": {name: sorted(one.rights) for name, one in config.roles.items()},
        "apart": [list(pair) for pair in config.rights_apart],
    }
    event = changed(services.gateway, services.clock, "operators.roles", said)
    services.recorder.enqueue(event)

"""The gate on its listeners."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from portcullis.bootstrap.foundation import GATE, audit_directory
from portcullis.bootstrap.parts import assembled
from portcullis.config import Config
from portcullis.control import admin, agents_api
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.gateway.listener import Listener
from portcullis.gateway.llm import ModelRoutes
from portcullis.gateway.mcp_http import McpHttp
from portcullis.gateway.router import Router

GATE_FILE = "gate.json"
"""Below the state directory while a gate runs: where its control plane listens."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A running gate. ``reload_policy`` looks at the policy folder at once."""

    gate_url: str
    control_url: str
    audit_directory: Path
    services: Services
    reload_policy: Callable[[], None]


@contextlib.asynccontextmanager
async def running_gate(config: Config) -> AsyncIterator[Gate]:
    """Run a gate on its two listeners until the block ends; then drain and close.

    Raises Problem when it cannot start: configuration, policy, keys, log or addresses.
    """
    async with assembled(config, GATE, os.environ) as parts:
        limits = config.limits
        router = Router(
            access=parts.access,
            pipeline=parts.pipeline,
            models=ModelRoutes(parts.pipeline, parts.forwarder, config.models, limits),
            mcp=McpHttp(parts.mcp, parts.conversations),
            api=agents_api.create_app(parts.services),
            limits=limits,
            metrics=parts.metrics,
        )
        control = admin.create_app(
            parts.services,
            registry=parts.registry,
            ready=lambda: not (router.draining or parts.services.recorder.failure),
        )

        def refused(problem: Problem, peer: str) -> Problem:
            return parts.pipeline.refused(problem, source=peer, method="http")

        async with contextlib.AsyncExitStack() as stack:
            # the control plane opens first and closes last: operators act while the gate drains
            place = config.state / GATE_FILE
            stack.callback(place.unlink, missing_ok=True)
            listeners = []
            for app, address in ((control, config.listen.control), (router, config.listen.gate)):
                listener = Listener(
                    app,
                    address,
                    refused=refused,
                    seconds=limits.receive_seconds,
                    drain_seconds=limits.drain_seconds,
                    stalled_seconds=limits.idle_seconds,
                )
                await listener.open()
                stack.push_async_callback(listener.close)
                listeners.append(listener)
            stack.callback(router.drain)
            plane, gate = listeners
            place.write_text(
                json.dumps({"control": plane.url, "gate": gate.url, "pid": os.getpid()})
            )
            yield Gate(
                gate.url, plane.url, audit_directory(config), parts.services, parts.reload_policy
            )

"""Who takes part: programs that enrol as workloads do, and the side process of an agent."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from portcullis import client
from portcullis.client.connector import Connector
from portcullis.core.principal import PrincipalKind
from portcullis.demo.stage import Stage


@contextlib.asynccontextmanager
async def enrolled(stage: Stage, kind: PrincipalKind, name: str) -> AsyncIterator[client.Gate]:
    """A registered program under its own SVID, by a one-time join token, for as long as it lasts.

    Its key is made here and stays in memory.
    """
    gate = stage.gate.mtls_url
    token = await stage.join_token(kind, name)
    async with client.enrolled(stage.gate.gate_url, gate=gate, join_token=token) as identity:
        yield client.Gate(gate, identity)


@contextlib.asynccontextmanager
async def beside(gate: client.Gate) -> AsyncIterator[str]:
    """What ``portcullis agent connect`` runs: the base URL for a client that knows nothing."""
    async with Connector(gate).listening("127.0.0.1:0") as base:
        yield base

"""Starts a server from its source, behind a channel."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import AsyncIterator

import pytest

from boxes import boxes
from contract.execution.stdio.talk import PRELUDE
from portcullis.config import Limits, McpUpstream
from portcullis.execution.http import HttpForwarder
from portcullis.execution.mcp import McpChannels
from portcullis.execution.secrets import local_secrets


@pytest.fixture
def limits() -> Limits:
    return Limits(request_seconds=1, processes=3, calls_in_flight=8, result_bytes=200_000)


@pytest.fixture
async def open_server(limits) -> AsyncIterator[object]:
    """Start a server from its source and return a channel to it."""
    made: list[McpChannels] = []
    forwarder = HttpForwarder({}, secrets=local_secrets({}), limits=limits)

    async def start(source: str, *, env=None, environ=None, legacy: bool = True, **how):
        """``how`` is what the configuration says beside the command: in a box, or in none."""
        command = (sys.executable, "-c", PRELUDE + textwrap.dedent(source))
        channels = McpChannels(
            {"it": McpUpstream(command=command, env=env or {}, **({"sandbox": "none"} | how))},
            forwarder=forwarder,
            secrets=local_secrets(environ or {}),
            limits=limits,
            environ={**os.environ, **(environ or {})},
            boxes=boxes(),
        )
        made.append(channels)
        return await channels.open("it", "key", legacy=legacy)

    yield start
    for channels in made:
        await channels.close()
    await forwarder.close()

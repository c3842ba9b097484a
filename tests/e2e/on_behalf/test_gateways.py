"""Several gateways act on one grant, and none of them on one that has ended."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest

from e2e.on_behalf.conftest import made
from e2e.on_behalf.peers import Browser
from needs import needs_node
from portcullis.bootstrap.control import running_control
from portcullis.bootstrap.gateway import running_gateway

pytestmark = [pytest.mark.anyio, needs_node]


async def test_an_account_that_was_connected_once_serves_at_every_gateway(tmp_path) -> None:
    gates = []

    @contextlib.asynccontextmanager
    async def running(config):
        async with running_control(config) as control, contextlib.AsyncExitStack() as stack:
            begun = [running_gateway(config, name) for name in ("one", "two")]
            gates.extend([await stack.enter_async_context(one) for one in begun])
            yield dataclasses.replace(control, urls=gates[0].urls | control.urls)

    async with made(tmp_path, running) as world:
        ada = await world.session("ada")
        async with Browser("ada") as browser:
            assert "<h1>Connected</h1>" in (await browser.connect(await world.link(ada))).text
        found = await asyncio.gather(*(world.call(ada, at=gate) for gate in gates))
        assert found == ["the mail of ada"] * 2  # each refreshed it, one after the other
        async with world.api() as http:
            done = await http.delete(f"/v1/sessions/{world.ids[ada]}/connections/box")
        assert done.json()["server_told"] is True
        found = await asyncio.gather(*(world.call(ada, at=gate) for gate in gates))
        assert [one[:6] for one in found] == ["PC5080"] * 2

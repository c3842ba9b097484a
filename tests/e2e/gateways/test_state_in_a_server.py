"""The same where gateways of several hosts share in a server what those of one share in files."""

import asyncio
from pathlib import Path

import pytest
import yaml
from mcp import MCPError

from e2e.gateways.several import SETTINGS, several
from e2e.gateways.test_state import (
    anyio_backend,
    test_a_proof_is_good_at_one_gateway_once_and_at_no_other,
    test_what_one_gateway_hid_another_restores_and_none_gives_a_number_twice,
    test_who_approves_what_waits_at_one_gateway_sees_what_was_done_at_the_others,
    token,
)
from needs import needs_redis
from portcullis.core.codes import CODES
from redis_servers import Node, nodes, told

__all__ = [
    "anyio_backend",
    "test_a_proof_is_good_at_one_gateway_once_and_at_no_other",
    "test_what_one_gateway_hid_another_restores_and_none_gives_a_number_twice",
    "test_who_approves_what_waits_at_one_gateway_sees_what_was_done_at_the_others",
    "token",
]
pytestmark = [pytest.mark.anyio, needs_redis]
AWAY = CODES["PC7050"].title
CUSTOMER = {"customer_id": "C-1001"}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    made = Node(tmp_path_factory.mktemp("redis"))
    with nodes(made):
        yield made


@pytest.fixture(scope="module")
async def gates(node, tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("gates")
    (folder / "url").touch(mode=0o600)
    (folder / "url").write_text(f"redis://{node.address}/")
    settings = SETTINGS | {"shared": {"url": f"file:{folder / 'url'}"}}
    async with several(folder, "one", "two", "three", settings=settings) as made:
        yield made


async def test_nothing_of_it_lies_on_one_host(gates, node):
    state = Path(yaml.safe_load(gates.stage.config.read_text())["state"])
    assert not (state / "shared").exists()
    keys = told(node, "KEYS", "*").split()
    assert keys
    assert all(key.startswith("portcullis:{") for key in keys)


async def test_while_the_server_is_away_what_needs_it_is_denied_and_then_goes_on(gates, node):
    token = await gates.session()
    async with gates.mcp("crm", token, "one") as client:
        assert not (await client.call_tool("get_customer", CUSTOMER)).is_error
        node.end()
        with pytest.raises(MCPError, match=AWAY):
            await client.call_tool("get_customer", CUSTOMER)
        node.start()
        async with asyncio.timeout(60):
            while not await _goes(client):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.1)


async def _goes(client):
    """Whether a call goes through that needs the session's placeholders."""
    try:
        shown = await client.call_tool("get_customer", CUSTOMER)
    except MCPError as error:
        if AWAY not in str(error):
            raise
        return False
    return not shown.is_error

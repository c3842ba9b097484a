"""If these fail, the guard works only in a laboratory: identities are what agents really have."""

import asyncio
import contextlib

import pytest

from e2e.guard.shop import AGENT
from portcullis import client
from portcullis.client.connector import Connector
from portcullis.client.guard import Refused
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def access(shop):
    """Mutual TLS under an SVID of the agent's."""
    join = shop.do(shop.stage.join_token(PrincipalKind.AGENT, AGENT))
    gate = shop.stage.gate
    async with client.enrolled(gate.gate_url, gate=gate.mtls_url, join_token=join) as identity:
        yield client.Gate(gate.mtls_url, identity)


async def works(shop, guard):
    """Both kinds of tools run, and what is denied does not."""
    refund, remove = (guard.tool(each) for each in shop.functions(asynchronous=False)[1:])
    arefund = guard.tool(shop.functions(asynchronous=True)[1])
    assert await arefund("O-5001", 1.0) == "paid 1.0"
    assert await asyncio.to_thread(refund, "O-5001", 2.0) == "paid 2.0"
    with pytest.raises(Refused, match="PC3001"):
        await asyncio.to_thread(remove, "O-5001")
    assert [amount for _, _, amount, _ in shop.done] == [1.0, 2.0]


async def test_under_an_identity_of_its_own_also_on_the_loop_that_renews_it(shop):
    async with access(shop) as way:
        with shop.guard("python", access=way, delegation=shop.token()) as guard:
            await works(shop, guard)
            refund = guard.tool(shop.functions(asynchronous=False)[1])
            assert refund("O-5001", 3.0) == "paid 3.0"  # blocks this loop, and is answered


@pytest.mark.parametrize("unix", [False, True])
async def test_through_the_side_process_with_a_token_for_each_session(shop, unix, tmp_path):
    where = f"unix:{tmp_path / 'gate.sock'}" if unix else "127.0.0.1:0"
    async with access(shop) as way:
        connector = Connector(way, key="local key")
        async with connector.listening(where) as url:
            options = {"url": url, "key": "local key", "delegation": ""}
            with shop.guard("python", **options) as guard:
                with guard.session(shop.token()):
                    await works(shop, guard)
                with guard.session(shop.token("shop-0-python-sync")):
                    refund = guard.tool(shop.functions(asynchronous=True)[1])
                    with pytest.raises(Refused, match="PC20"):
                        await refund("O-5001", 4.0)  # a session of another agent's
            with shop.guard("python", **options | {"key": "wrong"}) as guard:
                refund = guard.tool(shop.functions(asynchronous=True)[1])
                with pytest.raises(Refused, match="PC2001"):
                    await refund("O-5001", 5.0)
    assert len(shop.done) == 2

"""Several gateways: if these fail, a kill reaches some of them, or needs a database."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import time

import openai
import pytest
from spiffe import WorkloadApiClient
from spiffe.errors import PySpiffeError

import standins
from e2e.processes.fleet import fleet, until
from portcullis.bootstrap import signed_order
from portcullis.cli.operate import running_gate
from portcullis.cli.remote import Remote
from portcullis.core.errors import Problem
from portcullis.identity.orders import ORDER_FILE, SignedOrder

pytestmark = pytest.mark.anyio
WORKERS = ("gate-1", "gate-2")
NEIGHBOUR = "support-agent-prod-002"
STALL = {
    "model": "gpt-standin:stall",
    "messages": [{"role": "user", "content": "hello"}],
    "stream": True,
}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def workers(tmp_path_factory, anyio_backend):
    up = ("up", "up", "--workers", "2")
    listen = dict.fromkeys(("gate", "control", "mtls"), "127.0.0.1:0")
    settings = {"listen": listen | {"workload": "w.sock"}}
    folder = tmp_path_factory.mktemp("fleet")
    async with fleet(folder, up, gateways=WORKERS, settings=settings) as made:
        yield made


@contextlib.asynccontextmanager
async def streams(workers, token, count):
    """So many streams that stall; how each ended, by its position."""
    ends = {}

    async def one(number):
        async with standins.openai_client(workers.stage, token) as client:
            try:
                async for _ in await client.chat.completions.create(**STALL):
                    begun.add(number)
            except openai.APIError as error:
                ends[number] = (str(error.body), time.monotonic())

    begun = set()
    tasks = [asyncio.ensure_future(one(number)) for number in range(count)]
    try:
        await until(lambda: len(begun) == count, 20)
        yield ends
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def kill(workers, *words, code=0):
    return json.loads(await workers.run("kill", *words, "--json", code=code))


async def test_every_gateway_cuts_and_the_command_says_which_did(workers):
    mine, other = await workers.agent(), await workers.agent(NEIGHBOUR)
    async with streams(workers, mine, 8) as ends, streams(workers, other, 2) as theirs:
        done = await kill(workers, "--agent", standins.AGENT, "--reason", "gone wrong")
        assert [one["gateway"] for one in done["gateways"]] == list(WORKERS)
        assert sum(one["runs"] for one in done["gateways"]) == 8
        assert all(one["acknowledged_ms"] < 1000 for one in done["gateways"])
        await until(lambda: len(ends) == 8)
        assert all("gone wrong" in said for said, _ in ends.values())
        assert not theirs
        assert await workers.codes(mine, 8) == {"PC4001": 8}
        assert await workers.codes(other, 4) == {"": 4}
    shown = await workers.run("kill")
    assert f"agent {standins.AGENT}" in shown
    assert "gone wrong" in shown
    done = await kill(workers, "--undo", "--agent", standins.AGENT, "--reason", "checked")
    assert all(one["acknowledged_ms"] is not None for one in done["gateways"])
    await until(lambda: _served(workers, mine))
    methods = [event.method for event in workers.events("control")]
    assert {"kills.kill", "kills.undo"} <= set(methods)


async def _served(workers, token):
    return await workers.codes(token, 6) == {"": 6}


async def _opened(workers, agent):
    with contextlib.suppress(RuntimeError):
        return [await workers.agent(agent) for _ in range(4)]
    return None


async def test_no_identity_is_given_out_while_the_agent_is_killed(workers):
    await workers.run("agent", "register", NEIGHBOUR, "--selector", f"unix:uid:{os.geteuid()}")
    socket = f"unix:{workers.config.state / 'w.sock'}"

    def fetched():
        with WorkloadApiClient(socket, default_timeout=5) as api:
            return api.fetch_x509_svid().spiffe_id.path, api.fetch_jwt_svid(audience={"x"})

    assert (await asyncio.to_thread(fetched))[0] == f"/agent/{NEIGHBOUR}"
    await kill(workers, "--agent", NEIGHBOUR)
    with pytest.raises(PySpiffeError):
        await asyncio.to_thread(fetched)
    await kill(workers, "--undo", "--agent", NEIGHBOUR, "--reason", "checked")
    assert await asyncio.to_thread(fetched)
    await until(lambda: _opened(workers, NEIGHBOUR))  # each gateway lets it in a moment later


async def test_a_signed_order_cuts_everybody_while_the_database_is_locked_and_lasts(workers):
    mine, other = await workers.agent(), await workers.agent(NEIGHBOUR)
    database = sqlite3.connect(workers.config.state / "portcullis.db", isolation_level=None)
    async with streams(workers, mine, 4) as ends, streams(workers, other, 2) as theirs:
        with contextlib.closing(database):
            database.execute("BEGIN IMMEDIATE")  # nobody else can write, for as long as it lasts
            began = time.monotonic()
            done = await kill(workers, "--all", "--reason", "fire")
            assert [one["acknowledged_ms"] < 1000 for one in done["gateways"]] == [True, True]
            assert (done["scope"], done["durable"]) == ("all", True)
            await until(lambda: len(ends) + len(theirs) == 6)
            assert max(at for _, at in (*ends.values(), *theirs.values())) - began < 3
            assert await workers.codes(mine, 4) == {"PC4001": 4}
            database.execute("ROLLBACK")
    assert (workers.config.state / ORDER_FILE).stat().st_mode & 0o777 == 0o600
    # A gateway that is started now starts killed, and so does the control plane.
    process = workers.pid("gate-1")
    os.kill(process, signal.SIGKILL)
    await until(lambda: workers.pid("gate-1") not in {None, process}, 30)
    assert await workers.codes(mine, 6) == {"PC4001": 6}
    forged = signed_order(workers.config, "undo", "over")
    forged = SignedOrder(forged.order.replace(b"over", b"OVER"), forged.signature)
    with pytest.raises(Problem, match="PC4003"):
        await asyncio.to_thread(Remote(running_gate(workers.config).control, None).order, forged)
    assert await workers.codes(mine, 2) == {"PC4001": 2}
    await kill(workers, "--undo", "--all", "--reason", "over")
    await until(lambda: _served(workers, mine))


async def test_a_gateway_that_stands_still_is_named_and_refuses_everything_when_it_goes_on(workers):
    mine = await workers.agent()
    still = workers.pid("gate-2")
    os.kill(still, signal.SIGSTOP)
    try:
        text = await workers.run("kill", "--session", "no-such-session", code=1)
        assert "gate-2  DID NOT ANSWER: it refuses everything by now" in text
        assert "gate-1  " in text
    finally:
        os.kill(still, signal.SIGCONT)
    await workers.run("kill", "--undo", "--session", "no-such-session", "--reason", "none")
    await until(lambda: _served(workers, mine))

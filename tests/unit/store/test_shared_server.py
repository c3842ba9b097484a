"""If these fail, gateways of two hosts disagree, or believe a server that has forgotten something:
a proof is good twice, a placeholder brings back another value, a label is missing."""

from __future__ import annotations

import asyncio
import math
import secrets
import signal
import tempfile
import time
from pathlib import Path

import pytest

from needs import needs_redis
from portcullis.core.approval import Step
from portcullis.core.errors import Problem
from portcullis.core.formats import FORMAT
from portcullis.store import shared_server
from portcullis.store.called_redis import RedisCalled
from portcullis.store.claims_redis import RedisClaims
from portcullis.store.once_redis import RedisOnce
from portcullis.store.recent_redis import RedisRecent
from portcullis.store.shared_server import Away, Server
from portcullis.store.vaults_redis import RedisVaults
from redis_servers import Node, nodes, open_server, redis_server, told
from shared_processes import KEY, Clock, hide_all, in_processes, spend_all

pytestmark = [pytest.mark.anyio, needs_redis]


@pytest.fixture
def url():
    with tempfile.TemporaryDirectory(prefix="pc-") as folder, redis_server(Path(folder)) as found:
        yield found


@pytest.fixture
def node(tmp_path):
    """One that keeps what was written to it, so that a restart brings it back."""
    made = Node(tmp_path / "redis", ("--appendonly", "yes", "--appendfsync", "always"))
    with nodes(made):
        yield made


@pytest.fixture
def server(node):
    with open_server(f"redis://{node.address}") as found:
        yield found


class Turned:
    """A clock that a test turns."""

    def __init__(self, at=1000.5):
        self.time = at

    def now(self):
        return self.time

    monotonic = now


def flush(node):
    told(node, "FLUSHALL")


def restart(node):
    node.end()
    node.start()


LOSSES = pytest.mark.parametrize("lose", [flush, restart])


async def back(server):
    """Until the server is used again."""
    async with asyncio.timeout(60):
        while not server.up:  # noqa: ASYNC110 - a thread says so
            await asyncio.sleep(0.02)


async def hidden(vaults, session, value, since=math.inf):
    await vaults.refresh(session, since)
    return vaults.vault(session, since).hide("A", value)


# Processes


def test_of_two_processes_at_once_each_proof_is_good_in_one(url):
    keys = [secrets.token_bytes(32) for _ in range(100)]
    with open_server(url) as server:
        mine = RedisOnce(server, Clock())
        given = in_processes(spend_all, (url, keys), (url, keys[::-1]))
        assert sum(spent for spent, _ in given) == len(keys)
        assert {since for _, since in given} == {mine.since}, "one that starts forgot nothing"
        assert not any(mine.spend(key, time.time() + 60) for key in keys)


def test_two_processes_at_once_give_no_number_twice_and_know_each_others_values(url):
    both = [f"v{number}" for number in range(40)]
    one, two = in_processes(
        hide_all,
        (url, both + [f"a{n}" for n in range(40)]),
        (url, both + [f"b{n}" for n in range(40)]),
    )
    assert {one[value] for value in both} == {two[value] for value in both}
    assert len({*one.values(), *two.values()}) == 120
    with open_server(url) as server:
        vault = RedisVaults(server, KEY, Clock()).vault("s1", 0.0)
        assert all(vault.reveal(placeholder) == value for value, placeholder in (one | two).items())


# What the server lost


@LOSSES
async def test_proofs_from_before_a_loss_are_good_no_more(node, server, lose):
    clock = Turned()
    one, two = (RedisOnce(server, clock, skew=5) for _ in range(2))
    assert (one.since, two.since) == (1000.0, 1000.0)
    assert one.spend(b"a", 1066)
    lose(node)
    await back(server)
    clock.time = 1002.5
    assert not two.spend(b"a", 1066), "what is asked first may be older"
    await back(server)
    assert not two.spend(b"b", 1066) or two.since == 1008.0
    assert two.since == 1008.0, "whole seconds, and proofs may be dated ahead"
    assert two.spend(b"c", 1070)
    assert not one.spend(b"c", 1070)
    assert one.since == 1008.0


@LOSSES
async def test_placeholders_from_before_a_loss_bring_back_nothing(node, server, lose):
    clock = Turned()
    one, two = (RedisVaults(server, KEY, clock) for _ in range(2))
    assert await hidden(one, "s1", "ada@shop.test", 1000.5) == "<A_1>"
    await two.refresh("s1", 1000.5)
    assert two.vault("s1").reveal("<A_1>") == "ada@shop.test"
    lose(node)
    clock.time = 1003.5
    await asyncio.to_thread(_answers, server, clock)
    for vaults in (one, two):
        await vaults.refresh("s1", 1000.5)
        assert vaults.vault("s1").reveal("<A_1>") is None
    given = await hidden(two, "s1", "bob@shop.test", 1000.5)
    assert given == "<A_3000001>", "no number of before"
    await one.refresh("s1", 1000.5)
    assert one.vault("s1").reveal(given) == "bob@shop.test"


@LOSSES
async def test_what_a_session_may_have_called_before_a_loss_is_anything(node, server, lose):
    clock = Turned()
    one, two = (RedisCalled(server, clock) for _ in range(2))
    await one.note("s1", "crm", "get_secret", 1000.5)
    lose(node)
    clock.time = 1003.5
    await asyncio.to_thread(_answers, server, clock)
    assert await two.names("s1", "crm") == frozenset(), "which stands for anything"
    await two.note("s1", "crm", "get_hours", 1000.5)
    assert await one.names("s1", "crm") == {"", "get_hours"}
    await two.note("s2", "crm", "get_hours", 1004.5)
    assert await one.names("s2", "crm") == {"get_hours"}, "this one began after it"


def _answers(server, clock):
    """Until the server answers: a connection that was lost is found so by the first who asks."""
    deadline = time.monotonic() + 60
    called = RedisCalled(server, clock)
    while time.monotonic() < deadline:
        try:
            asyncio.run(called.names("nobody", "here"))
        except Problem:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the server did not come back")


# A server that is away


async def test_while_the_server_is_away_nobody_gets_in_and_nothing_waits_for_it(node, tmp_path):
    with open_server(f"redis://{node.address}", seconds=0.2) as server:
        once, vaults = RedisOnce(server, Clock()), RedisVaults(server, KEY, Clock())
        claims, called = RedisClaims(server, "one"), RedisCalled(server, Clock())
        recent = RedisRecent(server, KEY)
        assert await hidden(vaults, "s1", "x") == "<A_1>"
        node.process.send_signal(signal.SIGSTOP)
        try:
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0)

            ticking = asyncio.create_task(tick())
            with pytest.raises(Problem, match="PC7050"):
                await vaults.refresh("s1")
            ticking.cancel()
            assert ticks > 10, "the loop goes on meanwhile"
            assert not server.up
            assert not once.spend(b"a", time.time() + 60)
            assert not await once.spent(b"a", time.time() + 60)
            for fails in (
                lambda: claims.claim("k", "one"),
                lambda: claims.take("k", "one", "two"),
                lambda: called.note("s1", "crm", "x"),
                lambda: called.names("s1", "crm"),
                lambda: vaults.forget(["s1"]),
            ):
                with pytest.raises(Problem, match="PC7050"):
                    await fails()
            with pytest.raises(Problem, match="PC7050"):
                vaults.vault("s1").hide("A", "y")
            recent.add("s1", Step(at=1.0, what="x", risk="", verdict="allow"), acts=True)
            assert await recent.of("s1") == (), "what cannot be read is left out"
        finally:
            node.process.send_signal(signal.SIGCONT)
        await back(server)
        assert once.spend(b"a", time.time() + 60)
        assert await hidden(vaults, "s1", "y") == "<A_2>"
        assert await claims.claim("k", "one") == "one"


async def test_a_gateway_whose_clock_is_wrong_forgets_nothing_for_the_others(node):
    wrong = Turned(time.time())
    with (
        open_server(f"redis://{node.address}", clock=Clock()) as server,
        open_server(f"redis://{node.address}", clock=wrong) as off,
    ):
        here, there = RedisOnce(server, Clock()), RedisOnce(off, wrong)
        called = RedisCalled(off, wrong)
        used = time.time() + 60
        assert here.spend(b"a", used)
        for hours in (1, -1):
            wrong.time = time.time() + hours * 3600
            assert not there.spend(b"b", wrong.time + 60), "nobody gets in there"
            assert not await there.spent(b"c", wrong.time + 60)
            with pytest.raises(Problem, match="PC7050"):
                await called.names("s1", "crm")
            assert not off.up, "and nothing else of it is believed"
            assert not here.spend(b"a", used), "what was used up is so"
            wrong.time = time.time()
            await back(off)
            assert there.spend(f"{hours}".encode(), used)


async def test_a_gateway_that_starts_before_the_server_serves_once_that_is_there(tmp_path):
    node = Node(tmp_path / "redis")
    with nodes(node):
        node.end()
        with open_server(f"redis://{node.address}") as server:
            once = RedisOnce(server, Clock())
            with pytest.raises(Away):
                await server.ask(None, [])
            assert not once.spend(b"a", time.time() + 60)
            node.start()
            await back(server)
            assert not once.spend(b"a", time.time() + 60), "it does not know since when"
            assert once.spend(b"a", time.time() + 60)


# What lies there


async def test_no_value_lies_there_in_clear_and_all_of_it_expires(node, server):
    vaults = RedisVaults(server, KEY, Clock())
    RedisOnce(server, Clock()).spend(b"proof", time.time() + 60, "agent:shop-1")
    await RedisClaims(server, "one").claim("k", "one")
    await RedisCalled(server, Clock()).note("s1", "crm", "get")
    await hidden(vaults, "s1", "ada@customer.example")
    keys = told(node, "KEYS", "*").splitlines()
    assert len(keys) == 42
    assert all(key.startswith("portcullis:{shop.test/") for key in keys)
    assert all(int(told(node, "TTL", key)) > 0 for key in keys)
    [rows] = [key for key in keys if "}:r:s1" in key]
    assert "ada@" not in told(node, "LRANGE", rows, "0", "-1")
    moved = RedisVaults(server, bytes(32), Clock())
    with pytest.raises(Problem, match="PC7050"):
        await moved.refresh("s1")
    vaults.end(lambda key: False)
    async with asyncio.timeout(60):
        while rows in told(node, "KEYS", "*").splitlines():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)
    assert await vaults.keys() == ()


async def test_what_a_row_says_is_believed_in_its_own_place_alone(node, server):
    vaults = RedisVaults(server, KEY, Clock())
    for value in ("x", "y"):
        await hidden(vaults, "s1", value)
    [rows] = [key for key in told(node, "KEYS", "*").splitlines() if "}:r:s1" in key]
    told(node, "LMOVE", rows, rows, "LEFT", "RIGHT")
    with pytest.raises(Problem, match="PC7050"):
        await RedisVaults(server, KEY, Clock()).refresh("s1")


def test_programs_that_are_too_far_apart_do_not_share(node, server):
    del server
    told(node, "SET", "portcullis:{shop.test/here}:#format", str(FORMAT + 2))
    with pytest.raises(Problem, match="PC7087"):
        Server(f"redis://{node.address}", "shop.test", seconds=5.0)


def test_nothing_is_shared_at_a_server_that_drops_what_it_has(node):
    told(node, "CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "volatile-ttl")
    with pytest.raises(Problem, match="PC7086"):
        Server(f"redis://{node.address}", "shop.test", seconds=5.0)
    told(node, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    with open_server(f"redis://{node.address}") as server:
        assert server.up


async def test_a_server_that_begins_to_drop_is_used_no_more_until_it_is_put_right(
    node, monkeypatch
):
    monkeypatch.setattr(shared_server, "LOOK_SECONDS", 0.05)
    with open_server(f"redis://{node.address}") as server:
        told(node, "CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru")
        async with asyncio.timeout(60):
            while server.up:  # noqa: ASYNC110 - a thread says so
                await asyncio.sleep(0.02)
        with pytest.raises(Away):
            await server.ask(shared_server._HERE, [server.part("here")], 1)
        told(node, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        await back(server)

"""If these fail, an agent that one gateway stopped goes on at another, or never comes back."""

import asyncio
import contextlib

import msgspec
import pytest
from sqlalchemy import text

from portcullis.core.breaker import Breaker, Key, State
from portcullis.core.errors import Problem
from portcullis.store.breakers import SqlBreakers

pytestmark = pytest.mark.anyio
AGENT = Key(scope="agent", subject="shop-1")
HERE = Key(scope="upstream", subject="orders", gateway="t/one")
THERE = Key(scope="upstream", subject="orders", gateway="t/two")


def opened(key=AGENT, until=2000.0, times=1):
    return Breaker(
        key=key, state=State.OPEN, reason="4 denied", since=1000.0, until=until, times=times
    )


@pytest.fixture
def one(engine):
    return SqlBreakers(engine, "t/one")


@pytest.fixture
def two(engine):
    return SqlBreakers(engine, "t/two")


@contextlib.asynccontextmanager
async def watching(*books):
    tasks = [asyncio.ensure_future(book.watch(0.01)) for book in books]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def comes(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - no event comes from a database
            await asyncio.sleep(0.005)


async def test_what_opens_at_one_gateway_is_open_at_all_and_opened_once(one, two):
    async with watching(two):
        assert one.get(AGENT) is None
        assert await one.open(opened())
        await comes(lambda: two.get(AGENT) == opened())
        assert not await two.open(opened(until=3000.0)), "it is open already"
        assert two.get(AGENT).until == 2000.0, "and its time is not moved on"
        assert two.count("agent", State.OPEN) == 1


async def test_there_is_one_probe_for_all_gateways(one, two):
    await one.open(opened())
    assert not await two.probe(AGENT, 1999.0, 2030.0), "its time is not over"
    taken = [await book.probe(AGENT, 2000.0, 2030.0) for book in (one, two, one)]
    assert taken == [True, False, False]
    assert one.get(AGENT).state is State.HALF_OPEN
    assert await two.probe(AGENT, 2030.0, 2060.0), "the first takes too long"
    await two.release(AGENT, 2031.0)
    assert await one.probe(AGENT, 2031.0, 2061.0), "the second told nothing"


async def test_a_probe_that_failed_opens_for_longer_and_only_it_does(one):
    await one.open(opened())
    again = opened(until=4000.0, times=2)
    assert not await one.failed(again), "nobody tried"
    await one.probe(AGENT, 2000.0, 2030.0)
    assert await one.failed(again)
    assert one.get(AGENT) == again


async def test_somebody_who_counts_something_else_trips_it_while_it_is_tried(one):
    await one.open(opened())
    await one.probe(AGENT, 2000.0, 2030.0)
    assert await one.open(opened(until=5000.0))
    assert one.get(AGENT).state is State.OPEN
    assert one.get(AGENT).until == 5000.0


async def test_what_is_closed_anywhere_is_closed_everywhere_and_everybody_hears_of_it(one, two):
    heard = []
    two.subscribe(heard.append)
    async with watching(two):
        await one.open(opened())
        await comes(lambda: two.get(AGENT))
        assert await one.close(AGENT)
        assert one.get(AGENT) is None
        await comes(lambda: two.get(AGENT) is None)
        assert heard[-1] == AGENT
        assert not await one.close(AGENT)


async def test_each_gateway_has_upstreams_of_its_own_and_begins_anew(one, two, engine):
    await one.open(opened(HERE))
    await two.open(opened(THERE))
    await one.open(opened(msgspec.structs.replace(HERE, agent="shop-1")))
    assert [each.key for each in await one.all()][:2] == [
        HERE,
        msgspec.structs.replace(HERE, agent="shop-1"),
    ]
    again = SqlBreakers(engine, "t/one")
    await again.begin()
    assert [each.key for each in await again.all()] == [THERE]
    assert again.get(HERE) is None


async def test_an_agents_breaker_survives_a_restart(one, engine):
    await one.open(opened())
    again = SqlBreakers(engine, "t/one")
    await again.begin()
    assert again.get(AGENT) == opened()


async def test_a_database_that_fails_opens_here_and_keeps_what_closes_open(one, engine):
    await one.open(opened(HERE))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE breakers RENAME TO elsewhere"))
    for work in (one.open(opened()), one.close(HERE), one.probe(HERE, 3000.0, 3030.0), one.all()):
        with pytest.raises(Problem) as raised:
            await work
        assert raised.value.code == "PC9002"
    assert one.get(AGENT) == opened()
    assert one.get(HERE) == opened(HERE)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO breakers"))
    assert await one.probe(AGENT, 2000.0, 2030.0), "it is durable then, and may be tried"
    assert AGENT in [each.key for each in await one.all()]

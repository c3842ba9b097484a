"""What a session has used: never more than its budget, whoever takes it, and gone with it."""

import asyncio

import msgspec
import pytest
from sqlalchemy import Engine, create_engine, insert, select

from portcullis.core.errors import Problem
from portcullis.core.principal import Session
from portcullis.store.sealed import session_purpose
from portcullis.store.sessions import LocalSessionState, SharedSessionState, forget_ended
from portcullis.store.spent import SqlSpent
from portcullis.store.tables import SESSION_SPENT, SESSIONS
from shared_processes import in_processes, take_all

pytestmark = pytest.mark.anyio

READ, EFFECT = ("calls",), ("calls", "effects")


def session(name="s1", expires_at=2e9, **budget):
    return Session(
        id=name, agent="a", application="web", user="u", prompt="", subject={}, grant=None,
        opened_at=0.0, expires_at=expires_at, budget=budget,
    )  # fmt: skip


def rows(engine: Engine):
    with engine.connect() as connection:
        return {
            (row.session, row.measure): row.amount
            for row in connection.execute(select(SESSION_SPENT))
        }


@pytest.fixture
async def state(reopen, clock, sealer):
    """Sessions s1 and s2 are open."""
    found = LocalSessionState(reopen(), clock, sealer)
    for name in ("s1", "s2"):
        await found.open(session(name))
    return found


async def test_a_budget_is_used_up_and_stays_so_after_a_restart(state, reopen):
    spending, one = SqlSpent(reopen()), session(calls=3, effects=1)
    assert await spending.left(one) == {"calls": 3, "effects": 1}
    assert await spending.take(one, EFFECT) is None
    assert await spending.take(one, EFFECT) == "effects"
    again = SqlSpent(reopen())
    assert await again.left(one) == {"calls": 2, "effects": 0}, "what was refused took nothing"
    assert [await again.take(one, READ) for _ in range(3)] == [None, None, "calls"]
    assert await again.take(one, EFFECT) == "calls"
    assert await again.left(session("s2", calls=3)) == {"calls": 3}


async def test_what_has_no_limit_is_not_counted(state, reopen):
    engine = reopen()
    spending = SqlSpent(engine)
    assert [await spending.take(session(effects=1), READ) for _ in range(3)] == [None] * 3
    assert [await spending.take(session(calls=1), EFFECT) for _ in range(2)] == [None, "calls"]
    assert await spending.left(session()) == {}
    assert rows(engine) == {("s1", "calls"): 1}


async def test_a_hundred_that_take_at_once_get_ten_of_ten(state, reopen):
    each = [SqlSpent(reopen()) for _ in range(4)]
    one = session(calls=50, effects=10)
    took = await asyncio.gather(*(each[n % 4].take(one, EFFECT) for n in range(100)))
    assert (took.count(None), took.count("effects")) == (10, 90)
    assert await each[0].left(one) == {"calls": 40, "effects": 0}


def test_processes_that_take_at_once_get_no_more_than_there_is(reopen, clock, sealer, database):
    asyncio.run(LocalSessionState(reopen(), clock, sealer).open(session()))
    assert sum(in_processes(take_all, *[(database.place, 25)] * 4)) == 10


@pytest.mark.parametrize("kind", [LocalSessionState, SharedSessionState])
async def test_what_was_used_goes_with_its_session(reopen, clock, sealer, kind):
    engine = reopen()
    spending, state = SqlSpent(engine), kind(engine, clock, sealer)
    for name, ends in (("closed", 60), ("expired", 60), ("open", 600)):
        one = session(name, clock.now() + ends, calls=2, effects=2)
        await state.open(one)
        await spending.take(one, EFFECT)
    await state.close("closed")
    assert {name for name, _ in rows(engine)} == {"expired", "open"}
    clock.time += 61
    forget_ended(engine, clock.now())
    assert {name for name, _ in rows(engine)} == {"open"}
    for gone in ("closed", "expired"):
        for ask in (
            spending.take(session(gone, calls=2), READ),
            spending.left(session(gone, calls=2)),
        ):
            with pytest.raises(Problem, match="PC2006"):
                await ask
    assert {name for name, _ in rows(engine)} == {"open"}


async def test_a_budget_stays_what_it_was_when_the_user_says_more(reopen, clock, sealer):
    state = LocalSessionState(reopen(), clock, sealer)
    await state.open(session(calls=2))
    assert (await state.say("s1", "and another")).budget == {"calls": 2}
    assert (await LocalSessionState(reopen(), clock, sealer).get("s1")).budget == {"calls": 2}


async def test_a_session_from_before_there_were_budgets_has_none(reopen, clock, sealer):
    engine = reopen()
    old = msgspec.to_builtins(session())
    del old["budget"]
    document = sealer.seal(msgspec.msgpack.encode(old), session_purpose("s1"))
    with engine.begin() as connection:
        row = {"id": "s1", "expires_at": 2e9, "document": document}
        connection.execute(insert(SESSIONS).values(row))
    assert await LocalSessionState(engine, clock, sealer).get("s1") == session()
    assert await SqlSpent(engine).take(session(), EFFECT) is None


async def test_what_cannot_be_counted_is_a_problem(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    spending = SqlSpent(engine)
    for ask in (spending.take(session(calls=1), READ), spending.left(session(calls=1))):
        with pytest.raises(Problem, match="PC9002"):
            await ask
    engine.dispose()

import pytest

from portcullis.core.errors import Problem
from portcullis.core.principal import Proposal, Session
from portcullis.store import sessions as module
from portcullis.store.sessions import LocalSessionState, SharedSessionState

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[LocalSessionState, SharedSessionState])
def adapter(request):
    return request.param


def session(clock, name="s1", ttl=60.0):
    return Session(
        id=name,
        agent="shop-1",
        application="web",
        user="u-7",
        prompt="where is my order?",
        subject={"customer_id": "C-1", "level": 3, "vip": True, "ratio": 0.5, "note": None},
        grant=("orders.search",),
        opened_at=clock.now(),
        expires_at=clock.now() + ttl,
    )


def proposal(digest="d", name="orders__search", event="e"):
    return Proposal(name=name, digest=digest, event=event)


async def test_an_open_session_is_found_until_it_is_closed(adapter, engine, clock):
    state = adapter(engine, clock)
    await state.open(session(clock))
    assert await state.get("s1") == session(clock)
    assert await state.close("s1") is True
    assert await state.get("s1") is None
    assert await state.close("s1") is False


async def test_a_session_is_gone_at_its_expiry(adapter, engine, clock):
    state = adapter(engine, clock)
    await state.open(session(clock, ttl=60))
    clock.time += 59.9
    assert await state.get("s1") is not None
    clock.time += 0.1
    assert await state.get("s1") is None
    assert await state.close("s1") is False


async def test_an_open_session_survives_a_restart_and_a_closed_or_expired_one_does_not(
    adapter, reopen, clock
):
    state = adapter(reopen(), clock)
    open_one = session(clock, "open")
    await state.open(open_one)
    await state.open(session(clock, "closed"))
    await state.open(session(clock, "brief", ttl=1))
    await state.close("closed")
    clock.time += 1
    again = adapter(reopen(), clock)
    assert await again.get("open") == open_one
    assert await again.get("closed") is None
    assert await again.get("brief") is None


async def test_a_prompt_does_not_outlive_its_session_in_the_database(adapter, reopen, clock):
    engine = reopen()
    state = adapter(engine, clock)
    await state.open(session(clock, "brief", ttl=1))
    clock.time += 2
    await state.open(session(clock, "next"))
    with engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT id FROM sessions").scalars().all()
    assert kept == ["next"]


async def test_a_session_id_is_given_once(adapter, engine, clock):
    state = adapter(engine, clock)
    await state.open(session(clock))
    with pytest.raises(Problem, match="PC2009"):
        await state.open(session(clock))


async def test_a_session_that_could_not_be_written_is_not_open(engine, clock):
    state = LocalSessionState(engine, clock)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE sessions")
    with pytest.raises(Exception, match="sessions"):
        await state.open(session(clock))
    assert await state.get("s1") is None


async def test_a_proposal_is_found_by_name_and_arguments_and_consumed(adapter, engine, clock):
    state = adapter(engine, clock)
    names = frozenset({"orders__search", "search"})
    await state.propose("s1", [proposal(event="first"), proposal(event="second")])
    assert await state.proposed("s2", names, "d") is None
    assert await state.proposed("s1", names, "other") is None
    assert await state.proposed("s1", frozenset({"refund"}), "d") is None
    assert await state.proposed("s1", names, "d") == proposal(event="first")
    assert await state.proposed("s1", names, "d") == proposal(event="second")
    assert await state.proposed("s1", names, "d") is None


async def test_the_last_64_proposals_of_each_key_are_kept(adapter, engine, clock):
    state = adapter(engine, clock)
    names = frozenset({"orders__search"})
    for key in ("s1", "agent:shop-1"):
        await state.propose(key, [proposal(digest=str(n)) for n in range(65)])
    for key in ("s1", "agent:shop-1"):
        for number in range(1, 65):
            assert await state.proposed(key, names, str(number)) is not None


async def test_memory_of_proposals_is_bounded_and_ends_with_the_session(
    adapter, engine, clock, monkeypatch
):
    monkeypatch.setattr(module, "KEYS", 2)
    state = adapter(engine, clock)
    await state.open(session(clock))
    await state.propose("s1", [proposal()])
    await state.close("s1")
    assert await state.proposed("s1", frozenset({"orders__search"}), "d") is None
    for key in ("a", "b", "c"):
        await state.propose(key, [proposal()])
    assert await state.proposed("a", frozenset({"orders__search"}), "d") is None
    assert await state.proposed("c", frozenset({"orders__search"}), "d") is not None


async def test_a_process_beside_the_gate_sees_at_once_what_is_open(reopen, clock):
    gate, beside = LocalSessionState(reopen(), clock), SharedSessionState(reopen(), clock)
    await gate.open(session(clock))
    assert await beside.get("s1") == session(clock)
    await gate.close("s1")
    assert await beside.get("s1") is None


async def test_sessions_that_cannot_be_looked_up_admit_nobody(engine, clock):
    state = SharedSessionState(engine, clock)
    await state.open(session(clock))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE sessions")
    with pytest.raises(Problem, match="PC9002"):
        await state.get("s1")

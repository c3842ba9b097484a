import asyncio
import secrets

import msgspec
import pytest
from sqlalchemy import update

from databases import locked, stored
from portcullis.core.errors import Problem
from portcullis.core.ports import OperatorCredential
from portcullis.core.principal import Proposal, Session
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope
from portcullis.store import sealed
from portcullis.store import sessions as module
from portcullis.store.operators import SqlOperators
from portcullis.store.sessions import LocalSessionState, SharedSessionState, forget_ended
from portcullis.store.tables import SESSIONS
from sealers import sealer_at

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


async def test_an_open_session_is_found_until_it_is_closed(adapter, engine, clock, sealer):
    state = adapter(engine, clock, sealer)
    await state.open(session(clock))
    assert await state.get("s1") == session(clock)
    assert await state.close("s1") is True
    assert await state.get("s1") is None
    assert await state.close("s1") is False


async def test_a_session_from_before_there_were_output_schemas_is_still_open(
    adapter, reopen, clock, sealer
):
    state = adapter(reopen(), clock, sealer)
    await state.open(session(clock))
    engine = reopen()
    before = msgspec.to_builtins(session(clock))
    assert before.pop("output_schema") is None
    document = sealer.seal(msgspec.msgpack.encode(before), sealed.session_purpose("s1"))
    with engine.begin() as connection:
        connection.execute(update(SESSIONS).values(document=document))
    assert await adapter(reopen(), clock, sealer).get("s1") == session(clock)


async def test_what_the_user_says_next_is_kept_in_order_and_over_a_restart(
    adapter, reopen, clock, sealer
):
    state = adapter(reopen(), clock, sealer)
    await state.open(session(clock))
    said = await asyncio.gather(*(state.say("s1", f"turn {number}") for number in range(8)))
    assert sorted(len(one.turns) for one in said) == list(range(1, 9))
    found = await state.get("s1")
    assert sorted(found.turns) == [f"turn {number}" for number in range(8)]
    assert found.prompts[0] == "where is my order?"
    assert await adapter(reopen(), clock, sealer).get("s1") == found
    await state.close("s1")
    assert await state.say("s1", "too late") is None
    assert await state.say("unknown", "x") is None


async def test_a_session_is_gone_at_its_expiry(adapter, engine, clock, sealer):
    state = adapter(engine, clock, sealer)
    await state.open(session(clock, ttl=60))
    clock.time += 59.9
    assert await state.get("s1") is not None
    clock.time += 0.1
    assert await state.get("s1") is None
    assert await state.close("s1") is False


async def test_an_open_session_survives_a_restart_and_a_closed_or_expired_one_does_not(
    adapter, reopen, clock, sealer
):
    state = adapter(reopen(), clock, sealer)
    open_one = session(clock, "open")
    await state.open(open_one)
    await state.open(session(clock, "closed"))
    await state.open(session(clock, "brief", ttl=1))
    await state.close("closed")
    clock.time += 1
    again = adapter(reopen(), clock, sealer)
    assert await again.get("open") == open_one
    assert await again.get("closed") is None
    assert await again.get("brief") is None


async def test_a_prompt_does_not_outlive_its_session_in_the_database(
    adapter, reopen, clock, sealer
):
    engine = reopen()
    state = adapter(engine, clock, sealer)
    await state.open(session(clock, "brief", ttl=1))
    clock.time += 2
    await state.open(session(clock, "next"))
    with engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT id FROM sessions").scalars().all()
    assert kept == ["next"]


async def test_a_session_id_is_given_once(adapter, engine, clock, sealer):
    state = adapter(engine, clock, sealer)
    await state.open(session(clock))
    with pytest.raises(Problem, match="PC2009"):
        await state.open(session(clock))


async def test_a_session_that_could_not_be_written_is_not_open(engine, clock, sealer):
    state = LocalSessionState(engine, clock, sealer)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE sessions")
    with pytest.raises(Exception, match="sessions"):
        await state.open(session(clock))
    assert await state.get("s1") is None


async def test_a_proposal_is_found_by_name_and_arguments_and_consumed(
    adapter, engine, clock, sealer
):
    state = adapter(engine, clock, sealer)
    names = frozenset({"orders__search", "search"})
    await state.propose("s1", [proposal(event="first"), proposal(event="second")])
    assert await state.proposed("s2", names, "d") is None
    assert await state.proposed("s1", names, "other") is None
    assert await state.proposed("s1", frozenset({"refund"}), "d") is None
    assert await state.proposed("s1", names, "d") == proposal(event="first")
    assert await state.proposed("s1", names, "d") == proposal(event="second")
    assert await state.proposed("s1", names, "d") is None


async def test_the_last_64_proposals_of_each_key_are_kept(adapter, engine, clock, sealer):
    state = adapter(engine, clock, sealer)
    names = frozenset({"orders__search"})
    for key in ("s1", "agent:shop-1"):
        await state.propose(key, [proposal(digest=str(n)) for n in range(65)])
    for key in ("s1", "agent:shop-1"):
        for number in range(1, 65):
            assert await state.proposed(key, names, str(number)) is not None


async def test_memory_of_proposals_is_bounded_and_ends_with_the_session(
    adapter, engine, clock, monkeypatch, sealer
):
    monkeypatch.setattr(module, "KEYS", 2)
    state = adapter(engine, clock, sealer)
    await state.open(session(clock))
    await state.propose("s1", [proposal()])
    await state.close("s1")
    assert await state.proposed("s1", frozenset({"orders__search"}), "d") is None
    for key in ("a", "b", "c"):
        await state.propose(key, [proposal()])
    assert await state.proposed("a", frozenset({"orders__search"}), "d") is None
    assert await state.proposed("c", frozenset({"orders__search"}), "d") is not None


async def test_a_process_beside_the_gate_sees_at_once_what_is_open(reopen, clock, sealer):
    gate, beside = (
        LocalSessionState(reopen(), clock, sealer),
        SharedSessionState(reopen(), clock, sealer),
    )
    await gate.open(session(clock))
    assert await beside.get("s1") == session(clock)
    await gate.close("s1")
    assert await beside.get("s1") is None


async def test_what_the_gate_closed_is_not_open_to_what_still_runs_beside_it(reopen, clock, sealer):
    gate, beside = (
        LocalSessionState(reopen(), clock, sealer),
        SharedSessionState(reopen(), clock, sealer),
    )
    for name in ("s1", "s2"):
        await gate.open(session(clock, name))
        await beside.get(name)
    await gate.close("s1")
    await beside.settle()
    assert (beside.is_open("s1"), beside.is_open("s2")) == (False, True)


async def test_the_end_of_a_session_that_is_not_durable_is_told_and_tried_again(
    adapter, engine, reopen, clock, sealer
):
    state = adapter(engine, clock, sealer)
    for name in ("s1", "s2"):
        await state.open(session(clock, name))
        await state.propose(name, [proposal()])
    with locked(engine, reopen(), "sessions"):
        for name in ("s1", "s2"):
            with pytest.raises(Problem, match=r"PC9002.*not durable"):
                await state.close(name)
            assert await state.get(name) is None
            assert state.is_open(name) is False
            assert await state.say(name, "too late") is None
            assert state.closing(name).id == name
        with pytest.raises(Problem, match="PC9002"):
            await state.settle()
    assert await state.close("s1") is True
    await state.settle()
    assert (state.closing("s1"), state.closing("s2"), await state.close("s1")) == (
        None,
        None,
        False,
    )
    again = adapter(reopen(), clock, sealer)
    assert [await again.get(name) for name in ("s1", "s2")] == [None, None]


async def test_sessions_that_cannot_be_looked_up_admit_nobody(engine, clock, sealer):
    state = SharedSessionState(engine, clock, sealer)
    await state.open(session(clock))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE sessions")
    with pytest.raises(Problem, match="PC9002"):
        await state.get("s1")


def documents(engine):
    with engine.connect() as connection:
        return {row.id: row.document for row in connection.execute(SESSIONS.select())}


def put(engine, clock, name, document):
    row = {"id": name, "expires_at": clock.now() + 60, "document": document}
    with engine.begin() as connection:
        connection.execute(SESSIONS.delete().where(SESSIONS.c.id == name))
        connection.execute(SESSIONS.insert().values(row))


def nowhere(engine, text: bytes) -> bool:
    return text not in stored(engine)


async def test_a_prompt_is_nowhere_in_the_clear(adapter, engine, clock, sealer):
    state = adapter(engine, clock, sealer)
    await state.open(session(clock))
    assert (await state.get("s1")).prompt == "where is my order?"
    assert nowhere(engine, b"where is my order")
    assert nowhere(engine, b"C-1")


async def test_what_ended_sessions_said_is_nowhere_once_it_is_to_be_forgotten(
    adapter, reopen, clock, sealer, tmp_path
):
    engine, _beside = reopen(), SharedSessionState(reopen(), clock, sealer)
    state = adapter(engine, clock, sealer)
    for name, ttl in (("closed", 60), ("expired", 1), ("open", 60)):
        await state.open(session(clock, name, ttl))
    before = {name: document[-60:] for name, document in documents(engine).items()}
    await state.close("closed")
    clock.time += 2
    forget_ended(engine, clock.now())
    assert nowhere(engine, before["closed"])
    assert nowhere(engine, before["expired"])
    assert await state.get("open") is not None
    assert documents(engine).keys() == {"open"}


async def test_sessions_from_before_they_were_sealed_go_on_and_are_sealed(
    adapter, reopen, clock, sealer, tmp_path
):
    engine = reopen()
    for number in range(30):
        each = session(clock, f"old-{number}")
        put(engine, clock, each.id, msgspec.msgpack.encode(each))
    assert not nowhere(engine, b"where is my order")
    state = adapter(reopen(), clock, sealer)
    assert await state.get("old-7") == session(clock, "old-7")
    assert nowhere(engine, b"where is my order")
    again = adapter(reopen(), clock, sealer)
    assert await again.get("old-7") == session(clock, "old-7")


async def test_a_document_moved_to_another_row_opens_no_session(reopen, clock, sealer):
    engine = reopen()
    state, beside = (
        LocalSessionState(engine, clock, sealer),
        SharedSessionState(reopen(), clock, sealer),
    )
    for name in ("rich", "poor"):
        await state.open(session(clock, name))
    put(engine, clock, "poor", documents(engine)["rich"])
    with pytest.raises(Problem, match=r"PC7010.*moved"):
        await beside.get("poor")
    with pytest.raises(Problem, match=r"PC7010.*moved"):
        LocalSessionState(reopen(), clock, sealer)


async def test_a_row_put_in_the_clear_beside_a_running_gate_opens_no_session(reopen, clock, sealer):
    engine = reopen()
    state = SharedSessionState(engine, clock, sealer)
    put(engine, clock, "forged", msgspec.msgpack.encode(session(clock, "forged")))
    with pytest.raises(Problem, match="PC7010"):
        await state.get("forged")


async def test_under_a_wrong_key_no_session_opens_and_nothing_is_overwritten(
    adapter, engine, clock, sealer, tmp_path
):
    await adapter(engine, clock, sealer).open(session(clock))
    before = documents(engine)
    with pytest.raises(Problem, match="PC7010"):
        adapter(engine, clock, sealer_at(tmp_path / "other"))
    assert documents(engine) == before


async def test_after_a_rotation_every_value_comes_under_the_new_version(reopen, clock, tmp_path):
    manager = FileKeyManager(tmp_path / "master.key", create=True)
    sealer, engine = Envelope(manager), reopen()
    state = LocalSessionState(engine, clock, sealer)
    for name in ("a", "b"):
        await state.open(session(clock, name))
    credential = OperatorCredential(
        name="eve",
        password=secrets.token_hex(),
        totp=sealer.seal(b"totp secret", "operators:eve"),
    )
    SqlOperators(engine).put(credential)
    assert sealed.count(engine, sealer) == (3, 0)
    manager.rotate()
    assert sealed.count(engine, sealer) == (3, 3)
    sealed.reseal(engine, sealer)
    assert sealed.count(engine, sealer) == (3, 0)
    totp = SqlOperators(engine).get("eve").totp
    assert sealer.open(totp, "operators:eve") == b"totp secret"
    again = LocalSessionState(reopen(), clock, Envelope(manager))
    assert await again.get("a") == session(clock, "a")

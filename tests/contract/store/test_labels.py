"""The labels of a session: durable before anybody acts on them, and never less than they were."""

import asyncio

import pytest
from sqlalchemy import select, update

from portcullis.core.containment import ArgumentRole, Confidentiality
from portcullis.core.errors import Problem
from portcullis.core.principal import Session
from portcullis.provenance.labels import Labels, reading, trusting
from portcullis.store.labels import KEPT, SqlLabels
from portcullis.store.sessions import LocalSessionState, forget_ended
from portcullis.store.tables import SESSION_LABELS

pytestmark = pytest.mark.anyio

SECRET = reading(Confidentiality.SECRET)


def session(name="s1", expires_at=2e9):
    return Session(
        id=name, agent="a", application="web", user="u", prompt="", subject={}, grant=None,
        opened_at=0.0, expires_at=expires_at,
    )  # fmt: skip


def trusts(word):
    return trusting(ArgumentRole.DESTINATION, [word], Confidentiality.INTERNAL)


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
def shared(request):
    return request.param


async def test_what_was_learned_is_there_after_a_restart(reopen, sealer, shared):
    labels = SqlLabels(reopen(), sealer, shared=shared)
    assert await labels.read(session()) == Labels()
    await labels.merge(session(), trusts("ada@example.org"))
    whole = await labels.merge(session(), SECRET)
    assert whole.confidentiality is Confidentiality.SECRET
    again = SqlLabels(reopen(), sealer, shared=shared)
    assert await again.read(session()) == whole == trusts("ada@example.org").merge(SECRET)
    assert await again.read(session("s2")) == Labels()


async def test_what_many_calls_learn_at_once_is_all_there(reopen, sealer, shared):
    labels = SqlLabels(reopen(), sealer, shared=shared)
    words = [f"user{number}@example.org" for number in range(40)]
    await asyncio.gather(
        *(labels.merge(session(f"s{n % 3}"), trusts(word)) for n, word in enumerate(words))
    )
    again = SqlLabels(reopen(), sealer)
    for number, word in enumerate(words):
        found = await again.read(session(f"s{number % 3}"))
        assert found.trusts(ArgumentRole.DESTINATION, [word])


async def test_processes_beside_each_other_take_nothing_from_one_another(reopen, sealer):
    one, other = (SqlLabels(reopen(), sealer, shared=True) for _ in range(2))
    await one.merge(session(), trusts("ada@example.org"))
    await other.merge(session(), SECRET)
    assert await one.read(session()) == await other.read(session())
    assert (await one.read(session())).confidentiality is Confidentiality.SECRET


async def test_labels_lie_sealed_and_go_with_their_session(engine, clock, sealer):
    labels, state = SqlLabels(engine, sealer), LocalSessionState(engine, clock, sealer)
    for name, ends in (("closed", 60), ("expired", 60), ("open", 600)):
        one = session(name, clock.now() + ends)
        await state.open(one)
        await labels.merge(one, SECRET)
    with engine.connect() as connection:
        documents = connection.execute(select(SESSION_LABELS.c.document)).scalars().all()
    assert not any(b"secret" in document for document in documents)
    await state.close("closed")
    clock.time += 61
    forget_ended(engine, clock.now())
    with engine.connect() as connection:
        assert connection.execute(select(SESSION_LABELS.c.session)).scalars().all() == ["open"]


async def test_more_sessions_than_are_remembered_lose_nothing(reopen, sealer):
    labels = SqlLabels(reopen(), sealer)
    await labels.merge(session(), SECRET)
    for number in range(KEPT + 1):
        await labels.read(session(f"other{number}"))
    assert (await labels.read(session())).confidentiality is Confidentiality.SECRET


async def test_labels_that_cannot_be_read_or_written_are_a_problem(engine, sealer, monkeypatch):
    labels = SqlLabels(engine, sealer)
    await labels.merge(session(), SECRET)
    with engine.begin() as connection:
        connection.execute(update(SESSION_LABELS).values(document=b"damaged"))
    with pytest.raises(Problem, match="PC"):
        await SqlLabels(engine, sealer).read(session())
    with pytest.raises(Problem, match="PC9002"):
        await labels.merge(session(), trusts("x"))
    with engine.begin() as connection:
        connection.execute(SESSION_LABELS.delete())
    whole = await labels.merge(session(), trusts("y"))  # and what could not be written then is
    assert await SqlLabels(engine, sealer).read(session()) == whole


async def test_what_could_not_be_written_is_written_when_it_is_learned_again(
    reopen, sealer, monkeypatch
):
    engine = reopen()
    labels = SqlLabels(engine, sealer)

    def fails(*_):
        raise Problem("PC7010", "no key")

    with monkeypatch.context() as patch:
        patch.setattr(labels, "_store", fails)
        with pytest.raises(Problem, match="PC9002"):
            await labels.merge(session(), SECRET)
    await labels.merge(session(), SECRET)
    assert (await SqlLabels(reopen(), sealer).read(session())) == SECRET

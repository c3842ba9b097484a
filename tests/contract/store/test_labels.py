"""The labels of a session: durable before anybody acts on them, and gone with their session."""

import asyncio

import pytest
from sqlalchemy import select, update

from databases import stored
from portcullis.core.containment import ArgumentRole, Confidentiality
from portcullis.core.errors import Problem
from portcullis.core.principal import Session
from portcullis.provenance.labels import Labels, reading, trusting
from portcullis.store.labels import SqlLabels
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


@pytest.fixture
async def state(reopen, clock, sealer):
    """Sessions s0, s1 and s2 are open."""
    found = LocalSessionState(reopen(), clock, sealer)
    for number in range(3):
        await found.open(session(f"s{number}"))
    return found


async def test_what_was_learned_is_there_after_a_restart(state, reopen, sealer):
    labels = SqlLabels(reopen(), sealer)
    assert await labels.read(session()) == Labels()
    await labels.merge(session(), trusts("ada@example.org"))
    whole = await labels.merge(session(), SECRET)
    assert whole.confidentiality is Confidentiality.SECRET
    again = SqlLabels(reopen(), sealer)
    assert await again.read(session()) == whole == trusts("ada@example.org").merge(SECRET)
    assert await again.read(session("s2")) == Labels()


async def test_what_many_calls_learn_at_once_is_all_there(state, reopen, sealer):
    labels = SqlLabels(reopen(), sealer)
    words = [f"user{number}@example.org" for number in range(40)]
    await asyncio.gather(
        *(labels.merge(session(f"s{n % 3}"), trusts(word)) for n, word in enumerate(words))
    )
    again = SqlLabels(reopen(), sealer)
    for number, word in enumerate(words):
        found = await again.read(session(f"s{number % 3}"))
        assert found.trusts(ArgumentRole.DESTINATION, [word])


async def test_processes_beside_each_other_take_nothing_from_one_another(state, reopen, sealer):
    one, other = (SqlLabels(reopen(), sealer) for _ in range(2))
    await one.merge(session(), trusts("ada@example.org"))
    await other.merge(session(), SECRET)
    assert await one.read(session()) == await other.read(session())
    assert (await one.read(session())).confidentiality is Confidentiality.SECRET


async def test_a_call_that_was_cancelled_takes_nothing_from_the_others(state, reopen, sealer):
    labels = SqlLabels(reopen(), sealer)
    words = [f"user{number}@example.org" for number in range(20)]
    tasks = [asyncio.create_task(labels.merge(session(), trusts(word))) for word in words]
    await asyncio.sleep(0.002)
    for task in tasks[::3]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    await labels.merge(session(), SECRET)
    found = await labels.read(session())
    kept = [word for word, one in zip(words, done, strict=True) if isinstance(one, Labels)]
    assert len(kept) >= len(words) - len(tasks[::3])
    assert all(found.trusts(ArgumentRole.DESTINATION, [word]) for word in kept)


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


async def test_nothing_of_an_ended_session_is_left(engine, clock, sealer):
    labels, state = SqlLabels(engine, sealer), LocalSessionState(engine, clock, sealer)
    for name, ends in (("closed", 600), ("expired", 60)):
        await state.open(session(name, clock.now() + ends))
        await labels.merge(session(name, clock.now() + ends), SECRET)
    with engine.connect() as connection:
        documents = connection.execute(select(SESSION_LABELS.c.document)).scalars().all()
    assert len(documents) == 2

    def left():
        files = stored(engine)
        return [document in files for document in documents]

    assert left() == [True, True]
    await state.close("closed")
    clock.time += 61
    forget_ended(engine, clock.now())
    assert left() == [False, False]


@pytest.mark.parametrize("ended", ["closed", "expired"])
async def test_what_comes_after_the_end_of_a_session_makes_it_no_labels_again(
    engine, clock, sealer, ended
):
    labels, state = SqlLabels(engine, sealer), LocalSessionState(engine, clock, sealer)
    one = session("short", clock.now() + 60)
    await state.open(one)
    await labels.merge(one, trusts("ada@example.org"))
    if ended == "closed":
        await state.close("short")
    else:
        clock.time += 61
        forget_ended(engine, clock.now())
    with pytest.raises(Problem) as late:
        await labels.merge(one, SECRET)
    assert late.value.code == "PC2006"
    with pytest.raises(Problem) as gone:
        await labels.read(one)  # not as one that has learned nothing
    assert gone.value.code == "PC2006"
    with engine.connect() as connection:
        assert connection.execute(select(SESSION_LABELS.c.session)).scalars().all() == []


async def test_a_session_that_ends_while_something_is_learned_keeps_nothing(
    reopen, engine, clock, sealer, monkeypatch
):
    labels, state = SqlLabels(engine, sealer), LocalSessionState(engine, clock, sealer)
    other = SqlLabels(reopen(), sealer)
    for name in ("short", "long"):
        await state.open(session(name))
    reads, read = [], labels.read

    async def slow(one):
        found = await read(one)
        reads.append(one.id)
        if one.id == "short":
            await state.close("short")
        return found

    monkeypatch.setattr(labels, "read", slow)
    late, whole = await asyncio.gather(
        labels.merge(session("short"), SECRET),
        labels.merge(session("long"), SECRET),
        return_exceptions=True,
    )
    assert isinstance(late, Problem)
    assert late.code == "PC2006"
    assert whole == await other.read(session("long")) == SECRET


async def test_labels_that_cannot_be_read_are_a_problem_of_their_session_alone(
    state, engine, sealer
):
    labels = SqlLabels(engine, sealer)
    await labels.merge(session(), SECRET)
    with engine.begin() as connection:
        connection.execute(update(SESSION_LABELS).values(document=b"damaged"))
    for attempt in (labels.read(session()), labels.merge(session(), trusts("x"))):
        with pytest.raises(Problem, match="PC9002"):
            await attempt
    assert await labels.merge(session("s2"), SECRET) == SECRET


async def test_what_cannot_be_written_is_a_problem_and_keeps_nobody_else_from_writing(
    state, reopen, sealer, monkeypatch
):
    labels = SqlLabels(reopen(), sealer)
    seal = sealer.seal

    def fails(plain, purpose):
        if purpose == "session_labels:s1":
            raise Problem("PC7010", "no key")
        return seal(plain, purpose)

    with monkeypatch.context() as patch:
        patch.setattr(type(sealer), "seal", staticmethod(fails))
        bad, good = await asyncio.gather(
            labels.merge(session("s1"), SECRET),
            labels.merge(session("s2"), SECRET),
            return_exceptions=True,
        )
    assert isinstance(bad, Problem)
    assert bad.code == "PC9002"
    assert good == SECRET == await SqlLabels(reopen(), sealer).read(session("s2"))
    assert await labels.read(session("s1")) == Labels()
    await labels.merge(session("s1"), SECRET)
    assert await SqlLabels(reopen(), sealer).read(session("s1")) == SECRET

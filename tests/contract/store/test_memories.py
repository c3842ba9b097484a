"""The labels of memories: whoever reads a record is told of all who wrote it, and no less."""

import asyncio

import pytest
from sqlalchemy import func, select, update

from databases import stored
from portcullis.core.containment import ArgumentRole, Confidentiality
from portcullis.core.errors import Problem
from portcullis.provenance.labels import Labels, reading, trusting
from portcullis.provenance.memories import MAX_VOUCHED
from portcullis.store.memories import SqlMemories, raise_all
from portcullis.store.sealed import count, reseal
from portcullis.store.tables import MEMORY_LABELS

pytestmark = pytest.mark.anyio

STORE = "notes/notes"
LEVEL = Confidentiality
TO = ArgumentRole.DESTINATION


def vouching(*names, level=LEVEL.PUBLIC):
    return trusting(TO, names, LEVEL.INTERNAL).merge(reading(level))


async def told(memories, *records, store=STORE):
    return await memories.recall(store, None if None in records else frozenset(records))


async def level(memories, *records, store=STORE):
    return (await told(memories, *records, store=store)).confidentiality


@pytest.fixture
def memories(engine, sealer):
    return SqlMemories(engine, sealer)


async def test_a_record_is_as_confidential_as_its_writers_and_a_strange_one_as_the_store(
    memories, reopen, sealer
):
    assert await told(memories, "a") == await told(memories, None) == Labels()
    await memories.keep(STORE, {"a"}, vouching("ada", level=LEVEL.INTERNAL))
    await memories.keep(STORE, {"b"}, reading(LEVEL.SECRET))
    again = SqlMemories(reopen(), sealer)
    assert await told(again, "a") == vouching("ada", level=LEVEL.INTERNAL)
    assert await level(again, "b") is LEVEL.SECRET
    assert await level(again, "a", "b") is LEVEL.SECRET
    assert await told(again, "never") == reading(LEVEL.SECRET)
    assert (await told(again, None)).trusts(TO, ["ada"])
    assert await level(again, None) is LEVEL.SECRET
    assert await told(again) == Labels()
    assert await told(again, "a", store="other/notes") == Labels()


async def test_what_was_written_without_a_name_may_stand_in_any_record(memories):
    await memories.keep(STORE, {"a"}, reading(LEVEL.PUBLIC))
    await memories.keep(STORE, {"b"}, reading(LEVEL.CONFIDENTIAL))
    assert await level(memories, "a") is LEVEL.PUBLIC
    await memories.keep(STORE, None, vouching("eve"))  # it may have copied b into a
    assert await level(memories, "a") is LEVEL.CONFIDENTIAL
    assert (await told(memories, "a")).trusts(TO, ["eve"])


async def test_a_label_is_never_taken_back(memories):
    await memories.keep(STORE, {"a"}, vouching("ada", level=LEVEL.SECRET))
    await memories.keep(STORE, {"a"}, reading(LEVEL.PUBLIC))
    assert await told(memories, "a") == vouching("ada", level=LEVEL.SECRET)


async def test_more_records_than_fit_are_known_as_the_whole_store(engine, sealer):
    small = SqlMemories(engine, sealer, records=4)
    for name in ("a", "b", "c"):
        await small.keep(STORE, {name}, reading(LEVEL.PUBLIC))
    assert await level(small, "c") is LEVEL.PUBLIC
    await small.keep(STORE, {"d"}, vouching("dora", level=LEVEL.CONFIDENTIAL))
    assert await told(small, "d") == reading(LEVEL.CONFIDENTIAL)
    assert await level(small, "a") is LEVEL.PUBLIC
    await small.keep(STORE, {"a"}, reading(LEVEL.INTERNAL))  # what is known goes on to be
    assert await level(small, "a") is LEVEL.INTERNAL
    await small.keep(STORE, None, reading(LEVEL.SECRET))
    assert await level(small, "a") is LEVEL.SECRET
    with engine.connect() as connection:
        rows = connection.execute(select(func.count()).select_from(MEMORY_LABELS)).scalar_one()
    assert rows == 5


async def test_a_record_vouches_for_so_many_values_and_for_no_more(memories):
    for start in range(0, MAX_VOUCHED + 64, 64):
        await memories.keep(STORE, {"a"}, vouching(*map(str, range(start, start + 64))))
    found = (await told(memories, "a")).trusted
    assert len(found) == MAX_VOUCHED
    assert found < (await told(memories, None)).trusted


async def test_what_many_processes_write_at_once_is_all_there(memories, reopen, sealer):
    other = SqlMemories(reopen(), sealer)
    await asyncio.gather(
        *((memories, other)[n % 2].keep(STORE, {f"r{n % 3}"}, vouching(str(n))) for n in range(24))
    )
    for n in range(24):
        assert (await told(memories, f"r{n % 3}")).trusts(TO, [str(n)])


async def test_it_lies_sealed_without_the_names_of_records(memories, engine, sealer):
    await memories.keep(STORE, {"adasdiagnosis"}, reading(LEVEL.SECRET))
    assert b"adasdiagnosis" not in stored(engine)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(select(MEMORY_LABELS))]
    assert rows
    assert "secret" not in repr(rows)
    assert count(engine, sealer) == (2, 0)
    reseal(engine, sealer)
    assert await level(memories, "adasdiagnosis") is LEVEL.SECRET


async def test_a_store_was_written_also_when_that_is_all_that_is_known(memories, reopen, sealer):
    assert not await memories.written(STORE)
    await memories.keep(STORE, {"a"}, Labels())
    again = SqlMemories(reopen(), sealer)
    assert await again.written(STORE)
    assert not await again.written("other/notes")


async def test_what_cannot_be_read_or_written_is_a_problem(memories, engine):
    await memories.keep(STORE, {"a"}, reading(LEVEL.SECRET))
    with engine.begin() as connection:
        connection.execute(update(MEMORY_LABELS).values(document=b"damaged"))
    with pytest.raises(Problem, match="PC9002"):
        await told(memories, "a")
    with pytest.raises(Problem, match="PC9002"):
        await memories.keep(STORE, {"a"}, reading(LEVEL.SECRET))


async def test_after_a_restore_whatever_is_read_is_as_confidential_as_anything_on_record(
    engine, memories, sealer, reopen
):
    assert raise_all(engine, sealer) is LEVEL.PUBLIC
    assert not await memories.written("other/notes")
    assert await level(memories, "a") is LEVEL.PUBLIC, "nothing is on record"
    await memories.keep(STORE, {"a"}, vouching("ada"))
    await memories.keep("crm/notes", {"x"}, reading(LEVEL.INTERNAL))
    assert raise_all(engine, sealer) is LEVEL.INTERNAL
    again = SqlMemories(reopen(), sealer)
    for store, names in ((STORE, "a"), (STORE, "new"), (STORE, None), ("never/seen", "y")):
        assert await level(again, names, store=store) is LEVEL.INTERNAL, (store, names)
    assert (await told(again, "a")).trusts(TO, ["ada"]), "it had a source"
    assert await again.written("never/seen"), "for all that is known"
    await again.keep("never/seen", {"y"}, reading(LEVEL.PUBLIC))
    assert await level(again, "y", store="never/seen") is LEVEL.INTERNAL
    spoilt = update(MEMORY_LABELS).where(MEMORY_LABELS.c.store == "crm/notes")
    with engine.begin() as connection:
        connection.execute(spoilt.values(document=b"no labels"))
    assert raise_all(engine, sealer) is LEVEL.SECRET, "what does not open may be anything"
    assert await level(again, "y", store="never/seen") is LEVEL.SECRET

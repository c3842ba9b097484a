"""If this fails, a gateway whose records are in PostgreSQL misses who was cut off."""

import random

import pytest
from sqlalchemy import delete, text, update

from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.store import killfeed_rows as rows
from portcullis.store.dialect import unseen, upsert, writing
from portcullis.store.directory import SqlDirectory
from portcullis.store.engine import open_store
from portcullis.store.tables import CUTS, ISOLATIONS, PRINCIPALS
from postgres_servers import needs_postgresql

pytestmark = needs_postgresql


@pytest.fixture
def engine(postgres):
    with postgres.new() as url:
        made = open_store(url)
        yield made
        made.dispose()


def person(name, **fields):
    values = {"owner": "shop", "roles": (), "created_at": 1.0, "state": State.ACTIVE} | fields
    return PrincipalRecord(kind=PrincipalKind.AGENT, id=name, **values)


def something(connection, dice):
    """One change of anybody's."""
    table = dice.choice((CUTS, ISOLATIONS))
    key = {"scope": "agent", "value": f"a{dice.randrange(6)}"}
    principal = PRINCIPALS.c.id == f"a{dice.randrange(6)}"
    match dice.randrange(6):
        case 0 | 1:
            row = {"reason": dice.choice(("leaked", "odd", "")), "made_at": 1.0, "made_by": "ann"}
            put = upsert(connection, table).values(key | row)
            done = put.on_conflict_do_update(index_elements=["scope", "value"], set_=row)
        case 2:
            done = delete(table).where(table.c.value == key["value"])
        case 3:
            done = update(PRINCIPALS).where(principal).values(state=dice.choice(list(State)).value)
        case 4:
            done = update(PRINCIPALS).where(principal).values(rotated_at=dice.random())
        case _:
            name = f"spiffe://partner.test/{dice.randrange(1000)}"
            done = update(PRINCIPALS).where(principal).values(spiffe_id=name)
    connection.execute(done)


def test_what_is_followed_row_by_row_is_what_is_there_whatever_commits_when(engine):
    dice = random.Random(11)
    directory = SqlDirectory(engine)
    for number in range(6):
        directory.create(person(f"a{number}"))
    whole = followed = 0
    with engine.connect() as looks, engine.connect() as fresh:
        seen, known = rows.changes(looks, unseen())
        slow = None
        for turn in range(120):
            with writing(engine).begin() as connection:
                something(connection, dice)
            if turn % 10 == 3:  # one that begins before many others, and commits after them
                slow = writing(engine).connect()
                directory.create(person(f"late-{turn}"))
                slow.begin()
                late = update(PRINCIPALS).where(PRINCIPALS.c.id == f"late-{turn}")
                slow.execute(late.values(state="suspended"))
            if turn % 10 == 9:
                slow.commit()
                slow.close()
            if dice.random() < 0.6:
                version, found = rows.changes(looks, seen)
                if found is None:
                    continue
                now = found.over(known)
                followed += 1
                if now is None:
                    whole += 1
                    version, now = rows.changes(looks, unseen())
                seen, known = version, now
                with fresh.begin():
                    assert known == rows.load(fresh), turn
    assert followed > 50
    assert whole < followed / 2, "all of it is read only when rows are gone"


def test_a_row_that_nobody_touches_is_read_once(engine):
    directory = SqlDirectory(engine)
    for number in range(20):
        directory.create(person(f"a{number}"))
    with engine.connect() as looks:
        seen, known = rows.changes(looks, unseen())
        assert len(known.registered) == 20
        assert rows.changes(looks, seen) == (seen, None)
        with writing(engine).begin() as connection:  # what has nothing to do with it
            connection.execute(
                text("INSERT INTO sessions (id, expires_at, document) VALUES ('s', 1, '')")
            )
        version, found = rows.changes(looks, seen)
        assert (found.principals, found.cuts, found.isolations) == ((), {}, {})
        assert found.over(known) is known
        directory.put(person("a7", state=State.REVOKED))
        _, found = rows.changes(looks, version)
        assert [row[1] for row in found.principals] == ["a7"]

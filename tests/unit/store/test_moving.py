"""If these fail, a deployment that moves into PostgreSQL leaves something behind, or is told that
it is all there."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import func, insert, select

from databases import changed, new_database, refuse
from portcullis.core.errors import Problem
from portcullis.store import postgresql
from portcullis.store.dialect import writing
from portcullis.store.engine import open_store
from portcullis.store.moving import move, occupied
from portcullis.store.schema import METADATA
from portcullis.store.tables import AUDIT_EVENTS, CUTS
from portcullis.store.tables_certificates import CERTIFICATES
from postgres_servers import needs_postgresql

pytestmark = needs_postgresql

_VALUES = {
    "VARCHAR": lambda column, number: f"{number:04}"[-(column.type.length or 9) :],
    "TEXT": lambda _, number: f"t\u00e4xt {number}",
    "DOUBLE": lambda _, number: number + 0.1,
    "INTEGER": lambda _, number: number,
    "BIGINT": lambda _, number: 2**40 + number,
    "BLOB": lambda _, number: bytes([0, number % 256, 255]),
    "JSON": lambda _, number: [f"one-{number}", {"b": 1, "a": None}],
}
_STATES = {"principals": "active", "approvals": "denied"}


def rows(table, count):
    """Rows that fill every column, each with another key."""
    for number in range(count):
        row = {
            column.name: _VALUES[str(column.type.compile()).partition("(")[0]](column, number)
            for column in table.columns
        }
        if table.name in _STATES:
            row["state"] = _STATES[table.name]
        if table.name == "policy_reviews":
            row["one"] = number + 1
        yield row


@pytest.fixture
def source(tmp_path):
    made = new_database(tmp_path / "portcullis.db")
    yield made
    made.dispose()


@pytest.fixture
def target(postgres):
    with postgres.new() as url:
        made = open_store(url)
        yield made
        made.dispose()


def filled(engine, count=3):
    with writing(engine).begin() as connection:
        for table in METADATA.sorted_tables:
            connection.execute(insert(table), list(rows(table, count)))


def contents(engine):
    with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(
                select(table).order_by(*table.primary_key.columns))]
            for table in METADATA.sorted_tables
        }  # fmt: skip


def test_every_column_of_every_table_arrives_as_it_was(source, target):
    filled(source)
    with writing(source).begin() as connection:
        connection.execute(insert(CUTS), [
            {"scope": "agent", "value": f"a{number}", "reason": "", "made_at": 1, "made_by": ""}
            for number in range(1200)
        ])  # fmt: skip
    told = []
    moved = move(source, target, told.append)
    assert contents(target) == contents(source)
    assert {one.table: one.rows for one in moved} == {
        table.name: 1203 if table is CUTS else 3 for table in METADATA.sorted_tables
    }
    assert sum(told) == sum(one.rows for one in moved)
    assert occupied(target) == tuple(table.name for table in METADATA.sorted_tables)
    with writing(target).begin() as connection:  # and the next number is a new one
        values = next(rows(CERTIFICATES, 1))
        del values["number"]
        connection.execute(insert(CERTIFICATES).values(values))
        last = connection.execute(select(func.max(CERTIFICATES.c.number))).scalar_one()
    assert last == 3


def test_a_database_that_holds_anything_takes_nothing(source, target):
    filled(source)
    changed(target, "INSERT INTO freezes (agent, frozen_at, lifted_at) VALUES ('a', 1, 0)")
    assert occupied(target) == ("freezes",)
    with pytest.raises(Problem, match=r"PC7001.*records already, in freezes"):
        move(source, target)
    assert occupied(target) == ("freezes",)


def test_what_does_not_arrive_as_it_was_sent_is_not_moved_at_all(source, target):
    filled(source)
    changed(
        target,
        "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.reason := 'other'; RETURN NEW; END $$",
        "CREATE TRIGGER change BEFORE INSERT ON isolations FOR EACH ROW EXECUTE FUNCTION change()",
    )
    with pytest.raises(Problem, match=r"PC6005.*isolations"):
        move(source, target)
    assert occupied(target) == ()
    changed(target, "DROP TRIGGER change ON isolations", "DROP FUNCTION change")
    refuse(target, "user_grants")
    with pytest.raises(Problem, match=r"PC7001.*user_grants cannot be moved"):
        move(source, target)
    assert occupied(target) == ()


@pytest.mark.parametrize("alone", [True, False])
def test_a_large_move_is_not_ended_for_resting(source, postgres, tmp_path, monkeypatch, alone):
    """While one side's rows are read and compared, the other has nothing to do."""
    hurried = postgresql._CONNECT["options"] + " -c idle_in_transaction_session_timeout=150"
    monkeypatch.setitem(postgresql._CONNECT, "options", hurried)
    filled(source)
    with postgres.new() as url:
        target = open_store(url)
        rested = iter([0.4])
        try:
            move(source, target, lambda _: time.sleep(next(rested, 0)))
            copy = new_database(tmp_path / "copy.db")
            rested = iter([0.4])
            move(target, copy, lambda _: time.sleep(next(rested, 0)), alone=alone)
            assert contents(copy) == contents(target)
            copy.dispose()
        finally:
            target.dispose()


def test_what_a_caller_chose_stands_in_the_way_of_nothing(source, target):
    name = "odd\0name"
    with writing(source).begin() as connection:
        row = next(rows(AUDIT_EVENTS, 1)) | {"name": name}
        connection.execute(insert(AUDIT_EVENTS).values(row))
    move(source, target)
    with target.connect() as connection:
        assert connection.execute(select(AUDIT_EVENTS.c.name)).scalar_one() == "odd\ufffdname"

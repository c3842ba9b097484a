"""If these fail, an upgrade of one process keeps the others from being restarted as they are, or a
program works on a schema that it does not understand."""

import pytest
from sqlalchemy import text

from portcullis.core.errors import Problem
from portcullis.store import dialect
from portcullis.store.tables import READABLE, REVISION

VERSIONS = "alembic_version"


@pytest.fixture
def newer(reopen):
    """Has a newer program migrate the database, until the test is over."""
    engine = reopen()
    yield lambda since: _migrated(engine, "9999", since)
    _migrated(engine, REVISION, int(READABLE))


def _migrated(engine, revision, since):
    with dialect.writing(engine).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})
        dialect.say_readable(connection, VERSIONS, since)


def test_a_database_that_a_newer_program_only_added_to_is_used_as_it_is(newer, reopen):
    newer(int(REVISION))
    with reopen().connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        assert found == "9999"
        assert dialect.readable(connection, VERSIONS) == int(REVISION)


def test_one_that_a_newer_program_changed_is_not(newer, reopen):
    newer(int(REVISION) + 1)
    with pytest.raises(Problem, match=r"PC7001.*newer version"):
        reopen()


def test_each_database_says_what_one_has_to_know_to_use_it(engine):
    with engine.connect() as connection:
        assert dialect.readable(connection, VERSIONS) == int(READABLE) <= int(REVISION)

import stat
import time

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import column, insert, inspect, table, text

from portcullis.core.approval import Verb
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.store.approvals import SqlApprovals
from portcullis.store.dialect import say_readable
from portcullis.store.directory import SqlDirectory
from portcullis.store.engine import migrate, open_sqlite
from portcullis.store.schema import METADATA
from portcullis.store.tables import REVISION
from shared_processes import in_processes, open_databases


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "portcullis.db"


def test_the_tables_in_code_are_the_tables_that_the_migrations_make(path):
    engine = open_sqlite(path)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == REVISION
    engine.dispose()


def test_a_database_is_durable_and_its_owners_alone(path):
    engine = open_sqlite(path)
    with engine.begin() as connection:

        def pragma(name):
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()

        found = {name: pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys")}
        assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        assert (pragma("busy_timeout"), pragma("secure_delete")) == (5000, 1)
        connection.exec_driver_sql("DELETE FROM sessions")
        modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    engine.dispose()


def test_a_database_that_others_can_read_is_not_used(path):
    open_sqlite(path).dispose()
    path.chmod(0o644)
    with pytest.raises(Problem, match=r"PC7001.*open to other users"):
        open_sqlite(path)


def test_a_database_of_a_newer_version_is_not_touched(path):
    engine = open_sqlite(path)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        say_readable(connection, "alembic_version", 9999)
    engine.dispose()
    with pytest.raises(Problem, match="newer version"):
        open_sqlite(path)


def test_what_is_not_a_database_is_not_touched(path):
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, and never was one" * 100)
    path.chmod(0o600)
    with pytest.raises(Problem, match="PC7001"):
        open_sqlite(path)
    assert path.read_bytes().startswith(b"this is not")


def test_a_place_that_cannot_hold_a_database_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(Problem, match="PC7001"):
        open_sqlite(tmp_path / "file" / "portcullis.db")


def test_a_migration_that_breaks_off_leaves_nothing_behind(path, monkeypatch):
    def broken(*args, **kwargs):
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", broken)
        with pytest.raises(OSError, match="power cut"):
            open_sqlite(path)
    engine = open_sqlite(path)
    migrate(engine)  # a second time changes nothing
    engine.dispose()


def at_0001(path):
    """A database as the first version left it, with a principal in each state."""
    engine = open_sqlite(path)
    with engine.execution_options(portcullis_immediate=True).begin() as connection:
        config = Config()
        config.set_main_option("script_location", "portcullis.store:migrations")
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    with engine.begin() as connection:
        insert = "INSERT INTO principals VALUES (?, ?, 'shop', ?, '[\"admin\"]', 1.5)"
        for row in (
            ("agent", "shop-1", "active"),
            ("agent", "shop-2", "disabled"),
            ("operator", "ada", "active"),
        ):
            connection.exec_driver_sql(insert, row)
    return engine


def test_a_first_database_is_brought_up_to_date_and_nobody_comes_back_to_life(path):
    at_0001(path).dispose()
    before = time.time()
    engine = open_sqlite(path)
    directory = SqlDirectory(engine)
    one, two = directory.list(PrincipalKind.AGENT)
    assert (one.id, one.state, one.owner, one.created_at) == ("shop-1", "active", "shop", 1.5)
    assert (one.purpose, one.spiffe_id, one.rotated_at) == ("", "", 0.0)
    assert before + 89 * 86_400 < one.review_at < before + 91 * 86_400
    assert (two.id, two.state) == ("shop-2", "suspended")
    (ada,) = directory.list(PrincipalKind.OPERATOR)
    assert (ada.roles, ada.review_at, ada.users) == (("admin",), 0.0, ())
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    with pytest.raises(Exception, match="principals_state"), engine.begin() as connection:
        connection.exec_driver_sql("UPDATE principals SET state = 'disabled'")
    engine.dispose()


def test_going_back_to_the_first_version_brings_nobody_back_to_life(path):
    engine = open_sqlite(path)
    for state in State:
        SqlDirectory(engine).create(
            PrincipalRecord(
                kind=PrincipalKind.AGENT,
                id=f"was-{state}",
                owner="shop",
                state=state,
                roles=(),
                created_at=1.0,
                spiffe_id=f"spiffe://partner.test/{state}",
            )
        )
    engine.dispose()
    engine = at_0001(path)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == [
            "alembic_version",
            "cuts",
            "principals",
            "sessions",
        ]
        query = "SELECT id, state FROM principals WHERE id LIKE 'was-%' ORDER BY id"
        assert [tuple(row) for row in connection.exec_driver_sql(query)] == [
            ("was-active", "active"),
            ("was-expired", "disabled"),
            ("was-revoked", "disabled"),
            ("was-suspended", "disabled"),
        ]
    with pytest.raises(Exception, match="principals_state"), engine.begin() as connection:
        connection.exec_driver_sql("UPDATE principals SET state = 'suspended'")
    engine.dispose()


def test_several_processes_may_start_on_one_new_database(path):
    new = [path.with_name(f"{number}.db") for number in range(5)]
    assert in_processes(open_databases, *[(new,)] * 4) == [["ok"] * 5] * 4


def test_errors_of_the_database_do_not_quote_what_was_written(path):
    engine = open_sqlite(path)
    secret = "C-1001"  # noqa: S105 - stands for content
    with engine.connect() as connection, pytest.raises(Exception, match="sessions") as refused:
        connection.execute(text("INSERT INTO sessions (id) VALUES (:v)"), {"v": secret})
    assert secret not in str(refused.value)
    engine.dispose()


def test_who_endorsed_a_call_under_the_version_before_is_still_the_first_of_two(path):
    engine = open_sqlite(path)
    asked = {
        "binding": "b" * 64,
        **dict.fromkeys(("session", "action", "server", "name"), "x"),
        "agent": "shop-1",
        "risk": "read",
        "created_at": 1.0,
        "expires_at": 2e9,
        **dict.fromkeys(("settled_at", "reminded_at", "escalated_at"), 0.0),
        "decided_by": "bea",
        "reason": "fine",
    }
    config = Config()
    config.set_main_option("script_location", "portcullis.store:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0028")
        for state in ("pending", "approved"):
            row = asked | {"id": state, "state": state}
            connection.execute(insert(table("approvals", *map(column, row))).values(row))
    migrate(engine)
    store = SqlApprovals(engine)
    waits, decided = store.get("pending"), store.get("approved")
    assert (waits.endorsed_by, waits.endorsed_reason, waits.decided_by) == ("bea", "fine", "")
    assert (decided.endorsed_by, decided.decided_by, decided.reason) == ("", "bea", "fine")
    assert store.move("pending", Verb.APPROVE, now=3.0, by="cy", after="bea").decided_by == "cy"
    engine.dispose()

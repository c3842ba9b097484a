"""If these fail, records lie in a database that loses, shows or mixes up what is written."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import inspect, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

from authorities import key_pem
from databases import changed
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.store import dialect, postgresql
from portcullis.store.directory import SqlDirectory
from portcullis.store.engine import migrate, open_store
from portcullis.store.schema import METADATA
from portcullis.store.tables import REVISION, SESSIONS
from postgres_servers import needs_postgresql, postgres_server
from shared_processes import in_processes, open_databases

pytestmark = needs_postgresql

SECRET = "C-1001"  # noqa: S105 - stands for content


@pytest.fixture
def url(postgres):
    with postgres.new() as made:
        yield made


@pytest.fixture
def engine(url):
    made = open_store(url)
    yield made
    made.dispose()


def empty(postgres):
    """The address of a new database without tables."""
    return postgres.url(postgres.make())


def test_the_tables_in_code_are_the_tables_that_the_migrations_make(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == REVISION


def test_what_is_unique_while_something_holds_is_so_only_then(engine):
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT indexname, indexdef FROM pg_indexes WHERE indexdef ~ '^CREATE UNIQUE'"
            " AND indexname ~ '^ix_' ORDER BY 1"
        ).all()
    partial = {name for name, said in found if " WHERE " in said}
    assert partial == {"ix_incidents_one", "ix_principals_spiffe_id"}
    assert {name for name, _ in found} - partial == {"ix_user_grants_holder"}


def test_it_goes_back_to_the_first_version_and_forward_again(postgres):
    engine = open_store(empty(postgres))
    directory = SqlDirectory(engine)
    for state in State:
        directory.create(
            PrincipalRecord(
                kind=PrincipalKind.AGENT,
                id=f"was-{state}",
                owner="shop",
                state=state,
                roles=("buyer",),
                created_at=1.5,
            )
        )
    migrate(engine, "0001")
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        assert sorted(names) == ["alembic_version", "cuts", "principals", "sessions"]
    migrate(engine)
    states = {one.id: one.state for one in directory.list()}
    assert states.pop("was-active") is State.ACTIVE
    assert set(states.values()) == {State.SUSPENDED}, "nobody comes back to life"
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_several_processes_may_start_on_one_new_database(postgres):
    new = [empty(postgres)]
    assert in_processes(open_databases, *[(new,)] * 3) == [["ok"]] * 3


def test_a_migration_that_breaks_off_leaves_nothing_behind(postgres, monkeypatch):
    def broken(*args, **kwargs):
        raise OSError("power cut")

    url = empty(postgres)
    with monkeypatch.context() as patch:
        patch.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", broken)
        with pytest.raises(OSError, match="power cut"):
            open_store(url)
    assert postgres.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
                        make_url(url).database) == [(0,)]  # fmt: skip
    open_store(url).dispose()


def test_a_database_of_a_newer_version_is_not_touched(engine, url):
    changed(engine, "UPDATE alembic_version SET version_num = '9999'")
    changed(engine, "COMMENT ON TABLE alembic_version IS NULL")
    with pytest.raises(Problem, match=r"PC7001.*newer version"):
        open_store(url)
    changed(engine, f"UPDATE alembic_version SET version_num = '{REVISION}'")  # noqa: S608 - ours
    migrate(engine)


def test_a_commit_that_returned_is_on_the_disk_whatever_the_servers_default(postgres, url):
    name = make_url(url).database
    postgres.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    engine = open_store(url)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()
        level = connection.exec_driver_sql("SHOW transaction_isolation").scalar_one()
    with dialect.writing(engine).connect() as connection:
        of_writers = connection.exec_driver_sql("SHOW transaction_isolation").scalar_one()
    engine.dispose()
    postgres.sql(f"ALTER DATABASE {name} RESET synchronous_commit")
    assert (found, level, of_writers) == ("on", "repeatable read", "read committed")


def test_who_waits_for_another_writer_gives_up(url, monkeypatch):
    monkeypatch.setitem(
        postgresql._CONNECT,
        "options",
        postgresql._CONNECT["options"].replace("lock_timeout=5000", "lock_timeout=50"),
    )
    one, two = open_store(url), open_store(url)
    with dialect.writing(one, "approvals").begin(), dialect.writing(two, "alerts").begin():
        before = time.monotonic()
        with pytest.raises(SQLAlchemyError), dialect.writing(two, "approvals").begin():
            raise AssertionError
        assert time.monotonic() - before < 30
    one.dispose()
    two.dispose()


def test_errors_of_the_database_do_not_quote_what_was_written(engine):
    writing = dialect.writing(engine)
    for statement, name in (
        ("INSERT INTO sessions (id) VALUES (:v)", "sessions"),
        ("INSERT INTO freezes (agent, frozen_at, lifted_at) VALUES (:v || repeat('x', 99), 0, 0)",
         "StringDataRightTruncation"),
        ("INSERT INTO freezes (agent, frozen_at, lifted_at) VALUES ('x', :v, 0)", "22P02"),
        ("SELECT CAST(:v AS integer)", "InvalidTextRepresentation"),
    ):  # fmt: skip
        with writing.connect() as connection, pytest.raises(Exception, match=name) as refused:
            connection.execute(text(statement), {"v": SECRET})
        assert SECRET not in str(refused.value)
        assert SECRET not in str(refused.value.orig)
    with writing.begin() as connection:
        row = {"id": SECRET, "expires_at": 1.0, "document": b""}
        connection.execute(SESSIONS.insert().values(row))
    with writing.connect() as connection, pytest.raises(Exception, match="sessions_pkey") as twice:
        connection.execute(SESSIONS.insert().values(row))
    assert SECRET not in str(twice.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://root@localhost/records", "no address"),
        ("postgresql://shop@localhost", "no address"),
        ("postgresql://shop:pa55word@db.example.org/records", "not verified"),
        ("postgresql://shop:pa55word@db.example.org/records?sslmode=require", "not verified"),
        ("postgresql://shop:pa55word@db.example.org/records?sslmode=verify-ca", "not verified"),
        ("postgresql://shop:pa55word@/records?host=/run/a,db.example.org", "not verified"),
        ("postgresql://shop:pa55word@localhost/records?hostaddr=192.0.2.1", "not verified"),
        ("postgresql://shop:pa55word@/records?service=other", "not verified"),
        ("postgresql://shop:pa55word@localhost/records?options=-cfsync%3Doff", "must not say"),
        ("postgresql://shop:pa55word@127.0.0.1:1/records?connect_timeout=1", "records there"),
        ("postgresql://shop:pa55word@/records?host=/nowhere", "records there"),
    ],
)
def test_an_address_that_is_none_or_not_safe_is_refused_without_its_password(url, said):
    with pytest.raises(Problem) as refused:
        open_store(url)
    words = f"{refused.value} {refused.value.hint}"
    assert refused.value.code == "PC7001"
    assert said in words
    assert "pa55word" not in words


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("PGHOST", "postgresql://shop:pa55word@/records"),
        ("PGHOSTADDR", "postgresql://shop:pa55word@localhost/records"),
        ("PGSERVICE", "postgresql://shop:pa55word@/records?host=/nowhere"),
    ],
)
def test_a_variable_takes_no_unverified_way_to_another_host(name, url, monkeypatch):
    monkeypatch.setenv(name, "192.0.2.1")
    with pytest.raises(Problem, match="not verified"):
        open_store(url)


def test_a_database_that_sorts_by_a_language_is_refused(postgres):
    postgres.sql(
        "CREATE DATABASE sorted TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    with pytest.raises(Problem, match=r"PC7001.*LATIN1") as refused:
        open_store(postgres.url("sorted"))
    assert "--encoding=UTF8 --locale=C" in refused.value.hint
    postgres.sql("DROP DATABASE sorted")


def test_after_its_connections_were_ended_it_goes_on_with_new_ones(postgres, engine):
    with engine.connect() as connection:
        connection.execute(select(SESSIONS))
    postgres.end_connections(engine.url.database)
    with engine.connect() as connection:
        assert connection.execute(select(SESSIONS)).all() == []


def test_a_version_changes_with_each_commit_and_only_then(engine, url):
    other = open_store(url)

    def version():
        with engine.connect() as connection:
            return dialect.data_version(connection)

    seen = [version(), version()]
    with dialect.writing(other).begin() as connection:
        connection.exec_driver_sql("DELETE FROM sessions")  # nothing: no transaction of its own
        connection.exec_driver_sql(
            "INSERT INTO sessions (id, expires_at, document) VALUES ('s', 1, '')"
        )
        during = version()
    seen += [version(), version()]
    other.dispose()
    assert seen[0] == seen[1] == during
    assert seen[2] == seen[3] != during


def certified(names):
    """An authority's certificate, and a server's for these names with its key, all in PEM."""
    now, keys = datetime.now(UTC), [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]

    def made(name, key, extension):
        built = x509.CertificateBuilder().subject_name(name_of(name)).issuer_name(name_of("ca"))
        built = built.public_key(key.public_key()).serial_number(x509.random_serial_number())
        built = built.not_valid_before(now).not_valid_after(now + timedelta(hours=1))
        return built.add_extension(extension, critical=True).sign(keys[0], hashes.SHA256())

    def name_of(name):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    own = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    certificates = [
        made("ca", keys[0], x509.BasicConstraints(ca=True, path_length=None)),
        made("server", keys[1], own),
    ]
    return [one.public_bytes(Encoding.PEM) for one in certificates], key_pem(keys[1])


def test_over_a_network_the_server_proves_who_it_is(tmp_path):
    (authority, leaf), key = certified(["localhost"])
    (other, _), _ = certified(["localhost"])
    (tmp_path / "ca.pem").write_bytes(authority)
    (tmp_path / "other.pem").write_bytes(other)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = ("ssl=on", "ssl_cert_file=../leaf.pem", "ssl_key_file=../leaf.key")
    options = [word for one in (*said, "listen_addresses=127.0.0.1") for word in ("-c", one)]
    files = {"leaf.pem": leaf, "leaf.key": key}
    with postgres_server(*options, port=port, files=files) as server:
        at = f"{port}/{server.make()}?sslmode=verify-full&sslrootcert={tmp_path}"
        engine = open_store(f"postgresql://postgres@localhost:{at}/ca.pem")
        with engine.connect() as connection:
            row = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert tuple(connection.exec_driver_sql(row).one()) == (True, "TLSv1.3")
        engine.dispose()
        for host, trusts in (("localhost", "other.pem"), ("127.0.0.1", "ca.pem")):
            with pytest.raises(Problem, match=r"PC7001.*(certificate|signature)"):
                open_store(f"postgresql://postgres@{host}:{at}/{trusts}")

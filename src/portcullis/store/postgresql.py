"""Connections to PostgreSQL: durable, bounded in time, and silent about values.

Each transaction that reads sees the database as it was at one moment (REPEATABLE READ). A commit
that returned is on the server's disk, whatever the server's own default. Whoever waits for a lock,
a statement, a connection or a server that is gone does so for a bounded time, and fails. The
driver's messages are replaced: PostgreSQL quotes rows in them.
"""

from __future__ import annotations

import ipaddress
import os
import re
import select
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from portcullis.core.errors import Problem
from portcullis.store import dialect

OLDEST: Final = 130_000
"""PostgreSQL 13, as its ``server_version_num`` says it: the first that tells its snapshot so."""
POOL: Final = 8

_SETTINGS: Final = {
    "synchronous_commit": "on",
    "lock_timeout": "5000",
    "statement_timeout": "30000",
    "idle_in_transaction_session_timeout": "60000",
    "timezone": "UTC",
    "client_min_messages": "error",
    "tcp_keepalives_idle": "10",  # a host that is gone lets go of what it had
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_CONNECT: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "application_name": "portcullis",
    "options": " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items()),
    "target_session_attrs": "read-write",  # of several hosts the primary, never a standby
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_POOL_SECONDS: Final = 5.0
_RECYCLE_SECONDS: Final = 1800
_VERIFIED: Final = "verify-full"
"""The one mode that holds the certificate against the host's name (libpq's documentation, 32.19.1):
with ``verify-ca`` whoever has any certificate of the same authority could be the database."""
_COLLATIONS: Final = re.compile(r"(C|POSIX)(\.utf-?8)?", re.IGNORECASE)
_OWN: Final = frozenset({"options", "target_session_attrs", "client_encoding"})
"""What an address may not say, because it is said here."""
_ELSEWHERE: Final = frozenset({"PGHOST", "PGHOSTADDR", "PGSERVICE"})
"""Variables by which the driver goes to another host than the address says."""
_DATABASE: Final = (
    "SELECT current_setting('server_version_num')::int, pg_encoding_to_char(encoding), datcollate"
    " FROM pg_database WHERE datname = current_database()"
)


def is_postgresql(url: str) -> bool:
    """Whether an address is one of PostgreSQL."""
    return url.startswith(("postgresql://", "postgres://"))


def connect(url: str, *, pool: int = POOL) -> Engine:
    """An engine for a database, whose address may hold a password: it is shown nowhere.

    At most ``pool`` connections are open at once. Raises Problem PC7001 for an address that cannot
    be used: of another kind, over a network without a verified certificate, or without the driver.
    """
    place = _parsed(url)
    if not _private(place):
        hint = (
            "Add ?sslmode=verify-full (and sslrootcert=FILE), or use a Unix socket, without PGHOST."
        )
        raise Problem("PC7001", "store: the way to the database is not verified", hint=hint)
    try:
        engine = create_engine(
            place.set(drivername="postgresql+psycopg"),
            connect_args=_CONNECT,
            isolation_level="REPEATABLE READ",
            hide_parameters=True,
            poolclass=QueuePool,
            pool_size=pool,
            max_overflow=0,
            pool_timeout=_POOL_SECONDS,
            pool_recycle=_RECYCLE_SECONDS,
            use_native_hstore=False,
        )
    except ImportError:
        hint = "Install it: pip install 'agent-portcullis[postgresql]'."
        raise Problem("PC7001", "store: the driver of PostgreSQL is missing", hint=hint) from None
    event.listen(engine, "checkout", _expect_open)
    event.listen(engine, "begin", dialect.begun)
    event.listen(engine, "handle_error", _without_values)
    return engine


def check(engine: Engine) -> None:
    """Raise Problem PC7001 for a server or a database that cannot keep our records."""
    try:
        with engine.connect() as connection:
            version, encoding, collation = connection.exec_driver_sql(_DATABASE).one()
    except SQLAlchemyError as error:
        raise Problem("PC7001", f"store: {reason(error)}", hint=_reach(engine)) from None
    if version < OLDEST:
        found = f"store: PostgreSQL {version // 10_000} is older than {OLDEST // 10_000}"
        raise Problem("PC7001", found, hint="Upgrade the server.")
    if encoding != "UTF8" or not _COLLATIONS.fullmatch(collation):
        found = f"store: the database is in {encoding} and sorted by {collation}"
        hint = "Make it with `createdb --template=template0 --encoding=UTF8 --locale=C NAME`."
        raise Problem("PC7001", found, hint=hint)


def reason(error: SQLAlchemyError) -> str:
    """What a fault of the database was, without the statement."""
    said = getattr(error, "orig", None) or error
    return str(said).splitlines()[0] if str(said) else type(said).__name__


def _parsed(url: str) -> URL:
    try:
        place = make_url(url)
    except ArgumentError:
        place = None
    if place is None or not is_postgresql(url) or not place.database:
        hint = "Such as postgresql://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full."
        raise Problem("PC7001", "store: the url is no address of a database", hint=hint)
    taken = sorted(_OWN & place.query.keys())
    if taken:
        raise Problem("PC7001", f"store: the url must not say {', '.join(taken)}")
    return place


def _private(place: URL) -> bool:
    """Whether nobody on the way can read it, or be the server."""
    others = {"PGHOSTADDR", "PGSERVICE"} if place.host or "host" in place.query else _ELSEWHERE
    if others & os.environ.keys() or "service" in place.query:
        return place.query.get("sslmode") == _VERIFIED
    said = place.query.get("host", place.host or "")
    hosts = ",".join([said] if isinstance(said, str) else said).split(",")
    if all(not host or host.startswith("/") or _loopback(host) for host in hosts):
        return "hostaddr" not in place.query
    return place.query.get("sslmode") == _VERIFIED


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _reach(engine: Engine) -> str:
    return f"Is the database {engine.url.database} there, and may it be used from here?"


def _expect_open(connection: Any, entry: object, proxy: object) -> None:
    """Have a connection replaced that the server has closed, without asking the server.

    What waits to be read on one that nobody uses is that it ended.
    """
    del entry, proxy
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError


def _without_values(context: ExceptionContext) -> None:
    """Leave of a server's message what names no value: its code, table, column and constraint."""
    error = context.original_exception
    code, details = getattr(error, "sqlstate", None), getattr(error, "diag", None)
    if code is None or details is None:
        return
    names = (details.table_name, details.column_name, details.constraint_name)
    said = " ".join([f"{type(error).__name__} {code}", *filter(None, names)])
    error.args = (said,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (said,)

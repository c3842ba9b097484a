"""A tenant's database and role in PostgreSQL: the statements, and who runs them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.store import postgresql

_ROUNDS: Final = 4096
CONNECTIONS: Final = 40
"""What a role may have: two tenants fit into the 100 that a server has by default."""
_WAY: Final = (
    *("host", "port", "sslmode", "sslrootcert", "sslcrl", "sslcrldir", "sslsni"),
    *("ssl_min_protocol_version", "channel_binding", "gssencmode", "require_auth"),
)
"""What of an address says the way to a server. The rest may say who comes, as the driver has it:
``user``, ``password``, ``passfile``, ``sslkey``."""
_OPEN: Final = """
SELECT datname FROM pg_database
WHERE datallowconn AND has_database_privilege('public', oid, 'CONNECT') ORDER BY datname
"""


@dataclass(frozen=True, slots=True)
class TenantDatabase:
    """What a tenant needs there. ``url`` holds the password; the ``statements`` do not."""

    name: str
    url: str
    statements: tuple[str, ...]


def database_of(tenant: str, admin: str) -> TenantDatabase:
    """The role and the database of a tenant, both called ``portcullis_TENANT``.

    ``admin`` is the address of an administrator, of which the way to the server is taken. The
    statements have the password as its SCRAM verifier (RFC 5803): a server's log may quote them.
    """
    name, password = f"portcullis_{tenant}", secrets.token_urlsafe(32)
    try:
        place = make_url(admin)
    except ArgumentError:
        raise Problem("PC7094", "--database-admin is no address of a database") from None
    way = {one: place.query[one] for one in _WAY if one in place.query}
    url = place.set(username=name, password=password, database=name, query=way)
    role = f'"{name}"'
    no_more = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
    bound = f"{no_more} CONNECTION LIMIT {CONNECTIONS}"
    sorted_by_bytes = "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    statements = (
        f"CREATE ROLE {role} LOGIN PASSWORD '{verifier(password)}' {bound}",
        f"ALTER ROLE {role} SET log_error_verbosity = terse",
        f"CREATE DATABASE {role} OWNER {role} {sorted_by_bytes} ALLOW_CONNECTIONS false",
        f"REVOKE ALL ON DATABASE {role} FROM PUBLIC",  # nobody came in before, to stay
        f"ALTER DATABASE {role} ALLOW_CONNECTIONS true",
    )
    return TenantDatabase(name, url.render_as_string(hide_password=False), statements)


def make(wanted: TenantDatabase, admin: str) -> str:
    """Make it as the administrator; what is left to do, in words.

    Raises Problem PC7094; nothing that is there is taken over.
    """
    engine = postgresql.connect(admin, pool=2)
    done = 0
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in wanted.statements:
                connection.exec_driver_sql(statement)
                done += 1
            everybodys = connection.exec_driver_sql(_OPEN).scalars().all()
    except SQLAlchemyError as error:
        what = (*wanted.statements, _OPEN.strip())[done].partition(" PASSWORD ")[0]
        left = f"; role {wanted.name} was made and is left" if done else ""
        detail = f"the database: {postgresql.reason(error)} at {what}{left}"
        hint = "See to it as its administrator, or use --by-hand."
        raise Problem("PC7094", detail, hint=hint) from None
    finally:
        engine.dispose()
    return closing(everybodys)


def closing(databases: Iterable[str]) -> str:
    """What an administrator says about databases that everybody may connect to; "" for none."""
    names = ", ".join('"' + one.replace('"', '""') + '"' for one in databases)
    return f"in PostgreSQL: REVOKE CONNECT ON DATABASE {names} FROM PUBLIC" if names else ""


def gone(tenant: str) -> tuple[str, ...]:
    """What takes it all away again."""
    name = f'"portcullis_{tenant}"'
    return (f"DROP DATABASE {name}", f"DROP ROLE {name}")


def verifier(password: str) -> str:
    """What PostgreSQL keeps of a password (scram-sha-256)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored = hashlib.sha256(client).digest()
    salt64, stored64, server64 = (base64.b64encode(x).decode() for x in (salt, stored, server))
    return f"SCRAM-SHA-256${_ROUNDS}:{salt64}${stored64}:{server64}"

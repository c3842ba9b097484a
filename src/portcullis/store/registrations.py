"""Registration entries and join tokens: the ``Registrations`` port over SQL."""

from __future__ import annotations

from sqlalchemy import Engine, delete, insert, select

from portcullis.core.ports import Entry
from portcullis.core.principal import PrincipalKind
from portcullis.store.dialect import writing
from portcullis.store.tables import ENTRIES, JOIN_TOKENS
from portcullis.store.versions import count, version


class SqlRegistrations:
    """An adapter of ``core.ports.Registrations``. Every method blocks: call it on a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = writing(engine)

    def version(self) -> int:
        """A number that grows with every change of the entries."""
        with self._engine.connect() as connection:
            return version(connection, ENTRIES)

    def entries(self) -> tuple[Entry, ...]:
        """All entries, the oldest first."""
        query = select(ENTRIES).order_by(ENTRIES.c.created_at, ENTRIES.c.id)
        with self._engine.connect() as connection:
            return tuple(
                Entry(
                    id=row.id,
                    kind=PrincipalKind(row.kind),
                    principal=row.principal,
                    selectors=tuple(row.selectors),
                    ttl_seconds=row.ttl_seconds,
                    created_at=row.created_at,
                )
                for row in connection.execute(query)
            )

    def add(self, entry: Entry) -> None:
        """Add an entry; its id is new."""
        row = {
            "id": entry.id,
            "kind": entry.kind.value,
            "principal": entry.principal,
            "selectors": list(entry.selectors),
            "ttl_seconds": entry.ttl_seconds,
            "created_at": entry.created_at,
        }
        with self._writing.begin() as connection:
            connection.execute(insert(ENTRIES).values(row))
            count(connection, ENTRIES)

    def remove(self, entry_id: str) -> bool:
        """Remove an entry; False for an unknown one."""
        with self._writing.begin() as connection:
            found = connection.execute(delete(ENTRIES).where(ENTRIES.c.id == entry_id)).rowcount
            if found:
                count(connection, ENTRIES)
        return found == 1

    def join(
        self, digest: bytes, kind: PrincipalKind, principal_id: str, expires_at: float
    ) -> None:
        """Keep the SHA-256 of a join token."""
        row = {
            "digest": digest,
            "kind": kind.value,
            "principal": principal_id,
            "expires_at": expires_at,
        }
        with self._writing.begin() as connection:
            connection.execute(insert(JOIN_TOKENS).values(row))

    def joining(self, digest: bytes, now: float) -> tuple[PrincipalKind, str] | None:
        """Whom a join token stands for that is good, or None."""
        query = select(JOIN_TOKENS).where(
            JOIN_TOKENS.c.digest == digest, JOIN_TOKENS.c.expires_at > now
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (PrincipalKind(row.kind), row.principal)

    def joined(self, digest: bytes, now: float) -> tuple[PrincipalKind, str] | None:
        """Consume a join token: whom it stands for, or None (unknown, used, past its time)."""
        consume = delete(JOIN_TOKENS).where(JOIN_TOKENS.c.digest == digest).returning(JOIN_TOKENS)
        with self._writing.begin() as connection:
            row = connection.execute(consume).one_or_none()
            connection.execute(delete(JOIN_TOKENS).where(JOIN_TOKENS.c.expires_at <= now))
        if row is None or row.expires_at <= now:
            return None
        return PrincipalKind(row.kind), row.principal

    def forget(self, kind: PrincipalKind, principal_id: str) -> None:
        """Make a principal's join tokens useless."""
        change = delete(JOIN_TOKENS).where(
            JOIN_TOKENS.c.kind == kind.value, JOIN_TOKENS.c.principal == principal_id
        )
        with self._writing.begin() as connection:
            connection.execute(change)

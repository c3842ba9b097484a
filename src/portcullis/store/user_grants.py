"""What users granted at upstreams: the ``Grants`` port over SQL.

A refresh token is encrypted with AES-256-GCM under the content key of its user, for its own row
and version; no name of a user stands in a row. Whoever destroys the user's key (``portcullis audit
erase``) has destroyed the grant.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from portcullis.audit.subjects import SubjectKeys
from portcullis.core.errors import Problem
from portcullis.core.grants import Grant, Holding, Link
from portcullis.core.ports import Sealer
from portcullis.core.secret import Secret
from portcullis.store.dialect import writing
from portcullis.store.sealed import forget_plain
from portcullis.store.tables_grants import CONNECT_LINKS, USER_GRANTS, USER_TOKENS

_NONCE: Final = 12
_MOST_LINKS: Final = 4096
"""How many links may wait at once; more are refused."""

log = structlog.get_logger(__name__)

_encode: Final = msgspec.msgpack.Encoder().encode


class _Inside(msgspec.Struct, frozen=True, array_like=True):
    """What is sealed of a grant."""

    user: str
    token: str
    account: str = ""
    issuer: str = ""

    def __repr__(self) -> str:
        return "_Inside(...)"


_inside: Final = msgspec.msgpack.Decoder(_Inside).decode
_link: Final = msgspec.msgpack.Decoder(Link).decode


def granted(engine: Engine) -> bool:
    """Whether there is any grant, or what looks like one."""
    with engine.connect() as connection:
        return connection.execute(select(USER_GRANTS.c.id).limit(1)).first() is not None


class SqlGrants:
    """An adapter of ``core.grants.Grants``. ``keys`` are those that all processes share."""

    def __init__(self, engine: Engine, keys: SubjectKeys, sealer: Sealer) -> None:
        self._engine = engine
        self._writing = writing(engine, "user_grants")
        self._keys = keys
        self._sealer = sealer

    def find(self, holding: Holding) -> tuple[Grant, Secret] | None:
        """See the port."""
        with self._reading() as connection:
            row = self._row(connection, holding)
        found = None if row is None else self._opened(row)
        return None if found is None or found[1] is None else (found[0], found[1])

    def put(self, grant: Grant, token: Secret) -> str:
        """See the port."""
        subject = self._keys.shared(_subject(grant.holding.user))
        row = {
            "id": grant.id,
            "upstream": grant.holding.upstream,
            "application": grant.holding.application,
            "handle": subject.handle,
            "scopes": list(grant.scopes),
            "created_at": grant.created_at,
            "refreshed_at": grant.refreshed_at,
            "version": grant.version,
            "claimed_until": 0.0,
            "sealed": _sealed(subject.content, grant, token),
        }
        with self._changing() as connection:
            before = self._row(connection, grant.holding)
            if before is not None:
                connection.execute(delete(USER_GRANTS).where(USER_GRANTS.c.id == before["id"]))
            connection.execute(insert(USER_GRANTS).values(row))
        self._tidy()
        return "" if before is None else str(before["id"])

    def claim(self, grant_id: str, version: int, now: float, until: float) -> bool:
        """See the port."""
        row = USER_GRANTS.c
        free = (row.id == grant_id, row.version == version, row.claimed_until <= now)
        with self._changing() as connection:
            done = connection.execute(update(USER_GRANTS).where(*free).values(claimed_until=until))
        return done.rowcount == 1

    def renew(self, grant: Grant, token: Secret | None, now: float) -> bool:
        """See the port. Without a token the one before stays good."""
        row = USER_GRANTS.c
        values: dict[str, Any] = {"claimed_until": 0.0, "refreshed_at": now}
        if token is not None:
            key = self._keys.find(self._keys.handle(_subject(grant.holding.user)))
            if key is None:
                return False
            following = msgspec.structs.replace(grant, version=grant.version + 1)
            values |= {
                "version": following.version,
                "sealed": _sealed(key.content, following, token),
            }
        own = (row.id == grant.id, row.version == grant.version)
        with self._changing() as connection:
            done = connection.execute(update(USER_GRANTS).where(*own).values(values))
        if token is not None:
            self._tidy()
        return done.rowcount == 1

    def remove(self, grant_id: str) -> tuple[Grant, Secret | None] | None:
        """See the port."""
        own = USER_GRANTS.c.id == grant_id
        with self._changing() as connection:
            row = connection.execute(select(USER_GRANTS).where(own)).mappings().one_or_none()
            connection.execute(delete(USER_GRANTS).where(own))
        self._tidy()
        return None if row is None else self._opened(row)

    def all(self, upstream: str = "", application: str = "", user: str = "") -> tuple[Grant, ...]:
        """See the port; the oldest first, without those that were altered."""
        row = USER_GRANTS.c
        query = select(USER_GRANTS).order_by(row.created_at, row.id)
        if upstream:
            query = query.where(row.upstream == upstream)
        if application:
            query = query.where(row.application == application)
        if user:
            query = query.where(row.handle == self._keys.handle(_subject(user)))
        with self._reading() as connection:
            rows = connection.execute(query).mappings().all()
        found = []
        for one in rows:
            try:
                opened = self._opened(one)
            except Problem as problem:  # it must not stand in the way of the others
                log.warning("grant_not_listed", grant=one["id"], code=problem.code)
                continue
            if opened is not None:
                found.append(opened[0])
        return tuple(found)

    def offer(self, digest: str, link: Link, now: float) -> None:
        """See the port. Raises Problem PC5006 when too many wait."""
        document = self._sealer.seal(_encode(link), _links(digest))
        row = {"digest": digest, "expires_at": link.expires_at, "document": document}
        with self._changing() as connection:
            connection.execute(delete(CONNECT_LINKS).where(CONNECT_LINKS.c.expires_at <= now))
            waiting = connection.execute(select(CONNECT_LINKS.c.digest).limit(_MOST_LINKS)).all()
            if len(waiting) >= _MOST_LINKS:
                raise Problem("PC5006", "too many links wait to be followed")
            connection.execute(insert(CONNECT_LINKS).values(row))

    def offered(self, digest: str, now: float) -> Link | None:
        """See the port."""
        with self._reading() as connection:
            return self._offered(connection, digest, now)

    def taken(self, digest: str, now: float) -> Link | None:
        """See the port."""
        with self._changing() as connection:
            found = self._offered(connection, digest, now)
            gone = delete(CONNECT_LINKS).where(CONNECT_LINKS.c.digest == digest)
            connection.execute(gone)
        return found

    def vouch(self, session: str, user: str, id_token: Secret, until: float) -> None:
        """See the port."""
        subject = self._keys.shared(_subject(user))
        sealed = _encrypt(subject.content, id_token.reveal().encode(), _vouched(session))
        row = {
            "session": session,
            "expires_at": until,
            "handle": subject.handle,
            "sealed": sealed,
        }
        with self._changing() as connection:
            connection.execute(insert(USER_TOKENS).values(row))

    def vouched(self, session: str, user: str, now: float) -> Secret | None:
        """See the port."""
        row = USER_TOKENS.c
        with self._reading() as connection:
            query = select(USER_TOKENS).where(row.session == session, row.expires_at > now)
            found = connection.execute(query).mappings().one_or_none()
        handle = self._keys.handle(_subject(user))
        if found is None or found["handle"] != handle:
            return None
        key = self._keys.find(handle)
        if key is None:
            return None
        return Secret(_decrypt(key.content, found["sealed"], _vouched(session)).decode())

    def forget(self, now: float) -> None:
        """See the port."""
        with self._changing() as connection:
            connection.execute(delete(CONNECT_LINKS).where(CONNECT_LINKS.c.expires_at <= now))
            connection.execute(delete(USER_TOKENS).where(USER_TOKENS.c.expires_at <= now))
            for table in (USER_GRANTS, USER_TOKENS):
                handles = connection.execute(select(table.c.handle).distinct()).scalars().all()
                for handle in handles:
                    if not self._keys.has(handle):
                        connection.execute(delete(table).where(table.c.handle == handle))
        self._tidy()

    def _row(self, connection: Connection, holding: Holding) -> Any:
        row = USER_GRANTS.c
        query = select(USER_GRANTS).where(
            row.upstream == holding.upstream,
            row.application == holding.application,
            row.handle == self._keys.handle(_subject(holding.user)),
        )
        return connection.execute(query).mappings().one_or_none()

    def _opened(self, row: Any) -> tuple[Grant, Secret | None] | None:
        """A row's grant; None when its user's key was destroyed."""
        key = self._keys.find(row["handle"])
        if key is None:
            return None
        text = _decrypt(key.content, row["sealed"], _place(row["id"], row["version"]))
        try:
            inside = _inside(text)
        except msgspec.MsgspecError:
            raise _altered() from None
        holding = Holding(
            upstream=row["upstream"], application=row["application"], user=inside.user
        )
        grant = Grant(
            id=row["id"],
            holding=holding,
            scopes=tuple(row["scopes"]),
            created_at=row["created_at"],
            account=inside.account,
            issuer=inside.issuer,
            version=row["version"],
            refreshed_at=row["refreshed_at"],
        )
        return grant, Secret(inside.token)

    def _offered(self, connection: Connection, digest: str, now: float) -> Link | None:
        row = CONNECT_LINKS.c
        query = select(row.document).where(row.digest == digest, row.expires_at > now)
        document = connection.execute(query).scalar_one_or_none()
        if document is None:
            return None
        return _link(self._sealer.open(document, _links(digest)))

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _usable(self._engine.connect) as connection:
            yield connection

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with _usable(self._writing.begin) as connection:
            yield connection

    def _tidy(self) -> None:
        """Leave nothing of tokens that are gone in the write-ahead log."""
        try:
            forget_plain(self._engine)
        except SQLAlchemyError:
            raise _unusable() from None


@contextmanager
def _usable(opened: Callable[[], Any]) -> Iterator[Connection]:
    try:
        with opened() as connection:
            yield connection
    except SQLAlchemyError:
        raise _unusable() from None


def _sealed(key: bytes, grant: Grant, token: Secret) -> bytes:
    inside = _Inside(grant.holding.user, token.reveal(), grant.account, grant.issuer)
    return _encrypt(key, _encode(inside), _place(grant.id, grant.version))


def _encrypt(key: bytes, value: bytes, place: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, value, place)


def _decrypt(key: bytes, sealed: bytes, place: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], place)
    except (InvalidTag, ValueError):
        raise _altered() from None


def _subject(user: str) -> str:
    return f"user:{user}"


def _place(grant_id: str, version: int) -> bytes:
    return f"user_grants\0{grant_id}\0{version}".encode()


def _vouched(session: str) -> bytes:
    return f"user_tokens\0{session}".encode()


def _links(digest: str) -> str:
    return f"connect_links:{digest}"


def _altered() -> Problem:
    return Problem("PC6005", "what is kept of a user's grant was altered")


def _unusable() -> Problem:
    return Problem("PC9002", "what users granted cannot be read or written")

"""Breakers that are not closed: in memory for the line, durable, and the same for all gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
import structlog
from sqlalchemy import Connection, Delete, Engine, Row, Select, Update, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.breaker import Breaker, Key, Scope, State, Verb, after
from portcullis.core.errors import Problem
from portcullis.store.dialect import Version, data_version, unseen, upsert, writing
from portcullis.store.tables import BREAKERS

log = structlog.get_logger(__name__)

_T = TypeVar("_T")
_S = TypeVar("_S", Select[Any], Update, Delete)
_WIDTH: Final = 200
"""The longest reason that is kept, in characters."""
_COLUMNS = BREAKERS.c


class SqlBreakers:
    """Implements ``core.breaker_ports.BreakerBook`` over SQL. Use it from one event loop.

    What opens or closes does so here before it is written; what opens stays open when the write
    fails, until this process ends, and what closes opens again.
    """

    def __init__(self, engine: Engine, gateway: str) -> None:
        self._engine = engine
        self._writing = writing(engine, "breakers")
        self._gateway = gateway
        self._known: dict[Key, Breaker] = {}
        self._held: dict[Key, Breaker] = {}
        self._subscribers: list[Callable[[Key], None]] = []
        self._changes = 0
        self._turn = asyncio.Lock()

    @property
    def quiet(self) -> bool:
        """See BreakerBook."""
        return not (self._known or self._held)

    def get(self, key: Key) -> Breaker | None:
        """See BreakerBook."""
        return self._held.get(key) or self._known.get(key)

    def count(self, scope: Scope, state: State) -> int:
        """See BreakerBook."""
        known = (self._known | self._held).values()
        return sum(one.key.scope == scope and one.state is state for one in known)

    async def open(self, breaker: Breaker) -> bool:
        """See BreakerBook."""
        key = breaker.key
        if self.get(key) is None:
            self._held[key] = breaker
        stored, new = await self._run(self._opened, breaker)
        self._known[key] = stored
        self._held.pop(key, None)
        return new

    async def probe(self, key: Key, now: float, until: float) -> bool:
        """See BreakerBook."""
        if key in self._held:
            await self.open(self._held[key])  # nobody else knows of it yet
        found = await self._run(self._probed, key, now, until)
        if found is not None:
            self._known[key] = found
            self._held.pop(key, None)
        return found is not None

    async def release(self, key: Key, now: float) -> None:
        """See BreakerBook."""
        found = await self._run(self._released, key, now)
        if found is not None:
            self._known[key] = found

    async def failed(self, breaker: Breaker) -> bool:
        """See BreakerBook."""
        found = await self._run(self._reopened, breaker)
        if found is not None:
            self._known[breaker.key] = found
        return found is not None

    async def close(self, key: Key) -> bool:
        """See BreakerBook."""
        was = self.get(key)
        self._known.pop(key, None)
        held = self._held.pop(key, None)
        try:
            found = await self._run(self._closed, key)
        except Problem:
            if was is not None:
                self._held[key] = was
            raise
        self._known.pop(key, None)
        self._tell(key)
        return found or held is not None

    async def all(self) -> tuple[Breaker, ...]:
        """See BreakerBook."""
        stored = await self._run(self._all)
        mine = [one for one in self._held.values() if one.key not in stored]
        return tuple(sorted((*stored.values(), *mine), key=lambda one: one.key))

    def subscribe(self, changed: Callable[[Key], None]) -> None:
        """See BreakerBook."""
        self._subscribers.append(changed)

    async def watch(self, seconds: float = 0.1) -> None:
        """See BreakerBook."""
        seen = unseen()
        connection = await asyncio.to_thread(self._engine.connect)
        reading: asyncio.Future[tuple[Version, dict[Key, Breaker] | None]] | None = None
        try:
            while True:
                before = self._changes
                reading = asyncio.ensure_future(asyncio.to_thread(_changes, connection, seen))
                try:
                    version, loaded = await asyncio.shield(reading)
                except Exception:  # noqa: BLE001 - it is read again; the kill feed is stale then
                    seen = unseen()
                else:
                    if loaded is not None and before == self._changes:
                        seen = version
                        self._adopt(loaded)
                await asyncio.sleep(seconds)
        finally:
            if reading is not None:
                await asyncio.wait([reading])  # its thread still uses the connection
            connection.close()

    async def begin(self) -> None:
        """See BreakerBook."""
        await self._run(self._forget)
        self._adopt(await self._run(self._all))

    def _adopt(self, loaded: dict[Key, Breaker]) -> None:
        was, self._known = self._known, loaded
        for key in was.keys() | loaded.keys():
            if was.get(key) != loaded.get(key):
                self._tell(key)

    def _tell(self, key: Key) -> None:
        for changed in self._subscribers:
            try:
                changed(key)
            except Exception:
                log.exception("breakers_subscriber_failed")

    async def _run(self, work: Callable[..., _T], *arguments: object) -> _T:
        self._changes += 1
        try:
            async with self._turn:  # who waits for SQLite's lock sleeps, and longer each time
                return await asyncio.to_thread(work, *arguments)
        except SQLAlchemyError:
            raise Problem("PC9002", "the breakers cannot be read or written") from None
        finally:
            self._changes += 1

    def _opened(self, breaker: Breaker) -> tuple[Breaker, bool]:
        with self._writing.begin() as connection:
            row = _row(breaker)
            new = upsert(connection, BREAKERS).values(row).on_conflict_do_nothing()
            if connection.execute(new.returning(_COLUMNS.scope)).first() is not None:
                return breaker, True
            found = _one(connection, breaker.key)
            if found.state is not State.HALF_OPEN:
                return found, False
            return _moved(connection, found, Verb.TRIP, breaker), True

    def _probed(self, key: Key, now: float, until: float) -> Breaker | None:
        with self._writing.begin() as connection:
            found = _find(connection, key)
            if found is None or found.until > now:
                return None
            lease = msgspec.structs.replace(found, since=now, until=until)
            return _moved(connection, found, Verb.PROBE, lease)

    def _released(self, key: Key, now: float) -> Breaker | None:
        with self._writing.begin() as connection:
            found = _find(connection, key)
            if found is None or found.state is not State.HALF_OPEN:
                return None
            free = msgspec.structs.replace(found, until=now)
            connection.execute(_where(update(BREAKERS), key).values(until=now))
            return free

    def _reopened(self, breaker: Breaker) -> Breaker | None:
        with self._writing.begin() as connection:
            found = _find(connection, breaker.key)
            if found is None or found.state is not State.HALF_OPEN:
                return None
            return _moved(connection, found, Verb.FAIL, breaker)

    def _closed(self, key: Key) -> bool:
        with self._writing.begin() as connection:
            return connection.execute(_where(delete(BREAKERS), key)).rowcount == 1

    def _forget(self) -> None:
        with self._writing.begin() as connection:
            connection.execute(delete(BREAKERS).where(_COLUMNS.gateway == self._gateway))

    def _all(self) -> dict[Key, Breaker]:
        with self._engine.connect() as connection:
            return _load(connection)


def _moved(connection: Connection, found: Breaker, verb: Verb, new: Breaker) -> Breaker:
    new = msgspec.structs.replace(new, state=after(found.state, verb))
    connection.execute(_where(update(BREAKERS), found.key).values(_row(new)))
    return new


def _find(connection: Connection, key: Key) -> Breaker | None:
    row = connection.execute(_where(select(BREAKERS), key)).one_or_none()
    return None if row is None else _breaker(row)


def _one(connection: Connection, key: Key) -> Breaker:
    return _breaker(connection.execute(_where(select(BREAKERS), key)).one())


def _load(connection: Connection) -> dict[Key, Breaker]:
    found = [_breaker(row) for row in connection.execute(select(BREAKERS))]
    return {one.key: one for one in found}


def _changes(connection: Connection, seen: Version) -> tuple[Version, dict[Key, Breaker] | None]:
    """The database's version and, unless it is ``seen``, what is in it."""
    with connection.begin():
        version = data_version(connection)
        return version, None if version == seen else _load(connection)


def _where(statement: _S, key: Key) -> _S:
    return statement.where(
        _COLUMNS.scope == key.scope,
        _COLUMNS.subject == key.subject,
        _COLUMNS.gateway == key.gateway,
        _COLUMNS.agent == key.agent,
    )


def _row(breaker: Breaker) -> dict[str, Any]:
    row = msgspec.structs.asdict(breaker)
    key = msgspec.structs.asdict(row.pop("key"))
    return key | row | {"state": breaker.state.value, "reason": breaker.reason[:_WIDTH]}


def _breaker(row: Row[Any]) -> Breaker:
    return Breaker(
        key=Key(scope=row.scope, subject=row.subject, gateway=row.gateway, agent=row.agent),
        state=State(row.state),
        reason=row.reason,
        since=row.since,
        until=row.until,
        times=row.times,
    )

"""Who is cut off, for the gates of one machine: ``LocalKillFeed``, in memory and durable."""

from __future__ import annotations

import asyncio
from typing import Final, Literal, TypeAlias

from sqlalchemy import Connection, Engine, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.ports import Clock, Directory
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.store.tables import CUTS, PRINCIPALS

Scope: TypeAlias = Literal["agent", "application", "operator", "session", "credential"]
_Key: TypeAlias = tuple[str, str]
_Loaded: TypeAlias = tuple[dict[_Key, str], frozenset[_Key]]

DISABLED: Final = "the principal is disabled"


class LocalKillFeed:
    """An adapter of ``core.ports.KillFeed``, and the one place where principals are disabled.

    A cut acts in memory before it is written, so that a database that fails cannot delay it; a
    cut is lifted only after that is durable. ``watch`` follows what other processes on the same
    database do. The feed is stale while its tables cannot be read: then the gate denies
    everything. Use it from one event loop.
    """

    def __init__(self, engine: Engine, directory: Directory, clock: Clock) -> None:
        self._engine = engine
        self._directory = directory
        self._clock = clock
        self._cuts: dict[_Key, str] = {}
        self._disabled: frozenset[_Key] = frozenset()
        self._unwritten: dict[_Key, str] = {}
        self._changes = 0
        self._stale = True
        try:
            with engine.connect() as connection:
                self._cuts, self._disabled = _load(connection)
        except SQLAlchemyError:
            return
        self._stale = False

    def stale(self) -> bool:
        """Whether the feed may have missed something."""
        return self._stale

    def reason(self, principal: Principal, session: Session | None) -> str | None:
        """Why the principal, its credential or its session is cut off, or None."""
        if not (self._cuts or self._disabled or self._unwritten):
            return None
        keys = [(principal.kind.value, principal.id), ("credential", principal.credential)]
        if principal.session is not None:
            keys.append(("session", principal.session))
        if session is not None:
            keys += [
                ("session", session.id),
                ("agent", session.agent),
                ("application", session.application),
            ]
        for key in keys:
            found = self._cuts.get(key) or self._unwritten.get(key)
            if found is not None:
                return found
            if key in self._disabled:
                return DISABLED
        return None

    async def cut(self, scope: Scope, value: str, reason: str) -> None:
        """Cut off a principal, a session or a credential, from the next request and chunk on.

        ``reason`` is shown to the one who is cut off and stands in the log.
        """
        key = (scope, value)
        self._unwritten[key] = reason
        await asyncio.to_thread(self._write, scope, value, reason)
        self._cuts[key] = reason
        self._unwritten.pop(key, None)
        self._changes += 1

    async def lift(self, scope: Scope, value: str) -> bool:
        """Take a cut back; False when there was none."""
        found = await asyncio.to_thread(self._erase, scope, value)
        self._cuts.pop((scope, value), None)
        self._changes += 1
        return self._unwritten.pop((scope, value), None) is not None or found

    async def set_state(self, kind: PrincipalKind, principal_id: str, state: str) -> bool:
        """Disable or enable a registered principal; False when it is unknown."""
        key = (kind.value, principal_id)
        if state == "disabled":
            self._unwritten.setdefault(key, DISABLED)
        found = await asyncio.to_thread(self._directory.set_state, kind, principal_id, state)
        if found and state == "disabled":
            self._disabled |= {key}
        else:
            self._disabled -= {key}
        if self._unwritten.get(key) == DISABLED:
            del self._unwritten[key]
        self._changes += 1
        return found

    async def watch(self, seconds: float = 0.1) -> None:
        """Follow other processes' changes, at most ``seconds`` behind, until cancelled."""
        seen = -1
        connection = await asyncio.to_thread(self._engine.connect)
        reading: asyncio.Future[tuple[int, _Loaded | None]] | None = None
        try:
            while True:
                before = self._changes
                reading = asyncio.ensure_future(asyncio.to_thread(_changed, connection, seen))
                try:
                    version, loaded = await asyncio.shield(reading)
                except Exception:  # noqa: BLE001 - whatever it was, something may be missed
                    self._stale, seen = True, -1
                else:
                    if loaded is not None and before == self._changes:
                        self._cuts, self._disabled = loaded
                        seen = version
                    self._stale = False
                await asyncio.sleep(seconds)
        finally:
            if reading is not None:
                await asyncio.wait([reading])  # its thread still uses the connection
            connection.close()

    def _write(self, scope: str, value: str, reason: str) -> None:
        row = {"scope": scope, "value": value, "reason": reason, "made_at": self._clock.now()}
        with self._engine.begin() as connection:
            connection.execute(delete(CUTS).where(CUTS.c.scope == scope, CUTS.c.value == value))
            connection.execute(insert(CUTS).values(row))

    def _erase(self, scope: str, value: str) -> bool:
        change = delete(CUTS).where(CUTS.c.scope == scope, CUTS.c.value == value)
        with self._engine.begin() as connection:
            return connection.execute(change).rowcount == 1


def _load(connection: Connection) -> _Loaded:
    cuts = {(row.scope, row.value): row.reason for row in connection.execute(select(CUTS))}
    query = select(PRINCIPALS.c.kind, PRINCIPALS.c.id).where(PRINCIPALS.c.state != "active")
    return cuts, frozenset((row.kind, row.id) for row in connection.execute(query))


def _changed(connection: Connection, seen: int) -> tuple[int, _Loaded | None]:
    """The database's version (SQLite's data_version) and, unless it is ``seen``, what is in it."""
    with connection.begin():
        version: int = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
        return version, None if version == seen else _load(connection)

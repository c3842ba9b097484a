"""Who is cut off, for the gates of one machine: ``LocalKillFeed``, in memory and durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

import msgspec
import structlog
from sqlalchemy import Connection, Engine, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.lifecycle import State
from portcullis.core.ports import Clock, CutScope, Directory, PrincipalRecord
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.store.tables import CUTS, PRINCIPALS

log = structlog.get_logger(__name__)

_Key: TypeAlias = tuple[str, str]
_Value = TypeVar("_Value", str, float)

ROTATED: Final = "its credentials were rotated"


def why(state: State) -> str:
    """The reason that a principal hears which is not active."""
    return f"the principal is {state}"


class _Known(msgspec.Struct):
    """What the database holds: cuts, principals that are not active, times of rotation.

    And who is registered, and whom identities of other trust domains stand for.
    """

    registered: set[_Key] = set()
    cuts: dict[_Key, str] = {}
    states: dict[_Key, str] = {}
    rotated: dict[_Key, float] = {}
    named: dict[str, tuple[PrincipalKind, str]] = {}

    def cutting(self) -> tuple[object, ...]:
        """The part of it that cuts somebody off."""
        return self.cuts, self.states, self.rotated


class LocalKillFeed:
    """An adapter of ``core.ports.KillFeed``, and the one place where principals are cut off.

    What cuts somebody off acts in memory before it is written, so that a database that fails
    cannot delay it, and it stays when the write fails; it is taken back only after that is
    durable. ``watch`` follows what other processes on the same database do. The feed is stale
    while its tables cannot be read: then the gate denies everything. Use it from one event loop.
    ``changing`` is held by whoever reads a principal's record to write it back.
    """

    def __init__(self, engine: Engine, directory: Directory, clock: Clock) -> None:
        self._engine = engine
        self._directory = directory
        self._clock = clock
        self.changing = asyncio.Lock()
        self._known = _Known()
        self._held = _Known()  # acts already, and the database may not have it
        self._reasons: dict[_Key, str] = {}
        self._rotated: dict[_Key, float] = {}
        self._subscribers: list[Callable[[], None]] = []
        self._changes = 0
        self._stale = True
        try:
            with engine.connect() as connection:
                self._known = _load(connection)
        except SQLAlchemyError:
            return
        self._merge()
        self._stale = False

    def stale(self) -> bool:
        """Whether the feed may have missed something."""
        return self._stale

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called, on the loop and at once, after every change."""
        self._subscribers.append(changed)

    def reason(self, principal: Principal, session: Session | None) -> str | None:
        """Why the principal, its credential, those it acts for or its session is cut off."""
        if not (self._reasons or self._rotated):
            return None
        own = [(principal.kind.value, principal.id)]
        own += [("agent", delegator) for delegator in principal.chain]
        for key in (*own, *_keys(principal, session)):
            found = self._reasons.get(key)
            if found is not None:
                return found
        for key in own if self._rotated else ():
            if principal.issued_at < self._rotated.get(key, 0.0):
                return ROTATED
        return None

    def registered(self, kind: PrincipalKind, principal_id: str) -> bool:
        """Whether there is such a principal, in whatever state, as last seen."""
        return (kind.value, principal_id) in self._known.registered

    def named(self, spiffe_id: str) -> tuple[PrincipalKind, str] | None:
        """The principal that an identity of another trust domain stands for, as last seen."""
        return self._known.named.get(spiffe_id)

    def hold(self, kind: PrincipalKind, principal_id: str, state: State) -> Callable[[], None]:
        """Cut a principal off at once, in memory, until ``put`` makes its new state durable.

        What is returned takes it back, for when the change turns out not to be one; what an
        earlier change holds stays.
        """
        key = (kind.value, principal_id)
        return self._hold(self._held.states, key, why(state))

    def outdate(self, kind: PrincipalKind, principal_id: str, at: float) -> Callable[[], None]:
        """The same for a principal's credentials made before ``at``, until ``put``."""
        key = (kind.value, principal_id)
        return self._hold(self._held.rotated, key, max(at, self._held.rotated.get(key, 0.0)))

    async def create(self, record: PrincipalRecord) -> None:
        """Register a principal, durably. Raises Problem PC2009 when it exists."""
        await asyncio.to_thread(self._directory.create, record)
        key = (record.kind.value, record.id)
        self._known.registered.add(key)
        if record.spiffe_id:
            self._known.named[record.spiffe_id] = record.kind, record.id
        self._changed(key)

    async def put(self, record: PrincipalRecord) -> bool:
        """Make a principal's record durable, then act on it; False when it is unknown."""
        found = await asyncio.to_thread(self._directory.put, record)
        if found:
            self._adopt(record)
        return found

    async def cut(self, scope: CutScope, value: str, reason: str) -> None:
        """Cut off a principal, a session or a credential, from the next request and chunk on.

        ``reason`` is shown to the one who is cut off and stands in the log.
        """
        self.sever(scope, value, reason)
        await asyncio.to_thread(self._write, scope, value, reason)
        self._known.cuts[scope, value] = reason
        self._held.cuts.pop((scope, value), None)
        self._changed((scope, value))

    def sever(self, scope: CutScope, value: str, reason: str) -> None:
        """The first half of ``cut``: at once, in memory."""
        self._held.cuts[scope, value] = reason
        self._changed((scope, value))

    async def lift(self, scope: CutScope, value: str) -> bool:
        """Take a cut back; False when there was none."""
        key = (scope, value)
        found = await asyncio.to_thread(self._erase, scope, value)
        self._known.cuts.pop(key, None)
        found = self._held.cuts.pop(key, None) is not None or found
        self._changed(key)
        return found

    async def watch(self, seconds: float = 0.1) -> None:
        """Follow other processes' changes, at most ``seconds`` behind, until cancelled."""
        seen = -1
        connection = await asyncio.to_thread(self._engine.connect)
        reading: asyncio.Future[tuple[int, _Known | None]] | None = None
        try:
            while True:
                before = self._changes
                reading = asyncio.ensure_future(asyncio.to_thread(_changes, connection, seen))
                try:
                    version, loaded = await asyncio.shield(reading)
                except Exception:  # noqa: BLE001 - whatever it was, something may be missed
                    seen = -1
                    self._is_stale(stale=True)
                else:
                    if loaded is not None and before == self._changes:
                        seen = version
                        was, self._known = self._known, loaded
                        if loaded.cutting() != was.cutting():
                            self._merge()
                            self._tell()
                    self._is_stale(stale=False)
                await asyncio.sleep(seconds)
        finally:
            if reading is not None:
                await asyncio.wait([reading])  # its thread still uses the connection
            connection.close()

    def _hold(self, held: dict[_Key, _Value], key: _Key, value: _Value) -> Callable[[], None]:
        before = held.get(key)
        held[key] = value
        self._changed(key)

        def release() -> None:
            if held.get(key) != value:
                return
            if before is None:
                del held[key]
            else:
                held[key] = before
            self._changed(key)

        return release

    def _adopt(self, record: PrincipalRecord) -> None:
        key = (record.kind.value, record.id)
        was = self._known.states.pop(key, None)
        if record.state is not State.ACTIVE:
            self._known.states[key] = why(record.state)
        if was is not None or record.state is not State.ACTIVE:
            self._held.states.pop(key, None)
        if record.rotated_at:
            self._known.rotated[key] = record.rotated_at
        if self._held.rotated.get(key, record.rotated_at) <= record.rotated_at:
            self._held.rotated.pop(key, None)
        self._changed(key)

    def _changed(self, key: _Key) -> None:
        """Bring what is asked up to date, and tell."""
        held, known = self._held, self._known
        found = (
            held.cuts.get(key)
            or known.cuts.get(key)
            or held.states.get(key)
            or known.states.get(key)
        )
        if found is None:
            self._reasons.pop(key, None)
        else:
            self._reasons[key] = found
        rotated = max(held.rotated.get(key, 0.0), known.rotated.get(key, 0.0))
        if rotated:
            self._rotated[key] = rotated
        else:
            self._rotated.pop(key, None)
        self._changes += 1
        self._tell()

    def _merge(self) -> None:
        held, known = self._held, self._known
        self._reasons = known.states | held.states | known.cuts | held.cuts
        self._rotated = dict(known.rotated)
        for key, at in held.rotated.items():
            self._rotated[key] = max(at, self._rotated.get(key, 0.0))

    def _is_stale(self, *, stale: bool) -> None:
        if self._stale != stale:
            self._stale = stale
            self._tell()

    def _tell(self) -> None:
        for changed in self._subscribers:
            try:
                changed()
            except Exception:
                log.exception("kill_feed_subscriber_failed")  # the others are told all the same

    def _write(self, scope: str, value: str, reason: str) -> None:
        row = {"scope": scope, "value": value, "reason": reason, "made_at": self._clock.now()}
        with self._engine.begin() as connection:
            connection.execute(delete(CUTS).where(CUTS.c.scope == scope, CUTS.c.value == value))
            connection.execute(insert(CUTS).values(row))

    def _erase(self, scope: str, value: str) -> bool:
        change = delete(CUTS).where(CUTS.c.scope == scope, CUTS.c.value == value)
        with self._engine.begin() as connection:
            return connection.execute(change).rowcount == 1


def _keys(principal: Principal, session: Session | None) -> list[_Key]:
    """What else can be cut off so that the principal is: its credentials and its session."""
    keys = [("credential", principal.credential)]
    if principal.svid:
        keys.append(("credential", f"svid:{principal.svid}"))
    if principal.session is not None:
        keys.append(("session", principal.session))
    if session is not None:
        keys += [
            ("session", session.id),
            ("agent", session.agent),
            ("application", session.application),
        ]
    return keys


def _load(connection: Connection) -> _Known:
    row = PRINCIPALS.c
    query = select(row.kind, row.id, row.state, row.rotated_at, row.spiffe_id)
    known = _Known(
        cuts={(cut.scope, cut.value): cut.reason for cut in connection.execute(select(CUTS))}
    )
    for found in connection.execute(query):
        key = (found.kind, found.id)
        known.registered.add(key)
        if found.state != State.ACTIVE.value:
            known.states[key] = why(State(found.state))
        if found.rotated_at:
            known.rotated[key] = found.rotated_at
        if found.spiffe_id:
            known.named[found.spiffe_id] = PrincipalKind(found.kind), found.id
    return known


def _changes(connection: Connection, seen: int) -> tuple[int, _Known | None]:
    """The database's version (SQLite's data_version) and, unless it is ``seen``, what is in it."""
    with connection.begin():
        version: int = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
        return version, None if version == seen else _load(connection)

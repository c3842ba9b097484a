"""Who is cut off, for the gates of one machine: ``LocalKillFeed``, in memory and durable."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, TypeVar

import structlog
from sqlalchemy import Engine, Table
from sqlalchemy.exc import SQLAlchemyError

from portcullis.core.feed import CutScope, IsolationScope, Kept, Relay, Standing, Told
from portcullis.core.lifecycle import State
from portcullis.core.ports import Clock, Directory, PrincipalRecord
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.store import killfeed_rows as rows
from portcullis.store.dialect import unseen
from portcullis.store.killfeed_memory import ROTATED, Standings
from portcullis.store.killfeed_rows import UNSAID, Key, Known, why
from portcullis.store.tables import CUTS, ISOLATIONS

__all__ = ["ROTATED", "LocalKillFeed", "why"]

log = structlog.get_logger(__name__)

PATIENCE: Final = 5.0
"""Seconds that a database has to answer."""

_Value = TypeVar("_Value", str, float)


class LocalKillFeed:
    """An adapter of ``core.ports.KillFeed``, and the one place where principals are cut off.

    What cuts somebody off acts in memory before it is written, so that a database that fails
    cannot delay it, and it stays when the write fails; it is taken back only after that is
    durable. What another process pushes here is a layer of its own beside what is held and what
    the database has. ``watch`` follows what other processes on the same database do. The feed is
    stale while its tables cannot be read, and while what feeds it (``lease``) is not fresh: then
    the gate denies everything. Use it from one event loop. ``changing`` is held by whoever reads a
    principal's record to write it back.
    """

    def __init__(self, engine: Engine, directory: Directory, clock: Clock) -> None:
        self._engine = engine
        self._directory = directory
        self._clock = clock
        self.changing = asyncio.Lock()
        self._writing = asyncio.Lock()  # what is said later is written later
        self._coming: Counter[tuple[str, Key]] = Counter()
        self._memory = Standings()
        self._roles: Callable[[], Collection[str]] | None = None
        self._fresh: Callable[[], bool] | None = None
        self._relay: Relay | None = None
        self._subscribers: list[Callable[[], None]] = []
        self._changes = 0
        self._stale = True
        try:
            with engine.connect() as connection:
                self._memory.known = rows.load(connection)
        except SQLAlchemyError:
            return
        self._memory.merge()
        self._stale = False

    def stale(self) -> bool:
        """Whether the feed may have missed something."""
        return self._stale or (self._fresh is not None and not self._fresh())

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called, on the loop and at once, after every change."""
        self._subscribers.append(changed)

    def by_role(
        self, roles_of: Callable[[str], str | None], roles: Callable[[], Collection[str]]
    ) -> None:
        """Take agents' roles from the policy in force: O(1), None for an agent without one.

        ``roles`` are those that it gives to anybody. Until then, cutting off a role cuts off every
        agent.
        """
        self._memory.roles_of = roles_of
        self._roles = roles

    def has_role(self, role: str) -> bool | None:
        """Whether the policy in force gives somebody this role; None where no policy is known."""
        return None if self._roles is None else role in self._roles()

    def policy_changed(self) -> None:
        """Agents may have other roles now: whoever is cut off by his is ended."""
        if self._memory.cut_roles:
            self._tell()

    def reason(self, principal: Principal, session: Session | None) -> str | None:
        """Why the principal, its credential, those it acts for or its session is cut off."""
        return self._memory.reason(principal, session)

    def isolated(self, principal: Principal, session: Session | None) -> str | None:
        """Why the agent, those it acts for or its session is isolated."""
        return self._memory.isolated(principal, session)

    def registered(self, kind: PrincipalKind, principal_id: str) -> bool:
        """Whether there is such a principal, in whatever state, as last seen."""
        return (kind.value, principal_id) in self._memory.known.registered

    def named(self, spiffe_id: str) -> tuple[PrincipalKind, str] | None:
        """The principal that an identity of another trust domain stands for, as last seen."""
        return self._memory.known.named.get(spiffe_id)

    def hold(self, kind: PrincipalKind, principal_id: str, state: State) -> Callable[[], None]:
        """Cut a principal off at once, in memory, until ``put`` makes its new state durable.

        What is returned takes it back, for when the change turns out not to be one; what an
        earlier change holds stays.
        """
        key = (kind.value, principal_id)
        return self._hold(self._memory.held.states, key, why(state))

    def outdate(self, kind: PrincipalKind, principal_id: str, at: float) -> Callable[[], None]:
        """The same for a principal's credentials made before ``at``, until ``put``."""
        key = (kind.value, principal_id)
        return self._hold(
            self._memory.held.rotated, key, max(at, self._memory.held.rotated.get(key, 0.0))
        )

    async def create(self, record: PrincipalRecord) -> None:
        """Register a principal, durably. Raises Problem PC2009 when it exists."""
        await asyncio.to_thread(self._directory.create, record)
        key = (record.kind.value, record.id)
        self._memory.known.registered.add(key)
        if record.spiffe_id:
            self._memory.known.named[record.spiffe_id] = record.kind, record.id
        self._changed(key)

    async def put(self, record: PrincipalRecord) -> bool:
        """Make a principal's record durable, then act on it; False when it is unknown."""
        found = await asyncio.to_thread(self._directory.put, record)
        if found:
            self._adopt(record)
        return found

    async def cut(self, scope: CutScope, value: str, reason: str, by: str = "") -> None:
        """Cut off a principal, a role, a session or a credential, from the next chunk on.

        ``reason`` is shown to the one who is cut off and stands in the log.
        """
        key = (scope, value)
        if self._memory.held.cuts.get(key) != (reason or UNSAID):  # it may be severed already
            self.sever(scope, value, reason)
        await self._keep(CUTS, key, reason, by)

    def sever(self, scope: CutScope, value: str, reason: str) -> None:
        """The first half of ``cut``: at once, in memory."""
        self._memory.held.cuts[scope, value] = reason or UNSAID
        self._changed((scope, value))

    async def lift(self, scope: CutScope, value: str) -> bool:
        """Take a cut back; False when there was none."""
        return await self._take_back(CUTS, (scope, value))

    async def isolate(self, scope: IsolationScope, value: str, reason: str, by: str = "") -> None:
        """Isolate an agent or a session, from the next request and chunk on; durable."""
        key = (scope, value)
        if self._memory.held.isolations.get(key) != (reason or UNSAID):
            self.confine(scope, value, reason)
        await self._keep(ISOLATIONS, key, reason, by)

    def confine(self, scope: IsolationScope, value: str, reason: str) -> None:
        """The first half of ``isolate``: at once, in memory."""
        self._memory.held.isolations[scope, value] = reason or UNSAID
        self._changed((scope, value))

    async def release(self, scope: IsolationScope, value: str) -> bool:
        """End an isolation; False when there was none."""
        return await self._take_back(ISOLATIONS, (scope, value))

    async def kept(self) -> tuple[Kept, ...]:
        """All cuts and isolations, the newest first; first what only this process's memory has."""
        held = self._memory.held
        try:
            stored = await asyncio.to_thread(rows.kept, self._engine)
        except SQLAlchemyError:
            log.exception("cuts_not_read")
            stored = ()
        durable = {(one.isolation, one.scope, one.value) for one in stored}
        only = [
            Kept(scope=scope, value=value, reason=reason, isolation=isolation, durable=False)
            for isolation, some in ((False, held.cuts), (True, held.isolations))
            for (scope, value), reason in some.items()
            if (isolation, scope, value) not in durable
        ]
        return (*only, *stored)

    def relay(self, relay: Relay | None) -> None:
        """Have every change taken to other processes from now on; None: no more."""
        self._relay = relay

    def standings(self) -> tuple[Standing, ...]:
        """All that stands against anybody."""
        return self._memory.standings()

    async def acknowledged(self, seconds: float) -> tuple[Told, ...]:
        """What other processes made of all that changed so far, once they did or time is over."""
        return () if self._relay is None else await self._relay.acknowledged(seconds)

    def lease(self, fresh: Callable[[], bool] | None) -> None:
        """Be stale, from now on, whenever ``fresh`` is not; it is asked on every call."""
        self._fresh = fresh
        self._tell()

    def lapsed(self) -> None:
        """What ``fresh`` says has changed."""
        self._tell()

    def push(self, standings: Iterable[Standing], *, whole: bool = False) -> None:
        """Act on what another process pushed; with ``whole`` it is all that stands."""
        if whole:
            self._memory.pushed = {one.key: one for one in standings if not one.empty}
            self._memory.merge()
        else:
            for one in standings:
                if one.empty:
                    self._memory.pushed.pop(one.key, None)
                else:
                    self._memory.pushed[one.key] = one
                self._memory.settle(one.key)
        self._changes += 1
        self._tell()

    def pushed(self) -> tuple[Standing, ...]:
        """All that another process pushed and that stands."""
        return tuple(self._memory.pushed.values())

    async def watch(self, seconds: float = 0.1) -> None:
        """Follow other processes' changes, at most ``seconds`` behind, until cancelled.

        A database that has not answered for ``PATIENCE`` counts as one that cannot be read.
        """
        seen = unseen()
        connection = await asyncio.to_thread(self._engine.connect)
        reading: asyncio.Future[rows.Found] | None = None
        try:
            while True:
                before = self._changes
                reading = asyncio.ensure_future(asyncio.to_thread(rows.changes, connection, seen))
                await asyncio.wait([reading], timeout=PATIENCE)
                if not reading.done():
                    self._is_stale(stale=True)
                try:
                    version, found = await asyncio.shield(reading)
                except Exception:  # noqa: BLE001 - whatever it was, something may be missed
                    seen = unseen()
                    self._is_stale(stale=True)
                else:
                    if found is None or before == self._changes:
                        seen = version if self._found(found) else unseen()
                    self._is_stale(stale=False)
                await asyncio.sleep(seconds)
        finally:
            if reading is not None:
                await asyncio.wait([reading])  # its thread still uses the connection
            connection.close()

    def _found(self, found: Known | rows.Changed | None) -> bool:
        """Act on what the database has; False when it has to be read anew, and whole."""
        was = self._memory.known
        known = found.over(was) if isinstance(found, rows.Changed) else found or was
        if known is None:
            return False
        self._memory.known = known
        if known.cutting() != was.cutting():
            self._adopt_all()
        return True

    async def _keep(self, table: Table, key: Key, reason: str, by: str) -> None:
        """Make what acts already durable, after all that was said of anybody before."""
        self._coming[table.name, key] += 1
        try:
            async with self._writing:
                at = self._clock.now()
                await asyncio.to_thread(rows.write, self._engine, table, key, reason, at, by)
                held, known = self._layers(table)
                known[key] = reason or UNSAID
                if held.get(key) == known[key]:
                    del held[key]
                self._changed(key, again=False)
        finally:
            self._coming[table.name, key] -= 1
            self._coming += Counter()  # forget those at zero

    async def _take_back(self, table: Table, key: Key) -> bool:
        """Take one back, durably; what is said again meanwhile acts on. False: there was none."""
        async with self._writing:
            found = await asyncio.to_thread(rows.erase, self._engine, table, key)
            held, known = self._layers(table)
            known.pop(key, None)
            if not self._coming[table.name, key]:
                found = held.pop(key, None) is not None or found
            self._changed(key)
        return found

    def _layers(self, table: Table) -> tuple[dict[Key, str], dict[Key, str]]:
        """What is held and what is known, of the kind that a table is for."""
        held, known = self._memory.held, self._memory.known
        if table is CUTS:
            return held.cuts, known.cuts
        return held.isolations, known.isolations

    def _hold(self, held: dict[Key, _Value], key: Key, value: _Value) -> Callable[[], None]:
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

    def _adopt_all(self) -> None:
        """Act on what was loaded."""
        was = set() if self._relay is None else set(self.standings())
        if not self._memory.merge():
            return  # it was pushed before it was in the database
        if self._relay is not None:
            self._publish({one.key for one in was ^ set(self.standings())})
        self._tell()

    def _adopt(self, record: PrincipalRecord) -> None:
        key = (record.kind.value, record.id)
        named = self._memory.known.named
        for name in [one for one, who in named.items() if who == (record.kind, record.id)]:
            if name != record.spiffe_id:
                del named[name]
        was = self._memory.known.states.pop(key, None)
        if record.state is not State.ACTIVE:
            self._memory.known.states[key] = why(record.state)
        if was is not None or record.state is not State.ACTIVE:
            self._memory.held.states.pop(key, None)
        if record.rotated_at:
            self._memory.known.rotated[key] = record.rotated_at
        if self._memory.held.rotated.get(key, record.rotated_at) <= record.rotated_at:
            self._memory.held.rotated.pop(key, None)
        self._changed(key)

    def _changed(self, key: Key, *, again: bool = True) -> None:
        """Bring what is asked up to date and tell everybody; ``again``, even if that is known."""
        was = self._memory.standing(key)
        self._memory.settle(key)
        self._changes += 1
        if again or was != self._memory.standing(key):
            self._publish((key,))
            self._tell()

    def _publish(self, keys: Iterable[Key]) -> None:
        if self._relay is not None:
            changed: Sequence[Standing] = [self._memory.standing(key) for key in keys]
            if changed:
                self._relay.publish(changed)

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

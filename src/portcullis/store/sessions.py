"""Open sessions and what is remembered within them, for the gates of one machine.

A session's document holds the user's prompt: it lies sealed in the database, for its own row.
"""

from __future__ import annotations

import asyncio
import heapq
import sqlite3
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from portcullis.core.errors import Problem
from portcullis.core.ports import SEALED, Clock, Sealer
from portcullis.core.principal import Proposal, Session
from portcullis.store.changes import Changes
from portcullis.store.dialect import Version, alone, asking, free, unseen, writing
from portcullis.store.labels import forget_labels
from portcullis.store.proposals import Proposals
from portcullis.store.sealed import forget_plain, session_purpose
from portcullis.store.spent import forget_spent
from portcullis.store.tables import APPROVALS, SESSIONS

PROPOSALS: Final = 64
"""How many proposals of each key are kept."""
KEYS: Final = 16_384
"""How many keys have proposals at most; the key that proposed longest ago goes first."""
_BATCH: Final = 256
_EXPIRED: Final = "expired"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Session).decode


class LocalSessionState:
    """An adapter of ``core.ports.SessionState``: in memory, journalled in SQL.

    Sessions that are open survive a restart. Proposals do not: without them a tool call is
    recorded without the model turn that it came from, and nothing else changes. Use it from one
    event loop; the database is only ever touched on a thread, but by the constructor. That brings
    all documents under the newest key, also those from before they were sealed, and raises
    Problem PC7010 for one that does not open.
    """

    def __init__(self, engine: Engine, clock: Clock, sealer: Sealer) -> None:
        self._engine = engine
        self._writing = writing(engine)
        self._clock = clock
        self._sealer = sealer
        self._sessions: dict[str, Session] = {}
        self._closing: dict[str, Session] = {}
        self._expiries: list[tuple[float, str]] = []
        self._saying = asyncio.Lock()
        self._proposals: OrderedDict[str, deque[Proposal]] = OrderedDict()
        with self._writing.begin() as connection:
            alone(connection, _EXPIRED)
            _purge_expired(connection, clock.now())
            rows = connection.execute(select(SESSIONS.c.id, SESSIONS.c.document)).all()
            opened = [(row, self._opened(row.id, row.document, plain=True)) for row in rows]
            stale = [each for each in opened if not self._current(each[0].document)]
            for row, session in stale:
                changed = update(SESSIONS).where(SESSIONS.c.id == row.id)
                connection.execute(changed.values(document=self._sealed(session)))
        for _, session in opened:
            self._remember(session)
        if stale:
            forget_plain(engine)

    async def open(self, session: Session) -> None:
        """Make a session known, durably. Raises Problem PC2009 when its id is taken."""
        await asyncio.to_thread(self._insert, session, self._clock.now())
        self._remember(session)

    async def get(self, session_id: str) -> Session | None:
        """The session, or None when it is unknown, closed or expired."""
        self._purge()
        session = self._sessions.get(session_id)
        if session is None or self._clock.now() >= session.expires_at:
            return None
        return session

    async def say(self, session_id: str, text: str) -> Session | None:
        """Add what the user said; the session then, or None when it is not open."""
        async with self._saying:
            session = await self.get(session_id)
            if session is None:
                return None
            said = msgspec.structs.replace(session, turns=(*session.turns, text))
            if not await asyncio.to_thread(self._update, said):
                return None
            if session_id in self._sessions:  # it may have been closed meanwhile
                self._sessions[session_id] = said
            return said

    def is_open(self, session_id: str) -> bool:
        """Whether a call that runs in this session may go on."""
        session = self._sessions.get(session_id)
        return session is not None and self._clock.now() < session.expires_at

    def opened(self) -> tuple[Session, ...]:
        """The open sessions."""
        self._purge()
        return tuple(self._sessions.values())

    async def close(self, session_id: str) -> bool:
        """End a session at once, then durably; False when it is not open. Problem PC9002."""
        self._purge()
        known = self._sessions.pop(session_id, None)
        self._proposals.pop(session_id, None)
        if known is not None:
            self._closing[session_id] = known
        if session_id not in self._closing:
            return False
        await self._end(session_id)
        return True

    def closing(self, session_id: str) -> Session | None:
        """A session that was closed, and would be open after a restart."""
        return self._closing.get(session_id)

    async def settle(self) -> None:
        """Make ends durable that are not. Raises Problem PC9002 when one still cannot be."""
        for session_id in tuple(self._closing):
            await self._end(session_id)

    async def _end(self, session_id: str) -> None:
        try:
            await asyncio.to_thread(self._delete, session_id)
        except SQLAlchemyError:
            detail = "the session has ended, but that is not durable yet: it is tried again"
            raise Problem("PC9002", detail, hint="Close it again.") from None
        self._closing.pop(session_id, None)

    async def propose(self, key: str, proposals: Sequence[Proposal]) -> None:
        """Remember what a model proposed under ``key``."""
        kept = self._proposals.setdefault(key, deque(maxlen=PROPOSALS))
        kept.extend(proposals)
        self._proposals.move_to_end(key)
        if len(self._proposals) > KEYS:
            self._proposals.popitem(last=False)

    async def proposed(self, key: str, names: frozenset[str], digest: str) -> Proposal | None:
        """The oldest proposal of this call under ``key``, which it consumes, or None."""
        kept = self._proposals.get(key, ())
        for proposal in kept:
            if proposal.digest == digest and proposal.name in names:
                self._proposals[key].remove(proposal)
                return proposal
        return None

    def _remember(self, session: Session) -> None:
        if session.id not in self._sessions:
            heapq.heappush(self._expiries, (session.expires_at, session.id))
        self._sessions[session.id] = session
        self._purge()

    def _purge(self) -> None:
        """Forget what has expired: constant time when nothing has."""
        now = self._clock.now()
        while self._expiries and self._expiries[0][0] <= now:
            _, session_id = heapq.heappop(self._expiries)
            self._sessions.pop(session_id, None)
            self._proposals.pop(session_id, None)

    def _insert(self, session: Session, now: float) -> None:
        row = {
            "id": session.id,
            "expires_at": session.expires_at,
            "document": self._sealed(session),
        }
        try:
            with self._writing.begin() as connection:
                if free(connection, _EXPIRED):
                    _purge_expired(connection, now)
                connection.execute(insert(SESSIONS).values(row))
        except IntegrityError:
            raise Problem("PC2009", f"the session {session.id} exists") from None

    def _update(self, session: Session) -> bool:
        change = update(SESSIONS).where(SESSIONS.c.id == session.id)
        with self._writing.begin() as connection:
            done = connection.execute(change.values(document=self._sealed(session)))
        return done.rowcount == 1

    def _delete(self, session_id: str) -> None:
        with self._writing.begin() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.id == session_id))
            forget_labels(connection, session=session_id)
            forget_spent(connection, session=session_id)

    def _sealed(self, session: Session) -> bytes:
        return self._sealer.seal(_encode(session), session_purpose(session.id))

    def _current(self, document: bytes) -> bool:
        return document.startswith(SEALED) and self._sealer.current(document)

    def _opened(self, session_id: str, document: bytes, *, plain: bool = False) -> Session:
        """A row's session; ``plain`` takes one from before documents were sealed."""
        if document.startswith(SEALED) or not plain:
            document = self._sealer.open(document, session_purpose(session_id))
        return _decode(document)


def forget_ended(engine: Engine, now: float) -> None:
    """Destroy what is left of sessions that have ended, in the write-ahead log too. Blocks.

    Raises Problem PC6001 when it may still be there.
    """
    try:
        with writing(engine).begin() as connection:
            alone(connection, _EXPIRED)
            _purge_expired(connection, now)
            over = update(APPROVALS).where(APPROVALS.c.expires_at <= now)
            connection.execute(over.values(sealed=None))
        forget_plain(engine)
    except SQLAlchemyError:
        raise Problem("PC6001", "what is left of ended sessions cannot be destroyed") from None


def _purge_expired(connection: Connection, now: float) -> None:
    """Delete the sessions that have ended, with what they learned and used.

    The caller is alone with ``_EXPIRED``: who deletes many rows does so in no order.
    """
    connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_at <= now))
    forget_labels(connection, expired=now)
    forget_spent(connection, expired=now)


class SharedSessionState(LocalSessionState):
    """The same for a process beside others that open and close sessions.

    Each session is looked up anew whenever anything has changed in the database, so that it is
    found as soon as it is open and gone as soon as it is closed. ``proposals`` are those of all
    processes; by default they are this one's own. Raises Problem PC9002 while the database cannot
    be read, PC7010 when the session's document does not open, PC7050 while the proposals cannot
    be read.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        sealer: Sealer,
        proposals: Proposals | None = None,
    ) -> None:
        super().__init__(engine, clock, sealer)
        self._asking = asking(engine)
        self._shared = proposals
        self._changes = Changes(engine)
        self._read_at: dict[str, Version] = {}
        """What the database's version was before a session was read, if not earlier."""

    async def say(self, session_id: str, text: str) -> Session | None:
        """The same; what users say at two gateways at once is all kept."""
        if session_id in self._closing:
            return None
        try:
            said = await asyncio.to_thread(self._append, session_id, text)
        except SQLAlchemyError:
            raise Problem("PC9002", "the session cannot be written") from None
        if said is None or session_id in self._closing:
            return None
        self._remember(said)
        return said

    async def propose(self, key: str, proposals: Sequence[Proposal]) -> None:
        """The same, for all processes."""
        if self._shared is None:
            await super().propose(key, proposals)
        else:
            await self._shared.add(key, proposals)

    async def proposed(self, key: str, names: frozenset[str], digest: str) -> Proposal | None:
        """The same, of all processes; its name is any of those asked for."""
        if self._shared is None:
            return await super().proposed(key, names, digest)
        event = await self._shared.take(key, names, digest)
        return None if event is None else Proposal(name=min(names), digest=digest, event=event)

    def shut(self) -> None:
        """Use it no more."""
        self._changes.close()

    async def ended(self, session_ids: Sequence[str]) -> set[str]:
        """Which of these are open nowhere. Raises Problem PC9002."""
        found: set[str] = set()
        for start in range(0, len(session_ids), _BATCH):
            some = session_ids[start : start + _BATCH]
            try:
                found |= set(some) - await asyncio.to_thread(self._still, some)
            except SQLAlchemyError:
                raise Problem("PC9002", "the sessions cannot be looked up") from None
        return found

    async def get(self, session_id: str) -> Session | None:
        """The session, or None when it is unknown, closed or expired."""
        try:
            version = self._changes.version() if self._changes.instant else unseen()
            if self._changes.instant and self._read_at.get(session_id) == version:
                return await super().get(session_id)
            session = await asyncio.to_thread(self._select, session_id)
        except (SQLAlchemyError, sqlite3.Error):
            raise Problem("PC9002", "the session cannot be looked up") from None
        over = session is None or self._clock.now() >= session.expires_at
        if session is None or over or session_id in self._closing:
            self._sessions.pop(session_id, None)
            self._read_at.pop(session_id, None)
            return None
        self._remember(session)
        self._read_at[session_id] = version
        return session

    async def close(self, session_id: str) -> bool:
        """End a session; False when it is not open."""
        await self.get(session_id)
        return await super().close(session_id)

    async def settle(self) -> None:
        """The same, and know no longer what others have closed. Raises Problem PC9002."""
        await super().settle()
        for session_id in await self.ended(tuple(self._sessions)):
            self._sessions.pop(session_id, None)
            self._proposals.pop(session_id, None)
            if self._shared is not None:
                await self._shared.forget(session_id)
        self._read_at = {key: at for key, at in self._read_at.items() if key in self._sessions}

    def _still(self, session_ids: Sequence[str]) -> set[str]:
        """Which of these have not been closed."""
        query = select(SESSIONS.c.id).where(SESSIONS.c.id.in_(session_ids))
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def _append(self, session_id: str, text: str) -> Session | None:
        """In one transaction, so that nobody else's turn is lost."""
        query = select(SESSIONS.c.document).where(SESSIONS.c.id == session_id)
        with self._writing.begin() as connection:
            held = query.with_for_update(key_share=True)
            document = connection.execute(held).scalar_one_or_none()
            if document is None:
                return None
            session = self._opened(session_id, document)
            if self._clock.now() >= session.expires_at:
                return None
            said = msgspec.structs.replace(session, turns=(*session.turns, text))
            change = update(SESSIONS).where(SESSIONS.c.id == session_id)
            connection.execute(change.values(document=self._sealed(said)))
        return said

    def _select(self, session_id: str) -> Session | None:
        query = select(SESSIONS.c.document).where(SESSIONS.c.id == session_id)
        with self._asking.connect() as connection:
            document = connection.execute(query).scalar_one_or_none()
        return None if document is None else self._opened(session_id, document)

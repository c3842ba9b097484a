"""Looking at calls afterwards, for operators: recorded durably before it takes effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from portcullis.config import Review as Settings
from portcullis.control.containment import by_itself
from portcullis.control.privacy import PrivacyParts
from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Directory
from portcullis.core.principal import PrincipalKind, Session
from portcullis.core.review import PREFIX, Disposition, Entry, State, Verb, Wanted, after
from portcullis.core.review_ports import ReviewStore
from portcullis.core.session_ports import SessionState
from portcullis.oversight.eyes import answering, four_eyes, known_as

PAGE: Final = 200
"""Most entries that are listed at once."""
_REMINDED: Final = 100
"""Of how many entries somebody is reminded at once."""
_USER: Final = "user"
SEALED: Final = "(sealed end to end: `portcullis audit content EVENT --identity FILE` opens it)"
"""In place of a value that only its recipients can read."""


@dataclass(frozen=True, slots=True)
class ReviewParts:
    """The queue. ``log`` is where acts are recorded; whoever acts has ``acting``.

    ``size`` is how many entries that log has, ``since`` how many it had when it was opened: before
    they are read again, nobody acts.
    """

    store: ReviewStore
    settings: Settings
    log: str
    owner_may_close: bool
    size: Callable[[], int]
    since: int
    teams: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    acting: asyncio.Lock = field(default_factory=asyncio.Lock)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a call's content; ``intact`` when it is what the event commits to."""

    name: str
    value: str
    intact: bool


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a call beside its record.

    ``session`` is None when it is over. ``user`` is empty when it is not known any more.
    """

    content: tuple[Kept, ...]
    user: str
    session: Session | None


class Reviewing:
    """Lists, shows and closes. ``route`` is as in ``Principals``."""

    def __init__(
        self,
        *,
        parts: ReviewParts,
        privacy: PrivacyParts | None,
        directory: Directory,
        sessions: SessionState,
        records: Records,
        clock: Clock,
        route: str,
    ) -> None:
        self._store = parts.store
        self._parts = parts
        self._privacy = privacy
        self._directory = directory
        self._sessions = sessions
        self._records = records
        self._clock = clock
        self._route = route

    async def list(self, wanted: Wanted, cursor: str = "") -> tuple[Entry, ...]:
        """The entries after the one whose id is ``cursor``, the oldest first, ``PAGE`` at most."""
        return await asyncio.to_thread(self._store.list, wanted, cursor, PAGE)

    async def show(self, context: Context, entry_id: str) -> tuple[Entry, Looked]:
        """An entry and what is left of the call; that it is read is durable first.

        Raises Problem PC3048 when there is none, PC6005 when its content was altered.
        """
        entry = await self._get(entry_id)
        looked = await self._looked(entry)
        names = [one.name for one in looked.content]
        said = {"agent": entry.agent, "session": entry.session, "fields": names}
        await self._records.act(
            context, f"{PREFIX}read", entry.id, route=self._route, parameters=said
        )
        return entry, looked

    async def close(
        self, context: Context, entry_id: str, disposition: Disposition, reason: str
    ) -> Entry:
        """Say what a call was. Raises Problem PC3046, PC3048, PC3049, PC3050, PC6005 as ``show``.

        Whoever it was made for does not, nor does its agent's owner.
        """
        async with self._parts.acting:
            await self._expect_read()
            entry = await self._get(entry_id)
            after(entry.state, Verb.CLOSE)
            await self._apart(context.principal.id, entry)
            said = {"disposition": disposition.value, "reason": reason}
            return await self._act(context, entry, Verb.CLOSE, said)

    async def reopen(self, context: Context, entry_id: str, reason: str) -> Entry:
        """Look at a call again. Raises Problem PC3048, PC3049, PC3050."""
        async with self._parts.acting:
            await self._expect_read()
            entry = await self._get(entry_id)
            after(entry.state, Verb.REOPEN)
            return await self._act(context, entry, Verb.REOPEN, {"reason": reason})

    async def remind(self) -> None:
        """Say of what is open for too long that it is, once.

        Raises Problem PC6001, PC3050; of one that cannot be read, after all others were told.
        """
        seconds = self._parts.settings.remind_seconds
        if seconds is None:
            return
        await self._expect_read()
        now = self._clock.now()
        faults = []
        for due in await asyncio.to_thread(self._store.due, now - seconds, _REMINDED):
            try:
                await self._remind(due, now)
            except Exception as error:  # noqa: BLE001 - the others first
                faults.append(error)
        if faults:
            raise faults[0]

    async def _remind(self, entry_id: str, now: float) -> None:
        async with self._parts.acting:
            entry = await self._get(entry_id)
            if entry.state is State.OPEN:
                said = {"waited": int(now - entry.at)}
                await self._act(by_itself(now), entry, Verb.REMIND, said)

    async def trim(self) -> int:
        """Forget the closed ones beyond those that are kept; how many. Raises Problem PC3050."""
        await self._expect_read()
        return await asyncio.to_thread(self._store.trim, self._parts.settings.kept)

    async def _expect_read(self) -> None:
        parts = self._parts
        if not await asyncio.to_thread(self._store.read, parts.log, parts.since, parts.size()):
            raise Problem("PC3050", "what was closed may still look open")

    async def _get(self, entry_id: str) -> Entry:
        found = await asyncio.to_thread(self._store.get, entry_id)
        if found is None:
            raise Problem("PC3048", "no call of this id is to be looked at")
        return found

    async def _act(self, context: Context, entry: Entry, verb: Verb, said: dict[str, Any]) -> Entry:
        turn = {} if verb is Verb.REMIND else {"turn": entry.turn + 1}
        event = await self._records.act(
            context,
            f"{PREFIX}{verb}",
            entry.id,
            route=self._route,
            parameters={"agent": entry.agent, "session": entry.session} | turn | said,
        )
        await asyncio.to_thread(self._store.note, self._parts.log, event)
        return await self._get(entry.id)

    async def _looked(self, entry: Entry) -> Looked:
        session = await self._session(entry)
        found = await self._content(entry)
        return Looked(
            content=tuple(one for one in found if one.name != _USER),
            user=_said(found) if session is None else session.user,
            session=session,
        )

    async def _session(self, entry: Entry) -> Session | None:
        return await self._sessions.get(entry.session) if entry.session else None

    async def _content(self, entry: Entry) -> tuple[Kept, ...]:
        if self._privacy is None:
            return ()
        try:
            _, found = await asyncio.to_thread(self._privacy.stores.content, entry.id)
        except Problem as problem:
            if problem.code != "PC6041":
                raise
            return ()
        return tuple(
            Kept(
                name=one.name,
                value=SEALED if one.sealed else one.value.decode("utf-8", "replace"),
                intact=entry.commitments.get(one.name) == one.commitment,
            )
            for one in found
        )

    async def _apart(self, operator: str, entry: Entry) -> None:
        """Raise Problem PC3046 unless the operator is another than those whose call it was.

        Of a session that is over, and of which nothing is kept, the user is known by a commitment
        alone: then it has to be exactly a name of the operator's to be recognised.
        """
        known = await asyncio.to_thread(known_as, self._directory, operator)
        session = await self._session(entry)
        user = _said(await self._content(entry)) if session is None else session.user
        if not user and entry.user:
            user = await asyncio.to_thread(self._known, known, entry)
        owners: tuple[str, ...] = ()
        if not self._parts.owner_may_close:
            record = await asyncio.to_thread(self._directory.get, PrincipalKind.AGENT, entry.agent)
            owners = () if record is None else answering(record.owner, self._parts.teams)
        four_eyes(operator, user, owners, known)

    def _known(self, names: tuple[str, ...], entry: Entry) -> str:
        """The name to which the entry's event commits, if it is one of these."""
        if self._privacy is None:
            return ""
        stores = self._privacy.stores
        for name in names:
            if stores.commitment(entry.log, f"user:{name}", name.encode()) == entry.user:
                return name
        return ""


def _said(found: Iterable[Kept]) -> str:
    """The user, as he was kept with the call; empty when he was not, or was altered."""
    return next((one.value for one in found if one.name == _USER and one.intact), "")

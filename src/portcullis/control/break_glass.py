"""Breaking the glass: more rights for a while, told to everybody, and reviewed by somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from portcullis.config.break_glass import BreakGlass
from portcullis.control.containment import by_itself
from portcullis.control.principals import Principals
from portcullis.control.records import Records
from portcullis.core.break_glass import BrokenGlass, Judgement
from portcullis.core.break_glass_ports import GlassBook
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Directory
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right
from portcullis.identity.tokens import AUDIENCE, Minted
from portcullis.oversight.eyes import same_person

log = structlog.get_logger(__name__)

MOST_LISTED: Final = 200


@dataclass(frozen=True, slots=True)
class GlassParts:
    """What there is. ``longest_seconds`` is how long an operator's token may live at all."""

    book: GlassBook
    settings: BreakGlass
    longest_seconds: int
    beginning: asyncio.Lock = field(default_factory=asyncio.Lock)


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody may take: which roles beside his own, and for how many minutes at most."""

    roles: tuple[str, ...]
    minutes: int


class BreakingGlass:
    """Raises an operator's rights for a while. ``route`` is as in ``Principals``.

    Nothing is raised before it is on record, durably: that is what the alert is made of.
    """

    def __init__(
        self,
        *,
        parts: GlassParts,
        principals: Principals,
        directory: Directory,
        records: Records,
        clock: Clock,
        route: str,
    ) -> None:
        self._book = parts.book
        self._settings = parts.settings
        self._longest = parts.longest_seconds
        self._beginning = parts.beginning
        self._principals = principals
        self._directory = directory
        self._records = records
        self._clock = clock
        self._route = route

    def now(self) -> float:
        """The time, in seconds since the epoch."""
        return self._clock.now()

    async def list(self) -> tuple[BrokenGlass, ...]:
        """The newest 200, the newest first."""
        return await asyncio.to_thread(self._book.list, MOST_LISTED)

    async def open(self) -> tuple[BrokenGlass, ...]:
        """All that no review has closed."""
        return await asyncio.to_thread(self._book.open)

    async def offered(self, context: Context) -> Offer | None:
        """What the configuration lets whoever asks take; None for nothing, and who did already."""
        name = context.principal.id
        record = await asyncio.to_thread(self._directory.get, PrincipalKind.OPERATOR, name)
        roles = () if record is None or context.principal.break_glass else record.roles
        if not set(self._settings.may).intersection(roles):
            return None
        return Offer(roles=self._settings.roles, minutes=self._minutes)

    @property
    def _minutes(self) -> int:
        return min(self._settings.minutes * 60, self._longest) // 60

    async def begin(
        self,
        context: Context,
        reason: str,
        minutes: int,
        glass_id: str,
        audience: str = AUDIENCE,
    ) -> tuple[BrokenGlass, Minted]:
        """Raise the rights of who has just shown a password and a one-time code, or a passkey.

        Raises Problem PC3081 where the configuration does not let this operator, or not for so
        long; PC3082 while a review of the same person's is open.
        """
        settings, name = self._settings, context.principal.id
        seconds = minutes * 60
        if not 1 <= minutes <= self._minutes:
            raise Problem("PC3081", f"it lasts {self._minutes} minutes at most, and one at least")
        async with self._beginning:
            record = await self._principals.present(PrincipalKind.OPERATOR, name)
            if not set(settings.may).intersection(record.roles):
                raise Problem("PC3081", "break_glass.may names none of the operator's roles")
            for one in await self.open():
                if await asyncio.to_thread(same_person, self._directory, name, one.operator):
                    raise Problem("PC3082", f"that of {one.id} is open")
            now = int(self._clock.now())
            roles = tuple(sorted({*record.roles, *settings.roles}))
            said = {"reason": reason, "roles": list(roles), "ends_at": now + seconds}
            await self._act(context, "break_glass.begun", glass_id, said)
            minted = await self._principals.mint(
                context,
                PrincipalKind.OPERATOR,
                name,
                ttl=seconds,
                until=now + seconds,
                roles=roles,
                audience=audience,
                break_glass=glass_id,
            )
            one = BrokenGlass(
                id=glass_id,
                operator=name,
                credential=minted.id,
                reason=reason,
                roles=roles,
                began_at=now,
                ends_at=minted.expires_at,
                reminded_at=now,
            )
            await asyncio.to_thread(self._book.begin, one)
        return one, minted

    async def end(self, context: Context, glass_id: str) -> BrokenGlass:
        """Take the rights away before their time.

        Raises Problem PC3084 when there is no such thing, PC3085 when it is over, PC2004 for who
        neither did it nor may cut anybody off.
        """
        one = await self._get(glass_id)
        if one.operator != context.principal.id:
            self._principals.roles.expect(context.principal.roles, Right.PRINCIPALS_CUT)
        now = self._clock.now()
        if not one.active(now):
            raise Problem("PC3085", "it is over")
        await self._act(context, "break_glass.ended", glass_id, {"operator": one.operator})
        await self._principals.cut(context, one.credential)
        return await self._replace(one, msgspec.structs.replace(one, ended_at=now))

    async def close(
        self, context: Context, glass_id: str, judgement: Judgement, note: str
    ) -> BrokenGlass:
        """Review what was done, which closes it.

        Raises Problem PC3083 for the same person and for who broke the glass himself, PC3084 when
        there is no such thing, PC3085 while the rights last and when it is closed.
        """
        one = await self._get(glass_id)
        if one.closed_at or one.active(self._clock.now()):
            raise Problem("PC3085", "it is closed" if one.closed_at else "the rights last")
        reviewer = context.principal
        if reviewer.break_glass:
            raise Problem("PC3083", "who broke the glass reviews nothing meanwhile")
        if await asyncio.to_thread(same_person, self._directory, reviewer.id, one.operator):
            raise Problem("PC3083", "who broke the glass does not review it")
        said = {"operator": one.operator, "judgement": judgement, "reason": note}
        await self._act(context, "break_glass.reviewed", glass_id, said)
        closed = msgspec.structs.replace(
            one,
            closed_at=self._clock.now(),
            closed_by=reviewer.id,
            judgement=judgement,
            note=note,
        )
        return await self._replace(one, closed)

    async def remind(self) -> int:
        """Say on record which ones wait for their review for too long; how many."""
        now, told = self._clock.now(), 0
        for one in await self.open():
            if one.active(now) or now - one.reminded_at < self._settings.remind_hours * 3600:
                continue
            said = {"operator": one.operator, "since": int(one.began_at)}
            await self._act(by_itself(now), "break_glass.unreviewed", one.id, said)
            new = msgspec.structs.replace(one, reminded_at=now)
            told += await asyncio.to_thread(self._book.replace, one, new)
        return told

    async def watch(self, seconds: float = 10.0) -> None:
        """Remind every so many seconds, until cancelled."""
        while True:
            try:
                await self.remind()
            except Exception:
                log.exception("break_glass_reminding_failed")  # tried again
            await asyncio.sleep(seconds)

    async def _get(self, glass_id: str) -> BrokenGlass:
        found = await asyncio.to_thread(self._book.get, glass_id)
        if found is None:
            raise Problem("PC3084", "nobody broke the glass under this id")
        return found

    async def _replace(self, old: BrokenGlass, new: BrokenGlass) -> BrokenGlass:
        if not await asyncio.to_thread(self._book.replace, old, new):
            raise Problem("PC3085", "somebody changed it meanwhile")
        return new

    async def _act(
        self, context: Context, what: str, glass_id: str, said: Mapping[str, object]
    ) -> None:
        await self._records.act(context, what, glass_id, route=self._route, parameters=said)

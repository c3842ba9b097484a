"""Erasure and legal holds, for operators: recorded durably before they take effect."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from portcullis.audit.content import ContentStore, Field
from portcullis.audit.retention_holds import (
    ERASE,
    ERASED,
    HOLD,
    RELEASE,
    Hold,
    HoldKind,
    Holds,
    held_problem,
)
from portcullis.audit.subjects_erasure import Stores, subject_name
from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock

_PRINCIPAL: Final = re.compile(r"(agent|application|operator):[!-9;-~]{1,255}")
_SESSION: Final = re.compile(r"[0-9A-Za-z-]{1,64}")


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure destroyed.

    ``subject`` is what stands for the subject in the record of it, ``fields`` counts those of
    content that went with the keys. ``derived`` says that the keys
    of all commitments from before subjects had keys of their own went with it. ``elsewhere`` are
    the gateways of other hosts, which destroy what they have as soon as they run.
    """

    subject: str
    keys: int
    fields: int
    derived: bool
    elsewhere: tuple[str, ...] = ()


class ErasesElsewhere(Protocol):
    """Gateways that have their keys on other hosts. Both block."""

    def others(self) -> tuple[str, ...]:
        """Their names."""
        ...

    def erase(self, name: str) -> None:
        """Have each of them erase a subject as soon as it can, durably."""
        ...


@dataclass(frozen=True, slots=True)
class PrivacyParts:
    """What there is to erase and to keep, around the log called ``own``.

    ``book`` has the holds, ``contents`` is None where no content was ever kept. ``forget``
    destroys what is left of sessions that have ended, and blocks. Whoever destroys or holds
    something has ``acting``. ``elsewhere`` has gateways of other hosts destroy what they have.
    """

    own: str
    stores: Stores
    book: Holds
    contents: ContentStore | None
    forget: Callable[[], None]
    elsewhere: ErasesElsewhere | None = None
    acting: asyncio.Lock = field(default_factory=asyncio.Lock)

    def expire(self, before: Mapping[str, float]) -> int:
        """Destroy the content that is past its time and not held; how many fields. Blocks."""
        return 0 if self.contents is None else self.contents.expire(before)


class Privacy:
    """Destroys the keys of a subject, and keeps what is under a legal hold.

    ``route`` is as in ``Principals``.
    """

    def __init__(
        self,
        *,
        parts: PrivacyParts,
        records: Records,
        clock: Clock,
        new_id: Callable[[], str],
        route: str,
    ) -> None:
        self._stores = parts.stores
        self._own = parts.own
        self._book = parts.book
        self._parts = parts
        self._records = records
        self._clock = clock
        self._new_id = new_id
        self._route = route
        self._acting = parts.acting

    async def erase(self, context: Context, subject: str, reason: str) -> Erased:
        """Erase a subject (``subject_name``) from all logs of this state directory.

        Two events are written: ``audit.erase`` before, ``audit.erased`` after; after a crash
        between them, ask again. Raises Problem PC6040 under a legal hold, PC6041 when nothing is
        kept under such a key, PC1020 for no name of a subject, PC6001 when it is not complete.
        """
        name = subject_name(subject)
        async with self._acting:
            plan = await asyncio.to_thread(self._stores.plan, name, self._book)
            if isinstance(plan, Hold):
                raise held_problem(plan)
            tag, elsewhere = plan.tags[self._own].hex(), self._parts.elsewhere
            others = () if elsewhere is None else await asyncio.to_thread(elsewhere.others)
            if not (plan.keys or plan.derived or others or self._book.unfinished(tag)):
                raise Problem("PC6041", "no log has a key of this subject")
            tags = {log: one.hex() for log, one in plan.tags.items()}
            said = {"subject": tag, "tags": tags, "reason": reason, "keys": plan.keys}
            await self._act(context, ERASE, tag, said)
            keys, fields = await asyncio.to_thread(self._stores.erase, plan)
            await asyncio.to_thread(self._parts.forget)
            if others and elsewhere is not None:
                await asyncio.to_thread(elsewhere.erase, name)
            erased = Erased(
                subject=tag,
                keys=keys,
                fields=fields,
                derived=bool(plan.derived),
                elsewhere=others,
            )
            await self._act(context, ERASED, tag, msgspec.structs.asdict(erased))
            return erased

    async def holds(self) -> tuple[Hold, ...]:
        """The holds in force."""
        return await asyncio.to_thread(self._book.in_force)

    async def hold(self, context: Context, kind: HoldKind, target: str, reason: str) -> Hold:
        """Keep everything of a session, a principal or a subject until it is released.

        Raises Problem PC1020 for a session's id that can be none, a principal that is no
        KIND:NAME, and for no name of a subject.
        """
        if kind == "session" and not _SESSION.fullmatch(target):
            raise Problem("PC1020", "a session is given by its id: letters, digits and hyphens")
        if kind == "principal" and not _PRINCIPAL.fullmatch(target):
            raise Problem("PC1020", "a principal is agent:NAME, application:NAME or operator:NAME")
        if kind == "subject" and target.startswith("session:"):
            raise Problem("PC1020", "a session is held as a session, not as a subject")
        async with self._acting:
            tags = {}
            if kind == "subject":
                found = await asyncio.to_thread(self._stores.tags, subject_name(target))
                tags = {log: tag.hex() for log, tag in found.items()}
            hold = Hold(
                id=self._new_id(),
                kind=kind,
                target="" if tags else target,
                tags=tags,
                reason=reason,
                by=context.principal.id,
                since=self._clock.now(),
            )
            await self._act(context, HOLD, hold.id, hold.parameters())
            return hold

    async def release(self, context: Context, hold_id: str, reason: str) -> None:
        """End a hold. Raises Problem PC6042 for one that is not in force."""
        async with self._acting:
            if hold_id not in {hold.id for hold in await self.holds()}:
                raise Problem("PC6042", "no hold of this id is in force")
            await self._act(context, RELEASE, hold_id, {"hold": hold_id, "reason": reason})

    async def content(
        self, context: Context, event_id: str, reason: str
    ) -> tuple[str, tuple[Field, ...]]:
        """The log of an event, and its content; that it is read, by whom and why, is durable first.

        Raises Problem PC6041 when none is kept, PC6005 when it was altered.
        """
        log, found = await asyncio.to_thread(self._stores.content, event_id)
        names = [field.name for field in found]
        said = {"event": event_id, "log": log, "reason": reason, "fields": names}
        await self._act(context, "content.read", event_id, said)
        return log, found

    async def _act(self, context: Context, method: str, name: str, said: Mapping[str, Any]) -> None:
        await self._records.act(context, method, name, route=self._route, parameters=said)

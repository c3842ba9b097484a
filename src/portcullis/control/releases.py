"""Releases of policy, for operators: recorded durably before anything of them takes effect."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from portcullis.control.records import Records
from portcullis.control.releases_approvers import ApproverSettings, ReleaseApprovers
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Directory
from portcullis.core.release import (
    MAX_BYTES,
    MAX_FILES,
    MAX_SHARE,
    TOLD,
    TRANSITIONS,
    File,
    Release,
    Stage,
    Standing,
    Tallies,
    Untested,
    Verb,
    after,
    text_digest,
)
from portcullis.core.release_ports import ReleaseBook
from portcullis.oversight.approvers import Ruled, qualified
from portcullis.oversight.eyes import same_person

FILE_NAME: Final = r"policy/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
"""What a file of a release is called."""
PAGE: Final = 200
"""The most releases of a list: the newest."""


def _all_tested(_: tuple[File, ...], __: tuple[File, ...]) -> tuple[Untested, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class ReleaseParts:
    """Where releases are. Whoever moves one has ``deciding``.

    ``needed`` is how many people have to approve one; with ``binding`` the active release is the
    policy, without it the folder is. ``compiled`` gives the digest of files, or raises Problem for
    what the gate would not take, ``untested`` what of a second text no canary beside the first
    tests (both block).
    """

    book: ReleaseBook
    needed: int
    binding: bool
    compiled: Callable[[tuple[File, ...]], str]
    untested: Callable[[tuple[File, ...], tuple[File, ...]], tuple[Untested, ...]] = _all_tested
    approvers: ApproverSettings = field(default_factory=ApproverSettings)
    deciding: asyncio.Lock = field(default_factory=asyncio.Lock)


class Releasing:
    """Proposes, approves and moves releases. ``route`` names the face in the records."""

    def __init__(
        self, parts: ReleaseParts, directory: Directory, records: Records, clock: Clock, route: str
    ) -> None:
        self._parts = parts
        self._book = parts.book
        self._directory = directory
        self._approvers = ReleaseApprovers(parts.approvers, parts.book, directory)
        self._records = records
        self._clock = clock
        self._route = route

    @property
    def needed(self) -> int:
        """How many people have to approve a release."""
        return self._parts.needed

    @property
    def binding(self) -> bool:
        """Whether the active release is the policy; else the folder is."""
        return self._parts.binding

    async def list(self) -> tuple[Release, ...]:
        """The newest releases, the newest first."""
        return await asyncio.to_thread(self._book.list, PAGE)

    async def standing(self) -> Standing:
        """What holds now, and where rolling it back leads."""
        return await asyncio.to_thread(self._book.standing)

    async def show(self, number: int) -> tuple[Release, Tallies]:
        """A release and what was counted of it. Raises Problem PC7030."""
        found = await self._get(number)
        return found, await asyncio.to_thread(self._book.tallies, number)

    async def untested(self, number: int) -> tuple[Untested, ...]:
        """What of a release is the active one's until it is active. Raises Problem PC7030, PC7038.

        Empty for one that is not to come.
        """
        found, active = await self._get(number), (await self.standing()).active
        if active is None or (found.stage, Verb.ACTIVATE) not in TRANSITIONS:
            return ()
        texts = [await self.files(one) for one in (active.number, number)]
        return await asyncio.to_thread(self._parts.untested, *texts)

    async def files(self, number: int) -> tuple[File, ...]:
        """Its text. Raises Problem PC7030, PC7038."""
        return await asyncio.to_thread(self._book.files, number)

    async def propose(self, context: Context, files: tuple[File, ...], note: str) -> Release:
        """Make a release of files. Raises Problem PC7002, PC7003, PC7004, PC7035."""
        return await self._propose(context, files, note, context.principal.id, "operator", "")

    async def arrived(self, context: Context, files: tuple[File, ...], revision: str) -> Release:
        """A bundle's release; active at once where nobody has to agree."""
        async with self._parts.deciding:
            made = await self._propose(context, files, "", "", "bundle", revision)
            if self._parts.needed:
                return made
            return await self._move(context, made, Verb.ACTIVATE)

    async def _propose(
        self,
        context: Context,
        files: tuple[File, ...],
        note: str,
        by: str,
        origin: str,
        revision: str,
    ) -> Release:
        _bounded(files)
        text = text_digest(files)
        standing = await asyncio.to_thread(self._book.standing)
        if standing.active is not None and standing.active.text == text:
            raise Problem("PC7035", f"release {standing.active.number} has this text")
        digest = await asyncio.to_thread(self._parts.compiled, files)
        now = self._clock.now()
        release = Release(
            number=0,
            digest=digest,
            text=text,
            origin=origin,
            proposed_by=by,
            proposed_at=now,
            note=note,
            revision=revision,
            stage=Stage.PROPOSED if self._parts.needed else Stage.APPROVED,
            by=by,
            changed_at=now,
        )
        said = {"policy": digest, "text": text, "note": note, "files": len(files)}
        said |= {"revision": revision} if revision else {}
        await self._act(context, "policy.release.propose", text, said)
        return await asyncio.to_thread(self._book.propose, release, files)

    async def rules(self, context: Context, number: int) -> tuple[Ruled, ...]:
        """The rules about who may approve a release, now; ``you`` is who asks.

        None of one that nobody can approve any more, or has to. Raises Problem PC7030, PC7038.
        """
        found = await self._get(number)
        if not self._parts.needed or (found.stage, Verb.APPROVE) not in TRANSITIONS:
            return ()
        return await self._approvers.rules(found, context.principal.id, self._clock.now())

    async def hindrance(self, context: Context, number: int) -> Problem | None:
        """Why whoever asks may not approve a release now; None where he may, or nobody can."""
        found = await self._get(number)
        if (found.stage, Verb.APPROVE) not in TRANSITIONS:
            return None
        try:
            await self._expect_may(context, found)
        except Problem as problem:
            return problem
        return None

    async def approve(self, context: Context, number: int, note: str) -> Release:
        """Say yes to what somebody else proposed.

        Raises Problem PC7030, PC7031, PC7033 for who proposed or approved it, and PC3080.
        """
        async with self._parts.deciding:
            found, by = await self._get(number), context.principal.id
            after(found.stage, Verb.APPROVE)
            rules = await self._expect_may(context, found)
            said: dict[str, Any] = {"note": note} | ({"rules": list(rules)} if rules else {})
            await self._told(context, Verb.APPROVE, found, said)
            return await asyncio.to_thread(
                partial(
                    self._book.approve,
                    number,
                    by=by,
                    at=self._clock.now(),
                    note=note,
                    needed=self._parts.needed,
                    seen=len(found.approvals),
                )
            )

    async def reject(self, context: Context, number: int, reason: str) -> Release:
        """Say no to a release that never decided. Raises Problem PC7030, PC7031."""
        async with self._parts.deciding:
            return await self._move(context, await self._get(number), Verb.REJECT, reason)

    async def shadow(self, context: Context, number: int) -> Release:
        """Hold a release against the one in force. Raises Problem PC7030, PC7031."""
        async with self._parts.deciding:
            return await self._move(context, await self._get(number), Verb.SHADOW)

    async def canary(self, context: Context, number: int, share: int) -> Release:
        """Let a release decide for a share of the sessions, in percent.

        Raises Problem PC7030, PC7031, PC7032.
        """
        if not 1 <= share <= MAX_SHARE:
            raise Problem("PC7004", f"a canary's share is 1 to {MAX_SHARE} percent")
        async with self._parts.deciding:
            found = await self._get(number)
            return await self._move(context, found, Verb.CANARY, share=share)

    async def activate(self, context: Context, number: int) -> Release:
        """Have a release take force everywhere. Raises Problem PC7030, PC7031, PC7032, PC7034."""
        self._bound()
        async with self._parts.deciding:
            return await self._move(context, await self._get(number), Verb.ACTIVATE)

    async def rollback(self, context: Context, number: int, reason: str) -> Release:
        """End a canary or a shadow; or go back from the active release to the one before.

        What somebody went back to is not left that way. Raises Problem PC7025, PC7030, PC7031,
        PC7034.
        """
        async with self._parts.deciding:
            found = await self._get(number)
            if found.stage is Stage.ACTIVE:
                self._bound()
            return await self._move(context, found, Verb.ROLL_BACK, reason)

    def _bound(self) -> None:
        if not self._parts.binding:
            raise Problem("PC7034", "what the policy folder holds is the policy")

    async def _move(
        self, context: Context, found: Release, verb: Verb, reason: str = "", share: int = 0
    ) -> Release:
        await self._moves(found, verb)
        said: dict[str, Any] = {"reason": reason} if reason else {}
        said |= {"share": share} if share else {}
        await self._told(context, verb, found, said)
        return await asyncio.to_thread(
            partial(
                self._book.move,
                found.number,
                verb,
                by=context.principal.id,
                at=self._clock.now(),
                reason=reason,
                share=share,
                needed=self._parts.needed,
            )
        )

    async def _moves(self, found: Release, verb: Verb) -> None:
        """Refuse before it is recorded what the book would refuse after."""
        if after(found.stage, verb) is Stage.ACTIVE or verb is Verb.CANARY:
            needed = self._parts.needed
            said = await self._approvers.counted(found) if needed else 0
            if said < needed:
                detail = f"{said} of {needed} people have approved {found.number}"
                if said < len(found.approvals):
                    detail += "; others were cut off, or `approvals.rules` do not name them"
                raise Problem("PC7032", detail)
        if found.stage is Stage.ACTIVE and verb is Verb.ROLL_BACK:
            (await asyncio.to_thread(self._book.standing)).before()
        if verb in {Verb.SHADOW, Verb.CANARY}:
            other = (await asyncio.to_thread(self._book.standing)).candidate
            if other is not None and other.number != found.number:
                detail = f"release {other.number} is in {other.stage} already"
                raise Problem("PC7031", detail)

    async def _expect_may(self, context: Context, found: Release) -> tuple[str, ...]:
        """The rules by which whoever asks may approve it. Raises Problem PC7033, PC3080."""
        by = context.principal.id
        others = (found.proposed_by, *(one.by for one in found.approvals))
        for other in filter(None, others):
            if await asyncio.to_thread(same_person, self._directory, by, other):
                raise Problem("PC7033", f"it was {other} who said so before")
        return qualified(await self.rules(context, found.number))

    async def _get(self, number: int) -> Release:
        found = await asyncio.to_thread(self._book.get, number)
        if found is None:
            raise Problem("PC7030", f"there is no release {number}")
        return found

    async def _told(
        self, context: Context, verb: Verb, found: Release, said: dict[str, Any]
    ) -> None:
        known = {"release": found.number, "policy": found.digest, "text": found.text}
        await self._act(context, TOLD[verb], str(found.number), known | said)

    async def _act(self, context: Context, method: str, name: str, said: dict[str, Any]) -> None:
        await self._records.act(context, method, name, route=self._route, parameters=said)


def _bounded(files: tuple[File, ...]) -> None:
    """Raises Problem PC7004 for what cannot be a release."""
    if not files or len(files) > MAX_FILES:
        raise Problem("PC7004", f"a release has 1 to {MAX_FILES} files")
    if any(re.fullmatch(FILE_NAME, file.name) is None for file in files):
        raise Problem("PC7004", "a file of a release is policy/NAME")
    if len({file.name for file in files}) < len(files):
        raise Problem("PC7004", "two files of a release have one name")
    if sum(len(file.text.encode("utf-8", "surrogatepass")) for file in files) > MAX_BYTES:
        raise Problem("PC7004", f"a release has at most {MAX_BYTES} bytes")

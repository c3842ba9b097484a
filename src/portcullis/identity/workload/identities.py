"""For whom a caller stands: attestation, then registration entries, then the principal's state."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State
from portcullis.core.ports import (
    Clock,
    Directory,
    Entry,
    KillFeed,
    PrincipalRecord,
    Registrations,
)
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.spiffe import SpiffeId, ours
from portcullis.identity.attest.selectors import awaits_hash, matching
from portcullis.identity.attest.unix import Digests, Process

MAX_IDENTITIES: Final = 16
"""Most SVIDs that one caller gets."""

WORKLOADS: Final = frozenset(
    {PrincipalKind.AGENT, PrincipalKind.APPLICATION, PrincipalKind.GATEWAY}
)
"""Who gets SVIDs here: users and operators are people."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One principal that a caller stands for, by which entry."""

    id: SpiffeId
    entry: Entry
    record: PrincipalRecord


class CutOff(Problem):
    """Problem PC4001, for a principal that would otherwise get its SVID."""

    def __init__(self, record: PrincipalRecord) -> None:
        super().__init__("PC4001", f"{record.kind} {record.id} is cut off or not active")
        self.record = record


class Identities:
    """Answers for whom a caller stands, anew each time."""

    def __init__(
        self,
        trust_domain: str,
        registrations: Registrations,
        directory: Directory,
        feed: KillFeed,
        clock: Clock,
        workers: Executor,
        attest_seconds: float,
    ) -> None:
        self._trust_domain = trust_domain
        self._registrations = registrations
        self._directory = directory
        self._feed = feed
        self._clock = clock
        self._workers = workers
        self._attest_seconds = attest_seconds
        self._digests = Digests()
        self._lock = threading.Lock()
        self._entries: tuple[int, tuple[Entry, ...]] | None = None

    async def of(self, caller: Process) -> tuple[Identity, ...]:
        """The active principals that the caller stands for, first registered first.

        Raises Problem PC2060 (not attested, or no entry), PC4001 (all of its principals are cut
        off), PC4002 (the feed is stale). At least one identity otherwise.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._attest_seconds):
                found = await loop.run_in_executor(self._workers, self._look, caller)
        except TimeoutError:
            raise Problem("PC2060", "the caller could not be looked at in time") from None
        if not found:
            raise Problem("PC2060", "no registration entry is for this caller")
        living = tuple(each for each in found if not self._cut(each))
        if not living:
            raise CutOff(found[0].record)
        return living

    def standing(self, caller: Process, identities: tuple[Identity, ...]) -> None:
        """Once more, at the last moment: the caller lives and none of them is cut off.

        Raises Problem PC2060, PC4001, PC4002.
        """
        if not caller.alive():
            raise Problem("PC2060", "the caller's process has ended")
        for each in identities:
            if self._cut(each):
                raise CutOff(each.record)

    def outdated(self, identity: Identity, credential: str, issued: float, expires: float) -> bool:
        """Whether a credential made before is no longer good for a principal that is."""
        holder = self._principal(identity, credential, issued, expires)
        rotated = identity.record.rotated_at > issued
        return rotated or self._feed.reason(holder, None) is not None

    def version(self) -> int:
        """The version of the registration entries. Blocks."""
        return self._registrations.version()

    def _cut(self, identity: Identity) -> bool:
        if self._feed.stale():
            raise Problem("PC4002", "the containment feed is stale")
        now = self._clock.now()
        fresh = self._principal(identity, "", now, now)
        record = identity.record
        overdue = 0 < record.review_at <= now  # and not marked as expired yet
        inactive = overdue or record.state is not State.ACTIVE
        return inactive or self._feed.reason(fresh, None) is not None

    @staticmethod
    def _principal(identity: Identity, credential: str, issued: float, expires: float) -> Principal:
        return Principal(
            kind=identity.record.kind,
            id=identity.record.id,
            credential=credential,
            expires_at=expires,
            issued_at=issued,
        )

    def _look(self, caller: Process) -> tuple[Identity, ...]:
        """Everything that blocks."""
        entries = self._registered()
        selectors = caller.attest(self._digests, lambda found: awaits_hash(entries, found))
        found: dict[tuple[PrincipalKind, str], Identity] = {}
        for entry in sorted(matching(entries, selectors), key=lambda e: (e.created_at, e.id)):
            key = (entry.kind, entry.principal)
            if entry.kind not in WORKLOADS or key in found or len(found) == MAX_IDENTITIES:
                continue
            record = self._directory.get(entry.kind, entry.principal)
            if record is not None:
                found[key] = Identity(ours(self._trust_domain, *key), entry, record)
        return tuple(found.values())

    def _registered(self) -> tuple[Entry, ...]:
        """The entries, read again when their version has changed."""
        version = self._registrations.version()
        with self._lock:
            if self._entries is None or self._entries[0] != version:
                self._entries = (version, self._registrations.entries())
            return self._entries[1]

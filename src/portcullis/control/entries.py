"""Who may become a principal: registration entries and one-time join tokens."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from portcullis.control.principals import Principals
from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Entry, Registrations
from portcullis.core.principal import PrincipalKind
from portcullis.identity.attest.selectors import checked

JOIN_SECONDS: Final = 600
"""How long a join token is good, unless it is said."""
LONGEST_JOIN: Final = 86_400


class JoinToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new join token. Only its SHA-256 is kept; it stands nowhere else."""

    token: str
    expires_at: float


class Entries:
    """Keeps the registration entries and hands out join tokens.

    Each change is recorded durably before it takes effect. ``route`` is as in ``Principals``.
    """

    def __init__(
        self,
        *,
        registrations: Registrations,
        principals: Principals,
        records: Records,
        clock: Clock,
        new_id: Callable[[], str],
        route: str,
    ) -> None:
        self._registrations = registrations
        self._principals = principals
        self._records = records
        self._clock = clock
        self._new_id = new_id
        self._route = route

    async def add(
        self,
        context: Context,
        kind: PrincipalKind,
        principal: str,
        *,
        selectors: tuple[str, ...],
        ttl: int = 0,
    ) -> Entry:
        """Let the workloads that have all ``selectors`` be a registered, active principal.

        Raises Problem PC1020 for selectors that no workload could have, PC2007 and PC4001.
        """
        entry = Entry(
            id=self._new_id(),
            kind=kind,
            principal=principal,
            selectors=checked(selectors),
            ttl_seconds=ttl,
            created_at=self._clock.now(),
        )
        await self._principals.present(kind, principal)
        await self._act(context, "entries.add", entry)
        await asyncio.to_thread(self._registrations.add, entry)
        return entry

    async def list(
        self, kind: PrincipalKind | None = None, principal: str | None = None
    ) -> tuple[Entry, ...]:
        """All entries, or those of a kind, or of one principal; the oldest first."""
        found = await asyncio.to_thread(self._registrations.entries)
        return tuple(
            entry
            for entry in found
            if kind in {None, entry.kind} and principal in {None, entry.principal}
        )

    async def remove(self, context: Context, entry_id: str) -> None:
        """Take an entry back: nobody gets an SVID by it any more. Problem PC2010 for unknown."""
        for entry in await self.list():
            if entry.id == entry_id:
                await self._act(context, "entries.remove", entry)
                await asyncio.to_thread(self._registrations.remove, entry_id)
                return
        raise Problem("PC2010", "there is no registration entry of this id")

    async def join(
        self, context: Context, kind: PrincipalKind, principal: str, *, ttl: int = JOIN_SECONDS
    ) -> JoinToken:
        """A token by which one workload, once, becomes a registered, active principal.

        Raises Problem PC2007, PC4001 or PC4002 when there is none.
        """
        await self._principals.present(kind, principal)
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).digest()
        expires_at = self._clock.now() + ttl
        await self._records.act(
            context,
            "join.create",
            f"{kind}:{principal}",
            route=self._route,
            parameters={"fingerprint": digest.hex(), "expires_at": int(expires_at)},
        )
        await asyncio.to_thread(self._registrations.join, digest, kind, principal, expires_at)
        return JoinToken(token=token, expires_at=expires_at)

    async def _act(self, context: Context, method: str, entry: Entry) -> None:
        await self._records.act(
            context,
            method,
            f"{entry.kind}:{entry.principal}",
            route=self._route,
            parameters={
                "entry": entry.id,
                "selectors": list(entry.selectors),
                "ttl_seconds": entry.ttl_seconds,
            },
        )

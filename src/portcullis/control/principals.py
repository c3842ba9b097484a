"""Who exists and who gets a token: the service behind the APIs and the command line alike."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import msgspec

from portcullis.config import Tokens
from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Directory, KillFeed, PrincipalRecord
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.tokens import Minted, TokenAuthority

ROLES: Final = ("viewer", "approver", "responder", "admin")
"""What operators may be. Any of them reads; ``admin`` writes."""
LOCAL: Final = "local-"
"""How the names begin of operators who hold the issuer's key instead of a registration."""


class Containment(KillFeed, Protocol):
    """The kill feed with the one way to disable a principal, so that it acts at once."""

    async def set_state(self, kind: PrincipalKind, principal_id: str, state: str) -> bool:
        """Disable or enable, at once and durably; False for an unknown principal."""
        ...

    async def watch(self, seconds: float = 0.1) -> None:
        """Follow what other processes change, at most so far behind, until cancelled."""


class Principals:
    """Registers, disables and enables principals, and mints their tokens.

    Each change is recorded durably before it takes effect; a refusal is the caller's to record.
    ``route`` names the face in the records (``control``, ``api``, ``cli``).
    """

    def __init__(
        self,
        *,
        directory: Directory,
        feed: Containment,
        authority: TokenAuthority,
        records: Records,
        clock: Clock,
        tokens: Tokens,
        route: str,
    ) -> None:
        self._directory = directory
        self._feed = feed
        self._authority = authority
        self._records = records
        self._clock = clock
        self._tokens = tokens
        self._route = route

    async def create(
        self,
        context: Context,
        kind: PrincipalKind,
        principal_id: str,
        *,
        owner: str,
        roles: tuple[str, ...] = (),
    ) -> PrincipalRecord:
        """Register a principal. Raises Problem PC2009 when it exists or the name is reserved.

        ``owner`` is the team that answers for it: it stands in the log in clear.
        """
        name = f"{kind}:{principal_id}"
        if kind is PrincipalKind.OPERATOR and principal_id.startswith(LOCAL):
            raise Problem("PC2009", f"operators whose names begin with {LOCAL} are reserved")
        if await asyncio.to_thread(self._directory.get, kind, principal_id) is not None:
            raise Problem("PC2009", f"{name} exists")
        record = PrincipalRecord(
            kind=kind,
            id=principal_id,
            owner=owner,
            state="active",
            roles=tuple(sorted(set(roles))),
            created_at=self._clock.now(),
        )
        await self._records.act(
            context,
            "principals.create",
            name,
            route=self._route,
            parameters={"owner": owner, "roles": list(record.roles)},
        )
        await asyncio.to_thread(self._directory.create, record)
        return record

    async def list(self, kind: PrincipalKind | None = None) -> tuple[PrincipalRecord, ...]:
        """All principals, or those of one kind."""
        return await asyncio.to_thread(self._directory.list, kind)

    async def get(self, kind: PrincipalKind, principal_id: str) -> PrincipalRecord:
        """One principal. Raises Problem PC2010 when there is none."""
        record = await asyncio.to_thread(self._directory.get, kind, principal_id)
        if record is None:
            raise Problem("PC2010", f"there is no {kind} of this name")
        return record

    async def set_state(
        self, context: Context, kind: PrincipalKind, principal_id: str, state: str
    ) -> PrincipalRecord:
        """Disable (from the next request on) or enable. Raises Problem PC2010 for unknown."""
        record = await self.get(kind, principal_id)
        verb = "enable" if state == "active" else "disable"
        name = f"{kind}:{principal_id}"
        await self._records.act(context, f"principals.{verb}", name, route=self._route)
        await self._feed.set_state(kind, principal_id, state)
        return msgspec.structs.replace(record, state=state)

    async def mint(
        self,
        context: Context,
        kind: PrincipalKind,
        principal_id: str,
        *,
        ttl: int | None = None,
        until: float | None = None,
        session: str | None = None,
        auth_time: int | None = None,
    ) -> Minted:
        """A token for a registered, active principal, recorded before it is handed out.

        It lives ``ttl`` seconds (at most and by default the configured time), but not past
        ``until``. ``auth_time`` continues a chain of renewals, which ends when configured.
        Raises Problem PC2007 (unknown), PC4001 (cut off), PC4002 (feed stale), PC2003 (the
        chain or ``until`` has ended), PC1020 (``ttl`` too long).
        """
        record = await self.present(kind, principal_id)
        longest = self._tokens.ttl_seconds
        if ttl is not None and ttl > longest:
            raise Problem("PC1020", f"ttl_seconds is more than {longest}, the configured time")
        now = int(self._clock.now())
        end = now + (ttl or longest)
        if auth_time is not None:
            end = min(end, auth_time + self._tokens.renew_until_seconds)
        if until is not None:
            end = min(end, int(until))
        if end <= now:
            raise Problem("PC2003", "the time for renewing this token is over")
        minted = self._authority.mint(
            kind,
            principal_id,
            ttl=end - now,
            roles=record.roles,
            session=session,
            auth_time=auth_time,
        )
        await self._records.act(
            context,
            "tokens.mint",
            f"{kind}:{principal_id}",
            route=self._route,
            parameters={"credential": minted.id, "expires_at": int(minted.expires_at)},
        )
        return minted

    async def present(self, kind: PrincipalKind, principal_id: str) -> PrincipalRecord:
        """The record of a principal that may act now. Raises Problem PC2007, PC4001 or PC4002."""
        record = await asyncio.to_thread(self._directory.get, kind, principal_id)
        if record is None:
            raise Problem("PC2007", f"there is no {kind} of this name")
        if self._feed.stale():
            raise Problem("PC4002", "the containment feed is stale")
        holder = Principal(kind=kind, id=principal_id, credential="", expires_at=0)
        reason = self._feed.reason(holder, None)
        if reason is not None or record.state != "active":
            raise Problem("PC4001", f"the {kind} is cut off")
        return record

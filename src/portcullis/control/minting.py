"""Who may act now, and the tokens of those who may."""

from __future__ import annotations

import asyncio
import math

from portcullis.config import Tokens
from portcullis.control.containment import Containment
from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State
from portcullis.core.ports import Clock, Directory, PrincipalRecord
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.tokens import AUDIENCE, Minted, TokenAuthority


class Minting:
    """Mints tokens for principals that are registered and active."""

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

    async def bearer(
        self, context: Context, kind: PrincipalKind, principal_id: str, *, ttl: int | None = None
    ) -> Minted:
        """A token that is bound to no key, for who asks by name.

        Raises Problem PC2049 unless ``tokens.bearer`` allows it, PC2004 for an operator, and
        those of ``mint``.
        """
        if kind is PrincipalKind.OPERATOR:
            hint = "Log in: `portcullis operator login NAME`."
            raise Problem("PC2004", "operators get their tokens by logging in", hint=hint)
        if self._tokens.bearer == "never":
            detail = "tokens.bearer is never: no token is handed out that is bound to no key"
            raise Problem("PC2049", detail)
        return await self.mint(context, kind, principal_id, ttl=ttl)

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
        roles: tuple[str, ...] | None = None,
        audience: str = AUDIENCE,
        break_glass: str = "",
    ) -> Minted:
        """A token for a registered, active principal, recorded before it is handed out.

        It lives ``ttl`` seconds (at most and by default the configured time), but not past
        ``until`` or its review. ``auth_time`` continues a chain of renewals, which ends when
        configured. ``roles`` are an operator's own unless fewer are given, or more with the
        id under which it broke the glass. Raises Problem PC2007
        (unknown), PC4001 (cut off), PC4002 (feed stale), PC2003 (the chain or ``until`` has
        ended), PC1020 (``ttl`` too long).
        """
        record = await self.present(kind, principal_id)
        operator = kind is PrincipalKind.OPERATOR
        longest = self._tokens.operator_ttl_seconds if operator else self._tokens.ttl_seconds
        if ttl is not None and ttl > longest:
            raise Problem("PC1020", f"ttl_seconds is more than {longest}, the configured time")
        now = int(self._clock.now())
        end = now + (ttl or longest)
        if auth_time is not None:
            end = min(end, auth_time + self._tokens.renew_until_seconds)
        for last in (until, record.review_at or None):
            end = end if last is None else min(end, int(last))
        if end <= now:
            raise Problem("PC2003", "the time for renewing this token is over")
        minted = self._authority.mint(
            kind,
            principal_id,
            ttl=end - now,
            roles=record.roles if roles is None else roles,
            session=session,
            auth_time=auth_time,
            audience=audience,
            break_glass=break_glass,
        )
        await self._records.act(
            context,
            "tokens.mint",
            f"{kind}:{principal_id}",
            route=self._route,
            parameters={"credential": minted.id, "expires_at": int(minted.expires_at)},
        )
        return minted

    def unrotated(self, kind: PrincipalKind, principal_id: str, since: float) -> None:
        """Raise Problem PC4001 when it was rotated or cut off after ``since``."""
        holder = Principal(
            kind=kind, id=principal_id, credential="", expires_at=math.inf, issued_at=since
        )
        reason = self._feed.reason(holder, None)
        if reason is not None:
            raise Problem("PC4001", reason)

    async def present(self, kind: PrincipalKind, principal_id: str) -> PrincipalRecord:
        """The record of a principal that may act now. Raises Problem PC2007, PC4001 or PC4002."""
        record = await asyncio.to_thread(self._directory.get, kind, principal_id)
        if record is None:
            raise Problem("PC2007", f"there is no {kind} of this name")
        if self._feed.stale():
            raise Problem("PC4002", "the containment feed is stale")
        holder = Principal(  # with a credential that is yet to be made
            kind=kind, id=principal_id, credential="", expires_at=math.inf, issued_at=math.inf
        )
        reason = self._feed.reason(holder, None)
        overdue = 0 < record.review_at <= self._clock.now()
        if reason is not None or record.state is not State.ACTIVE or overdue:
            raise Problem("PC4001", f"the {kind} is cut off")
        ahead = record.rotated_at - self._clock.now()  # a millisecond: what is made now is newer
        if ahead > 1:
            hint = "Set the clock right, or rotate it again."
            raise Problem("PC4001", "its rotation is yet to come: the clock went back", hint=hint)
        await asyncio.sleep(max(0.0, ahead))
        return record

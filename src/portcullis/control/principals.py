"""Who exists, in which state, and who gets a token: behind the APIs and the command line alike."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from portcullis.config import Tokens
from portcullis.control.containment import CUTTING, LIVING, Containment, acting, by_itself, nothing
from portcullis.control.finishing import Finishing
from portcullis.control.giving import above, lasting, may_give
from portcullis.control.minting import Minting
from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State, Verb, after
from portcullis.core.passkey_ports import Passkeys
from portcullis.core.ports import (
    Clock,
    Directory,
    Operators,
    PrincipalRecord,
    Registrations,
)
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Roles
from portcullis.core.spiffe import parse
from portcullis.identity.tokens import TokenAuthority

log = structlog.get_logger(__name__)


LOCAL: Final = "local-"
"""How the names begin of operators who hold the issuer's key instead of a registration."""
OIDC: Final = "oidc-"
"""How the names begin of operators for whom an issuer of ID tokens vouches."""
_BUILT_IN: Final = Roles()
REVIEW_SECONDS: Final = 90 * 86_400
"""How long a program lives without a review, unless its owner names a date."""


class Principals(Minting):
    """Registers principals, leads them through their life, and mints their tokens.

    What cuts somebody off acts first and is then recorded and written; when either fails it
    stays, and the caller gets the error. Everything else is recorded durably before it takes
    effect. A refusal is the caller's to record. ``route`` names the face in the records.
    """

    def __init__(
        self,
        *,
        directory: Directory,
        registrations: Registrations,
        operators: Operators,
        feed: Containment,
        authority: TokenAuthority,
        records: Records,
        clock: Clock,
        tokens: Tokens,
        trust_domain: str,
        route: str,
        passkeys: Passkeys | None = None,
        roles: Roles = _BUILT_IN,
    ) -> None:
        self.roles = roles
        super().__init__(
            directory=directory,
            feed=feed,
            authority=authority,
            records=records,
            clock=clock,
            tokens=tokens,
            route=route,
        )
        self._registrations = registrations
        self._operators = operators
        self._trust_domain = trust_domain
        self._passkeys = passkeys
        self._finish = Finishing()

    @property
    def changing(self) -> asyncio.Lock:
        """Held while a record changes: who holds it sees each change whole or not at all."""
        return self._feed.changing

    async def create(
        self,
        context: Context,
        kind: PrincipalKind,
        principal_id: str,
        *,
        owner: str,
        purpose: str = "",
        review_at: float | None = None,
        spiffe_id: str = "",
        roles: tuple[str, ...] = (),
        users: tuple[str, ...] = (),
        vouched: bool = False,
    ) -> PrincipalRecord:
        """Register a principal. Raises Problem PC2009 when it exists or the name is reserved.

        A program is up for review in 90 days unless ``review_at`` says when. ``spiffe_id`` is an
        identity of another trust domain that also stands for it (PC2024, PC2027). ``owner``, the
        team that answers for it, and ``purpose`` stand in the log in clear; ``users``, by which
        names an operator is known as a user, do not. ``vouched``: for this operator an issuer of ID
        tokens vouches. Raises Problem PC3086, PC7043, PC7044, PC7046 as ``set_roles`` does.
        """
        if kind is PrincipalKind.OPERATOR and not vouched:
            may_give(self.roles, context, roles)
        name = f"{kind}:{principal_id}"
        reserved = LOCAL if vouched else (LOCAL, OIDC)
        if kind is PrincipalKind.OPERATOR and principal_id.startswith(reserved):
            raise Problem("PC2009", f"operators' names that begin with {LOCAL} or {OIDC} are taken")
        if spiffe_id and parse(spiffe_id).trust_domain == self._trust_domain:
            raise Problem("PC2027", "identities of our own trust domain follow from the name")
        if await asyncio.to_thread(self._directory.get, kind, principal_id) is not None:
            raise Problem("PC2009", f"{name} exists, or did and was revoked")
        record = PrincipalRecord(
            kind=kind,
            id=principal_id,
            owner=owner,
            state=State.ACTIVE,
            roles=tuple(sorted(set(roles))),
            created_at=self._clock.now(),
            purpose=purpose,
            review_at=0.0 if kind is PrincipalKind.OPERATOR else self._review(review_at),
            spiffe_id=spiffe_id,
            users=tuple(sorted(set(users))),
        )
        parameters = {"owner": owner, "purpose": purpose, "review_at": int(record.review_at)}
        if spiffe_id:
            parameters["spiffe_id"] = spiffe_id
        if users:
            parameters["users"] = len(record.users)
        await self._act(context, "create", name, parameters | {"roles": list(record.roles)})
        await self._feed.create(record)
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

    async def change(
        self,
        context: Context,
        kind: PrincipalKind,
        principal_id: str,
        verb: Verb,
        *,
        review_at: float | None = None,
    ) -> PrincipalRecord:
        """Suspend, resume, review or revoke a principal; its new record.

        A review moves the review date on, by 90 days or to ``review_at``. Raises Problem PC2010
        for an unknown principal, PC2073 when the verb does not apply to its state, PC7046 when an
        operator who has more rights is resumed.
        """
        review = self._review(review_at) if verb is Verb.REVIEW else None

        def changed(record: PrincipalRecord) -> PrincipalRecord:
            if verb is Verb.REVIEW and record.kind is PrincipalKind.OPERATOR:
                raise Problem("PC2073", "operators are not reviewed")
            if verb is Verb.RESUME and record.kind is PrincipalKind.OPERATOR:
                above(self.roles, context, record)
            state = after(record.state, verb)
            if review is None:
                return msgspec.structs.replace(record, state=state)
            return msgspec.structs.replace(record, state=state, review_at=review)

        held = CUTTING.get(verb)
        release = nothing if held is None else self._feed.hold(kind, principal_id, held)
        parameters = {} if review is None else {"review_at": int(review)}
        work = self._changed(
            context, kind, principal_id, verb, changed, release, parameters, cuts=bool(held)
        )
        return await self._finish(acting(work) if held else work)

    async def rotate(
        self, context: Context, kind: PrincipalKind, principal_id: str
    ) -> PrincipalRecord:
        """Make every credential that a principal has worthless; it may get new ones.

        Raises Problem PC2010 for an unknown principal, PC2073 for a revoked one.
        """
        return await self._outdated(context, kind, principal_id, "rotate", None)

    async def unname(self, context: Context, principal_id: str) -> PrincipalRecord:
        """Have no identity of another trust domain stand for an agent any more.

        Raises Problem PC2010 for an unknown agent.
        """

        def changed(record: PrincipalRecord) -> PrincipalRecord:
            return msgspec.structs.replace(record, spiffe_id="")

        return await self._changed(
            context, PrincipalKind.AGENT, principal_id, "unname", changed, nothing, {}, cuts=True
        )

    async def set_roles(
        self,
        context: Context,
        principal_id: str,
        roles: tuple[str, ...],
        *,
        vouched: bool = False,
    ) -> PrincipalRecord:
        """Give an operator other roles; the tokens that name the old ones are worthless.

        Raises Problem PC3086 for who broke the glass, PC7043 for a role that there is not, PC7044
        when they give rights that nobody shall have together, PC7046 when they give, or the
        operator has, a right that who asks has not; none of these where an issuer ``vouched``.
        """
        kind = PrincipalKind.OPERATOR

        def held(record: PrincipalRecord) -> None:
            if not vouched:
                above(self.roles, context, record)

        if not vouched:
            may_give(self.roles, context, roles)
        held(await self.get(kind, principal_id))  # before his tokens are worthless
        return await self._outdated(context, kind, principal_id, "roles", roles, held)

    async def set_users(
        self,
        context: Context,
        principal_id: str,
        users: tuple[str, ...],
        *,
        more: bool = False,
        vouched: bool = False,
    ) -> PrincipalRecord:
        """Say by which names an operator is known as a user; the log says how many.

        With ``more``, beside those by which he is known. Raises Problem PC2010 for an unknown
        operator, PC2073 for a revoked one, PC3086 for who broke the glass, PC7046 when he has a
        right that who asks has not, unless an issuer ``vouched``.
        """
        lasting(context)
        said: dict[str, int] = {}

        def changed(record: PrincipalRecord) -> PrincipalRecord:
            if record.state not in LIVING:
                raise Problem("PC2073", f"nothing is left of a principal that is {record.state}")
            if not vouched:
                above(self.roles, context, record)
            known = tuple(sorted({*users, *(record.users if more else ())}))
            said["users"] = len(known)
            return msgspec.structs.replace(record, users=known)

        kind = PrincipalKind.OPERATOR
        return await self._changed(
            context, kind, principal_id, "users", changed, nothing, said, cuts=False
        )

    async def cut(self, context: Context, credential: str) -> None:
        """Cut off one credential, a token's id or ``svid:`` and a certificate's serial number."""
        reason = "its credential was revoked"
        self._feed.sever("credential", credential, reason)

        async def durably() -> None:
            try:
                await self._records.act(
                    context, "credentials.revoke", credential, route=self._route
                )
            finally:
                await self._feed.cut("credential", credential, reason)

        await self._finish(acting(durably()))

    async def expire_due(self) -> int:
        """Expire whoever's review date has come; how many."""
        now = self._clock.now()
        due = await asyncio.to_thread(self._directory.due, now)
        for found in due:

            def expired(record: PrincipalRecord) -> PrincipalRecord:
                if not 0 < record.review_at <= now:
                    raise Problem("PC2073", "it has just been reviewed")
                state = after(record.state, Verb.EXPIRE)
                self._feed.hold(record.kind, record.id, state)
                return msgspec.structs.replace(record, state=state)

            try:
                await self._changed(
                    *(by_itself(now), found.kind, found.id, Verb.EXPIRE, expired, nothing),
                    {"review_at": int(found.review_at)},
                    cuts=True,
                )
            except Problem as problem:
                if problem.code != "PC2073":
                    raise
        return len(due)

    async def watch_reviews(self, seconds: float = 1.0) -> None:
        """Let time do its part every so many seconds, until cancelled."""
        while True:
            try:
                await self.expire_due()
            except Exception:
                log.exception("expiry_failed")  # tried again; new credentials are refused anyway
            await asyncio.sleep(seconds)

    async def _outdated(
        self,
        context: Context,
        kind: PrincipalKind,
        principal_id: str,
        method: str,
        roles: tuple[str, ...] | None,
        held: Callable[[PrincipalRecord], None] = lambda _: None,
    ) -> PrincipalRecord:
        at = (math.floor(self._clock.now() * 1000) + 1) / 1000  # credentials know milliseconds
        release = self._feed.outdate(kind, principal_id, at)

        def changed(record: PrincipalRecord) -> PrincipalRecord:
            if record.state not in LIVING:
                raise Problem("PC2073", f"nothing is left of a principal that is {record.state}")
            held(record)
            new = record.roles if roles is None else tuple(sorted(set(roles)))
            return msgspec.structs.replace(record, rotated_at=at, roles=new)

        parameters = {} if roles is None else {"roles": sorted(set(roles))}
        cuts = roles is None  # whoever gets roles has to be recorded first
        work = self._changed(
            context, kind, principal_id, method, changed, release, parameters, cuts=cuts
        )
        return await self._finish(acting(work) if cuts else work)

    async def _changed(
        self,
        context: Context,
        kind: PrincipalKind,
        principal_id: str,
        method: str,
        changed: Callable[[PrincipalRecord], PrincipalRecord],
        release: Callable[[], None],
        parameters: Mapping[str, Any],
        *,
        cuts: bool,
    ) -> PrincipalRecord:
        """Record a change and make it durable. ``release`` undoes what acted when it is none.

        What ``cuts`` somebody off becomes durable even when it cannot be recorded.
        """
        name = f"{kind}:{principal_id}"
        async with self._feed.changing:
            try:
                new = changed(await self.get(kind, principal_id))
            except Problem:
                release()
                raise
            if not cuts:
                await self._act(context, method, name, parameters)
                await self._feed.put(new)
                return new
            try:
                await self._act(context, method, name, parameters)
            finally:
                await self._feed.put(new)
                await asyncio.to_thread(self._registrations.forget, kind, principal_id)
                if kind is PrincipalKind.OPERATOR:
                    await asyncio.to_thread(self._disarm, new, rotated=method == "rotate")
        return new

    def _disarm(self, record: PrincipalRecord, *, rotated: bool) -> None:
        """Take away what an operator logs in with that lives no more, or was rotated."""
        ended = record.state not in LIVING
        if self._passkeys is not None and (ended or rotated):
            self._passkeys.forget(record.id)
        if ended:
            self._operators.remove(record.id)

    async def _act(
        self, context: Context, method: str, name: str, parameters: Mapping[str, Any]
    ) -> None:
        await self._records.act(
            context, f"principals.{method}", name, route=self._route, parameters=parameters
        )

    def _review(self, at: float | None) -> float:
        now = self._clock.now()
        if at is not None and at <= now:
            raise Problem("PC1020", "review_at is not in the future")
        return now + REVIEW_SECONDS if at is None else at

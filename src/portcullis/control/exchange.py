"""The token endpoint: who may have which token (RFC 6749 section 4.4, RFC 8693, RFC 8705, 9449).

    certificate                        -> access token bound to it
    JWT-SVID + DPoP proof              -> access token bound to the proof's key
    delegation + either of these       -> access token of the agent it names, for its delegator
    bound access token, other agent    -> delegation for that agent
    token bound to no key              -> the same again, where tokens.bearer allows it

What comes out is never wider, in scope, session or time, than what came in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec
import structlog

from portcullis.config import Tokens
from portcullis.control.callers import Asked, Callers
from portcullis.control.form import ACCESS_TOKEN, CLIENT_CREDENTIALS, JWT, Form, TokenProblem, parse
from portcullis.control.principals import Principals
from portcullis.core.call import Context
from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.core.rights import Right
from portcullis.core.scope import narrowed
from portcullis.core.scope import parse as parse_scope
from portcullis.core.spiffe import ours
from portcullis.identity.records import IdentityRecords
from portcullis.identity.tokens import (
    AUDIENCE,
    Actor,
    Claims,
    Confirmation,
    Grant,
    Minted,
    TokenAuthority,
    fingerprint,
)

log = structlog.get_logger(__name__)

Usable: TypeAlias = Callable[[Context, tuple[str, ...]], bool]
"""Whether policy lets the context's agent, and all for whom it acts, use what a scope names."""

_WORKLOADS: Final = frozenset({PrincipalKind.AGENT, PrincipalKind.APPLICATION})


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered (RFC 8693 section 2.2.1)."""

    minted: Minted
    token_type: str
    issued_token_type: str
    scope: tuple[str, ...] | None = None


class TokenExchange:
    """Issues tokens; each is recorded before it is handed out, and so is each refusal."""

    def __init__(
        self,
        *,
        callers: Callers,
        authority: TokenAuthority,
        principals: Principals,
        usable: Usable,
        records: IdentityRecords,
        clock: Clock,
        tokens: Tokens,
        trust_domain: str,
    ) -> None:
        self._callers = callers
        self._authority = authority
        self._principals = principals
        self._usable = usable
        self._records = records
        self._clock = clock
        self._tokens = tokens
        self._agents = str(ours(trust_domain, PrincipalKind.AGENT, ""))

    async def serve(self, asked: Asked) -> Issued:
        """Answer one request, or raise the Problem that is recorded for it."""
        try:
            form = parse(asked.content_type, asked.body, origin=asked.origin)
            asked.shown = form.subject_token
            if form.grant_type == CLIENT_CREDENTIALS:
                return await self._credentials(asked, form)
            return await self._exchange(asked, form)
        except Problem as problem:
            raise self.refused(asked, problem) from None
        except Exception:
            log.exception("token_exchange_failed")
            raise self.refused(asked, Problem("PC9002", "the exchange failed")) from None

    async def _credentials(self, asked: Asked, form: Form) -> Issued:
        """The caller's own token for its certificate (RFC 8705 section 2.1)."""
        if asked.presented.peer is None:
            raise Problem("PC2020", "client_credentials is for who shows an SVID (mTLS)")
        caller = self._callers.certified(asked)
        return await self._own(asked, form, caller, self._callers.key(asked))

    async def _exchange(self, asked: Asked, form: Form) -> Issued:
        token = form.subject_token
        if form.subject_token_type == JWT and not self._authority.wrote(token):
            _only_for_us(form)
            key = self._callers.key(asked)
            return await self._own(asked, form, self._callers.assertion(asked, token), key)
        claims = self._authority.verify(token)
        if claims.may_act is not None:
            return await self._take_over(asked, form, claims)
        if form.actor_token:
            raise TokenProblem("invalid_request", "PC2008", "this subject_token takes no actor")
        await self._callers.hold(asked, form, claims)
        if form.audience != AUDIENCE:
            return await self._hand_on(asked, form, claims)
        return await self._renew(asked, form, claims)

    async def _own(self, asked: Asked, form: Form, caller: Principal, key: Confirmation) -> Issued:
        if caller.kind not in _WORKLOADS:
            raise TokenProblem("unauthorized_client", "PC2004", "this is for programs")
        await self._callers.admit(asked, form, caller)
        name = f"{caller.kind}:{caller.id}"
        grant = Grant(
            sub=name,
            client_id=name,
            auth_time=int(self._clock.now()),
            scope=self._scope(asked, form.words(), None, caller, None),
            cnf=key,
        )
        return await self._issue(asked, grant, caller, None)

    async def _take_over(self, asked: Asked, form: Form, claims: Claims) -> Issued:
        """From a delegation to a token of the agent that it names (RFC 8693 section 4.4)."""
        _only_for_us(form)
        named = claims.principal()
        if not form.actor_token and asked.presented.peer is None:
            self._authority.authenticate(Presented(token=form.subject_token))
            await self._callers.admit(asked, form, named)
            session = await self._callers.open(named)
            return await self._again(asked, form, claims, session)
        key = self._callers.key(asked)
        if form.actor_token:
            caller = self._callers.assertion(asked, form.actor_token)
        else:
            caller = self._callers.certified(asked)
        asked.caller = caller
        if (caller.kind, caller.id) != (named.kind, named.id):
            raise Problem("PC2051", "the delegation names another agent")
        await self._callers.admit(asked, form, caller)
        session = await self._callers.open(named)
        name = f"{caller.kind}:{caller.id}"
        grant = Grant(
            sub=claims.sub,
            client_id=name,
            auth_time=claims.auth_time,
            scope=self._scope(asked, form.words(), named.scope, named, session),
            sid=claims.sid,
            cnf=key,
            act=Actor(name, claims.act),
        )
        return await self._issue(asked, grant, named, session, claims)

    async def _hand_on(self, asked: Asked, form: Form, claims: Claims) -> Issued:
        """From an agent's token to a delegation for another agent, which is for that one only."""
        giver = claims.principal()
        other = form.audience.removeprefix(self._agents)
        if other == form.audience or form.requested_subject:
            detail = f"audience must be {AUDIENCE} or the SPIFFE ID of an agent of ours"
            raise TokenProblem("invalid_target", "PC2008", detail)
        if giver.kind is not PrincipalKind.AGENT or giver.id == other:
            raise Problem("PC2051", "an agent delegates to another agent")
        await self._principals.present(PrincipalKind.AGENT, other)
        session = await self._callers.open(giver)
        grant = Grant(
            sub=claims.sub,
            client_id=f"agent:{giver.id}",
            auth_time=claims.auth_time,
            scope=self._scope(asked, form.words(), giver.scope, giver, session),
            sid=claims.sid,
            act=claims.act,
            may_act=Actor(f"agent:{other}"),
        )
        return await self._issue(asked, grant, giver, session, claims)

    async def _renew(self, asked: Asked, form: Form, claims: Claims) -> Issued:
        """Another token bound to no key, or, for an administrator, one for a program."""
        holder = claims.principal()
        if form.requested_subject:
            return await self._for_another(asked, form, holder)
        if claims.cnf is not None and form.subject_token_type == JWT:
            raise Problem("PC2035", "an access token is no JWT-SVID")
        if claims.cnf is not None:
            detail = "a bound token is not renewed: show certificate or JWT-SVID again"
            raise TokenProblem("invalid_request", "PC2008", detail)
        if holder.kind is PrincipalKind.OPERATOR:
            _unscoped(form)
            if not holder.roles:
                raise Problem("PC2086", "a login for adding a passkey is not renewed")
            minted = await self._principals.mint(
                self._as(asked, holder), holder.kind, holder.id, auth_time=claims.auth_time
            )
            await self._callers.open(holder)  # a rotation meanwhile made what it showed worthless
            return Issued(minted=minted, token_type="Bearer", issued_token_type=ACCESS_TOKEN)  # noqa: S106 - a type
        return await self._again(asked, form, claims, await self._callers.open(holder))

    async def _again(
        self, asked: Asked, form: Form, claims: Claims, session: Session | None
    ) -> Issued:
        """The same token with a new id and a new end, which the chain of renewals bounds."""
        holder = claims.principal()
        grant = Grant(
            **{name: getattr(claims, name) for name in Grant.__struct_fields__ if name != "scope"},
            scope=self._scope(asked, form.words(), holder.scope, holder, session),
        )
        longest = claims.auth_time + self._tokens.renew_until_seconds
        return await self._issue(asked, grant, holder, session, until=longest)

    async def _for_another(self, asked: Asked, form: Form, holder: Principal) -> Issued:
        _unscoped(form)
        rights = self._principals.roles.rights(holder.roles)
        if holder.kind is not PrincipalKind.OPERATOR or Right.PRINCIPALS_MANAGE not in rights:
            detail = f"requested_subject needs an operator with {Right.PRINCIPALS_MANAGE}"
            raise TokenProblem("unauthorized_client", "PC2004", detail)
        kind, _, name = form.requested_subject.partition(":")
        if kind not in _WORKLOADS:
            detail = "requested_subject must be agent:NAME or application:NAME"
            raise TokenProblem("invalid_request", "PC2008", detail)
        minted = await self._principals.bearer(self._as(asked, holder), PrincipalKind(kind), name)
        return Issued(minted=minted, token_type="Bearer", issued_token_type=ACCESS_TOKEN)  # noqa: S106 - a type

    # what it gets

    def _scope(
        self,
        asked: Asked,
        wanted: tuple[str, ...] | None,
        held: tuple[str, ...] | None,
        principal: Principal,
        session: Session | None,
    ) -> str | None:
        """The scope of a new token, within what is held and what policy lets the agent use."""
        words = narrowed(held, wanted)
        if wanted is not None and not self._usable(self._as(asked, principal, session), wanted):
            raise Problem("PC2050", "the scope is more than policy lets the agent use")
        return None if words is None else " ".join(words)

    async def _issue(
        self,
        asked: Asked,
        grant: Grant,
        holder: Principal,
        session: Session | None,
        origin: Claims | None = None,
        *,
        until: float = math.inf,
    ) -> Issued:
        """Mint and record. ``origin`` is the token that this one comes from and never outlives."""
        now = int(self._clock.now())
        peer = asked.presented.peer
        end = now + self._tokens.ttl_seconds
        ends = (
            until,
            math.inf if origin is None else origin.exp,
            math.inf if session is None else session.expires_at,
            math.inf if peer is None else peer.expires_at,
        )
        end = int(min(end, *ends))
        if end <= now:
            raise Problem("PC2003", "the time of what this token comes from is over")
        minted = self._authority.issue(grant, expires_at=end)
        delegated = grant.may_act is not None
        await self._records.done(
            "token.delegate" if delegated else "token.issue",
            kind=holder.kind,
            principal=holder.id,
            credential=minted.id,
            source=asked.source,
            parameters=_parameters(grant, holder, end, origin),
        )
        bound = grant.cnf
        kind = "Bearer" if bound is None or bound.jkt is None else "DPoP"
        return Issued(
            minted=minted,
            token_type="N_A" if delegated else kind,
            issued_token_type=JWT if delegated else ACCESS_TOKEN,
            scope=None if grant.scope is None else parse_scope(grant.scope),
        )

    def _as(self, asked: Asked, principal: Principal, session: Session | None = None) -> Context:
        return Context(
            principal=principal,
            session=session,
            source=asked.source,
            trace_id=asked.trace_id,
            received_at=self._clock.now(),
        )

    def refused(self, asked: Asked, problem: Problem) -> Problem:
        """Record a refusal; returns the problem to answer with."""
        caller, peer = asked.caller, asked.presented.peer
        credential = problem.credential or (f"svid:{peer.serial}" if peer else "")
        if asked.shown:
            credential = fingerprint(asked.shown)
        return self._records.refused(
            "token.issue",
            problem,
            source=asked.source,
            kind=caller.kind if caller else "",
            principal=caller.id if caller else "",
            credential=caller.credential if caller else credential,
        )


def _parameters(
    grant: Grant, holder: Principal, end: int, origin: Claims | None
) -> dict[str, object]:
    """What stands in the log of a new token: whose, bound to what, for what; absent if nothing."""
    cnf = grant.cnf
    found: dict[str, object] = {"expires_at": end, "subject": grant.sub}
    if cnf is not None:
        found["binding"] = f"x5t#S256:{cnf.x5t}" if cnf.jkt is None else f"jkt:{cnf.jkt}"
    if grant.may_act is not None:
        found["may_act"] = grant.may_act.sub
    if origin is not None:
        found["from"] = origin.jti
    if holder.chain:
        found["chain"] = list(holder.chain)
    if grant.sid is not None:
        found["session"] = grant.sid
    if grant.scope is not None:
        found["scope"] = grant.scope
    return found


def _only_for_us(form: Form) -> None:
    if form.audience != AUDIENCE or form.requested_subject:
        detail = "an audience or subject is named with one's own access token"
        raise TokenProblem("invalid_target", "PC2008", detail)


def _unscoped(form: Form) -> None:
    if form.scope:
        raise TokenProblem("invalid_scope", "PC2050", "this token has no scope")

"""Who asks the token endpoint: what was shown, to whom it belongs, and whether that is alive."""

from __future__ import annotations

import msgspec

from portcullis.config import Tokens
from portcullis.control.form import Form, TokenProblem
from portcullis.control.principals import Principals
from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, KillFeed, Once
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.core.session_ports import SessionState
from portcullis.core.spiffe import ours
from portcullis.identity import jwt_svid
from portcullis.identity.tokens import Claims, Confirmation, TokenAuthority, hold
from portcullis.identity.trust import Trust


class Asked(msgspec.Struct, kw_only=True):
    """One request. ``authorization`` is the token of an Authorization header, if there is one.

    ``origin`` is the scheme and authority under which the client knows us. ``caller`` is filled
    in as soon as it is known who asks, ``shown`` with the token: refusals are recorded with them.
    """

    content_type: str
    body: bytes
    presented: Presented
    source: str
    trace_id: str
    origin: str
    authorization: str = ""
    caller: Principal | None = None
    shown: str = ""


class Callers:
    """Finds out who asks.

    ``trust_domain`` is ours: JWT-SVIDs have to be for ``spiffe://DOMAIN/gateway/gate``. ``once``
    remembers those that were used.
    """

    def __init__(
        self,
        *,
        authority: TokenAuthority,
        principals: Principals,
        feed: KillFeed,
        sessions: SessionState,
        trust: Trust,
        once: Once,
        clock: Clock,
        tokens: Tokens,
        trust_domain: str,
    ) -> None:
        self._authority = authority
        self._principals = principals
        self._feed = feed
        self._sessions = sessions
        self._trust = trust
        self._once = once
        self._clock = clock
        self._skew = tokens.clock_skew_seconds
        self._trust_domain = trust_domain
        self._audience = str(ours(trust_domain, PrincipalKind.GATEWAY, "gate"))

    def certified(self, asked: Asked) -> Principal:
        """Whose certificate the connection was made with. Problem PC2001 without one, PC2022."""
        return self._authority.authenticate(Presented(peer=asked.presented.peer))

    def key(self, asked: Asked) -> Confirmation:
        """The key that a new token will be bound to. Raises Problem PC2040 when none is shown."""
        peer = asked.presented.peer
        if peer is not None:
            return Confirmation(x5t=peer.thumbprint)
        if not asked.presented.dpop:
            raise Problem("PC2040", "show a certificate (mTLS) or a DPoP proof")
        return Confirmation(jkt=self._authority.proof(asked.presented))

    def assertion(self, asked: Asked, token: str) -> Principal:
        """Whom a JWT-SVID stands for; it is spent by this, unless they are cut off.

        Raises Problem PC2036, PC4001, PC4002, and those of ``jwt_svid``.
        """
        shown = jwt_svid.verify(
            token,
            audience=self._audience,
            trust=self._trust,
            now=self._clock.now(),
            skew=self._skew,
        )
        kind, name = self._authority.stands_for(shown.id)
        caller = asked.caller = Principal(
            kind=kind,
            id=name,
            credential=shown.credential,
            expires_at=shown.expires_at,
            issued_at=shown.issued_at,
        )
        if shown.issued_at < self._once.since:
            detail = "the JWT-SVID was made before this gate started, or does not say when"
            raise Problem("PC2036", detail)
        self._uncut(caller, None)
        spent = bytes.fromhex(shown.fingerprint)
        if not self._once.spend(spent, shown.expires_at, f"{kind}:{name}"):
            raise Problem("PC2036", "the JWT-SVID has been used, or too many are in use")
        return caller

    async def hold(self, asked: Asked, form: Form, claims: Claims) -> None:
        """Whoever shows a token of its own has to have its key. See ``authenticate``."""
        holder = claims.principal()
        asked.caller = holder
        if claims.cnf is None:
            self._authority.authenticate(
                Presented(token=form.subject_token, peer=asked.presented.peer)
            )
        else:
            bound = claims.cnf.jkt is not None and asked.presented.dpop
            jkt = self._authority.proof(asked.presented) if bound else None
            hold(claims.cnf, asked.presented.peer, jkt)
        await self.admit(asked, form, holder)

    async def admit(self, asked: Asked, form: Form, caller: Principal) -> None:
        """The caller is registered, alive and not cut off, and nothing shown names another.

        Raises Problem PC2005, PC2007, PC4001, PC4002.
        """
        asked.caller = caller
        names = (
            f"{caller.kind}:{caller.id}",
            str(ours(self._trust_domain, caller.kind, caller.id)),
        )
        if form.client_id and form.client_id not in names:
            raise TokenProblem("invalid_client", "PC2005", "client_id names another principal")
        if asked.presented.peer is not None:
            certified = self.certified(asked)
            if (certified.kind, certified.id) != (caller.kind, caller.id):
                raise Problem("PC2005", "token and certificate name two principals")
            self._uncut(certified, None)
        if asked.authorization:
            self._agree(asked, caller)
        self._uncut(caller, None)
        if caller.kind is not PrincipalKind.OPERATOR:  # those of the issuer's key are nowhere
            await self._principals.present(caller.kind, caller.id)
            self._uncut(caller, None)  # what is made now would be newer than a rotation meanwhile

    def _agree(self, asked: Asked, caller: Principal) -> None:
        """An Authorization header is not needed here; one that names another is refused."""
        shown = Presented(token=asked.authorization, peer=asked.presented.peer)
        try:
            other = self._authority.authenticate(shown)
        except Problem as problem:
            raise TokenProblem("invalid_client", problem.code, problem.detail) from None
        if (other.kind, other.id) != (caller.kind, caller.id):
            detail = "Authorization names another principal than the token shown"
            raise TokenProblem("invalid_client", "PC2005", detail)

    async def open(self, holder: Principal) -> Session | None:
        """The session that a token acts in, of the agent that began; nobody in it is cut off.

        Raises Problem PC2006, PC4001, PC4002.
        """
        session = None
        if holder.session is not None:
            session = await self._sessions.get(holder.session)
            if session is None or session.agent != (holder.id, *holder.chain)[-1]:
                raise Problem("PC2006", "the session of this token is not open")
        self._uncut(holder, session)
        return session

    def _uncut(self, principal: Principal, session: Session | None) -> None:
        if self._feed.stale():
            raise Problem("PC4002", "the containment feed is stale")
        reason = self._feed.reason(principal, session)
        if reason is not None:
            raise Problem("PC4001", reason)

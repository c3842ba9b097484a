"""Who may come in: from what a request shows to the context of a call."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from portcullis.core.call import Context
from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.core.ports import Authenticator, Clock
from portcullis.core.principal import PrincipalKind, Session
from portcullis.core.session_ports import SessionState
from portcullis.core.trace import Trace
from portcullis.gateway.http import Request
from portcullis.wire.target import target

_MAX_CREDENTIAL: Final = 8192
_SCHEMES: Final = frozenset({b"bearer", b"dpop"})


class Access:
    """Authenticates agents, each time anew, and finds the session that they act in."""

    def __init__(self, authenticator: Authenticator, sessions: SessionState, clock: Clock) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self._clock = clock

    async def admit(
        self,
        shown: Presented,
        *,
        source: str,
        trace_id: str,
        spend: bool = True,
        trace: Trace | None = None,
    ) -> Context:
        """The context of an agent's call; unless ``spend``, a proof may be shown once more.

        Raises the Authenticator's Problems, PC2004 for another kind of principal, and PC2006
        when the credential is a session's token and that session is not open for this agent or
        for one on whose behalf it acts.
        """
        if spend:
            principal = await self._authenticator.authenticated(shown)
        else:
            principal = self._authenticator.authenticate(shown, spend=False)
        if principal.kind is not PrincipalKind.AGENT:
            problem = Problem("PC2004", "this route is for agents")
            problem.credential = principal.credential
            raise problem
        session: Session | None = None
        if principal.session is not None:
            session = await self._sessions.get(principal.session)
            if session is None or session.agent not in {principal.id, *principal.chain}:
                raise Problem("PC2006", "the session of this token is not open")
        return Context(
            principal=principal,
            session=session,
            source=source,
            trace_id=trace_id,
            received_at=self._clock.now(),
            trace=trace,
        )


def presented(request: Request, names: Collection[str]) -> Presented:
    """The credentials of a request; ``names`` are those that clients know this host by.

    A token comes in ``Authorization``, as Bearer (RFC 6750) or DPoP (RFC 9449), or the same in
    ``x-api-key``; whether it may be absent is the Authenticator's to know. Raises Problem PC2005
    with two that differ, PC2002 for another scheme or what is no token.
    """
    token = _token(request)
    if len(token) > _MAX_CREDENTIAL or not token.isascii():
        raise Problem("PC2002", "the credential is malformed")
    proof = request.text(b"dpop") or ""
    host = request.headers.get(b"host", b"").decode("latin-1")
    return Presented(
        token=token.decode("ascii"),
        peer=request.scope.get("portcullis.peer"),
        dpop=proof,
        method=request.method,
        url=target(request.scope, host, names) if proof else "",
    )


def _token(request: Request) -> bytes:
    sent = request.headers.get(b"authorization")
    key = request.headers.get(b"x-api-key", b"")
    if sent is None:
        return key
    scheme, _, token = sent.partition(b" ")
    if scheme.lower() not in _SCHEMES or not token:
        raise Problem("PC2002", "the Authorization scheme must be Bearer or DPoP")
    if key and token != key:
        raise Problem("PC2005", "Authorization and x-api-key differ")
    return token

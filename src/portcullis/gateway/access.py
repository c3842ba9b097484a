"""Who may come in: from a credential to the context of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Authenticator, Clock, SessionState
from portcullis.core.principal import PrincipalKind, Session

_MAX_CREDENTIAL: Final = 8192


class Access:
    """Authenticates agents, each time anew, and finds the session that they act in."""

    def __init__(self, authenticator: Authenticator, sessions: SessionState, clock: Clock) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self._clock = clock

    async def admit(self, credential: str, *, source: str, trace_id: str) -> Context:
        """The context of an agent's call.

        Raises the Authenticator's Problems, PC2004 for another kind of principal, and PC2006
        when the credential is a session's token and that session is not open for this agent.
        """
        principal = self._authenticator.authenticate(credential)
        if principal.kind is not PrincipalKind.AGENT:
            raise Problem("PC2004", "this route is for agents")
        session: Session | None = None
        if principal.session is not None:
            session = await self._sessions.get(principal.session)
            if session is None or session.agent != principal.id:
                raise Problem("PC2006", "the session of this token is not open")
        return Context(
            principal=principal,
            session=session,
            source=source,
            trace_id=trace_id,
            received_at=self._clock.now(),
        )


def credential_of(headers: Mapping[bytes, bytes]) -> str:
    """The one credential of a request: a Bearer token (RFC 6750), or the same in ``x-api-key``.

    Raises Problem PC2001 without one, PC2005 with two that differ, PC2002 for another scheme.
    """
    bearer = headers.get(b"authorization")
    key = headers.get(b"x-api-key")
    token: bytes | None = None
    if bearer is not None:
        scheme, _, token = bearer.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise Problem("PC2002", "the Authorization scheme must be Bearer")
    if key is not None:
        if token is not None and token != key:
            raise Problem("PC2005", "Authorization and x-api-key differ")
        token = key
    if not token:
        raise Problem("PC2001", "the request carries no credential")
    if len(token) > _MAX_CREDENTIAL or not token.isascii():
        raise Problem("PC2002", "the credential is malformed")
    return token.decode("ascii")

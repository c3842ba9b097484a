"""Token exchange (RFC 8693): renew a token, or let an administrator get one for an agent."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from portcullis.control.principals import Principals
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import KillFeed, SessionState
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import AUDIENCE, Claims, Minted, TokenAuthority

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type's name
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
TOKEN_TYPES: Final = frozenset({ACCESS_TOKEN, JWT})

_KNOWN: Final = frozenset(
    {
        "grant_type",
        "subject_token",
        "subject_token_type",
        "requested_token_type",
        "requested_subject",
        "audience",
    }
)
_REFUSED: Final = {"scope": "invalid_scope", "resource": "invalid_target"}
_MAX_PARAMETERS: Final = 16


class TokenProblem(Problem):
    """A refusal with its RFC 6749 section 5.2 error name."""

    def __init__(self, error: str, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.error = error


def parse(content_type: str, body: bytes) -> dict[str, str]:
    """The form's parameters, each given once; empty ones count as absent (RFC 6749 section 3.2).

    Raises TokenProblem PC2008 for anything else, and for parameters that we do not know: we do
    not know what they would change.
    """
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise TokenProblem("invalid_request", "PC2008", "the body must be form-encoded")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:
        raise TokenProblem("invalid_request", "PC2008", "the form is malformed") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise TokenProblem("invalid_request", "PC2008", "a parameter is given twice")
    for name, error in _REFUSED.items():
        if form.get(name):
            raise TokenProblem(error, "PC2008", f"{name} is not supported")
    if not _KNOWN.issuperset(form.keys() - _REFUSED.keys()):
        raise TokenProblem("invalid_request", "PC2008", "the form has an unknown parameter")
    return {name: value for name, value in form.items() if value}


class TokenExchange:
    """Exchanges one token of ours for another that is never wider.

    A token is renewed for the same principal, session and roles as registered, until the chain
    of renewals has reached its configured age, and never past its session's end. An operator
    with the role ``admin`` may instead name an agent or an application in ``requested_subject``.
    """

    def __init__(
        self,
        *,
        authority: TokenAuthority,
        principals: Principals,
        feed: KillFeed,
        sessions: SessionState,
    ) -> None:
        self._authority = authority
        self._principals = principals
        self._feed = feed
        self._sessions = sessions

    def subject(self, form: dict[str, str]) -> Claims:
        """Check the form and its ``subject_token``. Raises Problem PC2008, PC2002, PC2003."""
        if form.get("grant_type") != GRANT:
            error = "unsupported_grant_type" if "grant_type" in form else "invalid_request"
            raise TokenProblem(error, "PC2008", f"grant_type must be {GRANT}")
        if form.get("subject_token_type") not in TOKEN_TYPES:
            raise TokenProblem(
                "invalid_request", "PC2008", "subject_token_type must be access_token or jwt"
            )
        if form.get("requested_token_type", ACCESS_TOKEN) not in TOKEN_TYPES:
            raise TokenProblem(
                "invalid_request", "PC2008", "requested_token_type must be access_token or jwt"
            )
        if form.get("audience", AUDIENCE) != AUDIENCE:
            raise TokenProblem("invalid_target", "PC2008", f"audience must be {AUDIENCE}")
        if "subject_token" not in form:
            raise TokenProblem("invalid_request", "PC2008", "subject_token is missing")
        return self._authority.verify(form["subject_token"])

    async def exchange(self, context: Context, claims: Claims, requested: str | None) -> Minted:
        """The new token. ``context`` holds the principal of ``claims``.

        Raises Problem PC2004 (may not name another), PC2006 (session closed), PC4001, PC4002,
        and those of ``Principals.mint``.
        """
        principal = context.principal
        session = None
        if claims.sid is not None:
            session = await self._sessions.get(claims.sid)
            if session is None or session.agent != principal.id:
                raise Problem("PC2006", "the session of this token is not open")
        if self._feed.stale():
            raise Problem("PC4002", "the containment feed is stale")
        reason = self._feed.reason(principal, session)
        if reason is not None:
            raise Problem("PC4001", reason)
        if requested is not None:
            if principal.kind is not PrincipalKind.OPERATOR or "admin" not in principal.roles:
                detail = "requested_subject needs an operator with the role admin"
                raise TokenProblem("unauthorized_client", "PC2004", detail)
            kind, _, name = requested.partition(":")
            if kind not in {PrincipalKind.AGENT, PrincipalKind.APPLICATION}:
                detail = "requested_subject must be agent:NAME or application:NAME"
                raise TokenProblem("invalid_request", "PC2008", detail)
            return await self._principals.mint(context, PrincipalKind(kind), name)
        return await self._principals.mint(
            context,
            principal.kind,
            principal.id,
            until=session.expires_at if session else None,
            session=claims.sid,
            auth_time=claims.auth_time,
        )

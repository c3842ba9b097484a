"""What is asked of the token endpoint: the form of RFC 6749 and RFC 8693, read strictly."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.scope import parse as parse_scope
from portcullis.identity.tokens import AUDIENCE

CLIENT_CREDENTIALS: Final = "client_credentials"
GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type's name
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
TOKEN_TYPES: Final = frozenset({ACCESS_TOKEN, JWT})

_MAX_PARAMETERS: Final = 16


class TokenProblem(Problem):
    """A refusal with its RFC 6749 section 5.2 error name."""

    def __init__(self, error: str, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.error = error


class Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters that we know; an empty one counts as absent."""

    grant_type: str = ""
    subject_token: str = ""
    subject_token_type: str = ""
    actor_token: str = ""
    actor_token_type: str = ""
    requested_token_type: str = ACCESS_TOKEN
    requested_subject: str = ""
    audience: str = AUDIENCE
    scope: str = ""
    resource: str = ""
    client_id: str = ""

    def words(self) -> tuple[str, ...] | None:
        """The scope that is asked for. Raises Problem PC2050 when it is not in our form."""
        return parse_scope(self.scope) if self.scope else None


def parse(content_type: str, body: bytes, *, origin: str) -> Form:
    """The form, each parameter given once (RFC 6749 section 3.2).

    ``resource`` (RFC 8707) must be at ``origin``: all tokens are for the whole gate, of which it
    is a part. Raises TokenProblem PC2008 for anything that is not such a form, and for
    parameters that we do not know: we do not know what they would change.
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
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TokenProblem("invalid_request", "PC2008", "a parameter is given twice")
    try:
        form = msgspec.convert({name: value for name, value in found.items() if value}, Form)
    except msgspec.ValidationError:
        raise TokenProblem(
            "invalid_request", "PC2008", "the form has an unknown parameter"
        ) from None
    if form.resource and form.resource != origin and not form.resource.startswith(f"{origin}/"):
        raise TokenProblem("invalid_target", "PC2008", "resource is not at this gate")
    _check(form)
    return form


def _check(form: Form) -> None:
    """What each grant has to hold, and must not hold."""
    if form.grant_type == CLIENT_CREDENTIALS:
        if form.subject_token or form.actor_token or form.requested_subject:
            raise TokenProblem(
                "invalid_request", "PC2008", "client_credentials takes no other token"
            )
        if form.audience != AUDIENCE:
            raise TokenProblem("invalid_target", "PC2008", f"audience must be {AUDIENCE}")
        return
    if form.grant_type != GRANT:
        error = "unsupported_grant_type" if form.grant_type else "invalid_request"
        detail = f"grant_type must be {CLIENT_CREDENTIALS} or {GRANT}"
        raise TokenProblem(error, "PC2008", detail)
    if not form.subject_token:
        raise TokenProblem("invalid_request", "PC2008", "subject_token is missing")
    if form.subject_token_type not in TOKEN_TYPES or form.requested_token_type not in TOKEN_TYPES:
        raise TokenProblem("invalid_request", "PC2008", "token types are access_token and jwt")
    if form.actor_token_type != (JWT if form.actor_token else ""):
        raise TokenProblem("invalid_request", "PC2008", "actor_token_type must be jwt")

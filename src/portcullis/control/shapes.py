"""The shapes of the APIs' bodies. Strict: no unknown field, no coercion, everything bounded."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt

from portcullis.config import NAME
from portcullis.core.codes import CODES
from portcullis.core.ports import Entry, PrincipalRecord
from portcullis.identity.tokens import Minted

PROBLEM_JSON: Final = "application/problem+json"

Kind: TypeAlias = Literal["agent", "application", "operator"]
Workload: TypeAlias = Literal["agent", "application"]
StateName: TypeAlias = Literal["active", "suspended", "expired", "revoked"]
PrincipalName = Annotated[str, Field(pattern=NAME)]
Owner = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,127}$")]
Roles = Annotated[list[Annotated[str, Field(pattern=NAME)]], Field(min_length=1, max_length=16)]
UserName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,256}$")]
Users = Annotated[list[UserName], Field(max_length=16)]
Purpose = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
Instant = Annotated[StrictFloat | StrictInt, Field(gt=0, le=253_402_300_799)]
ForeignId = Annotated[str, Field(pattern=r"^spiffe://", max_length=2048)]
Selector = Annotated[str, Field(min_length=1, max_length=4200)]
CredentialId = Annotated[str, Field(pattern=r"^(svid:)?[0-9a-f]{1,40}$")]
Ttl = Annotated[int, Field(ge=1, le=43_200)]


class Shape(BaseModel):
    """What every shape is."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AgentRequest(Shape):
    """A new agent. ``owner``, the team that answers for it, and ``purpose`` are logged in clear.

    It expires at ``review_at`` (in 90 days when that is not given) unless it is reviewed before.
    ``spiffe_id`` is an identity of another trust domain that also stands for it.
    """

    kind: Literal["agent"]
    id: PrincipalName
    owner: Owner
    purpose: Purpose
    review_at: Instant | None = None
    spiffe_id: ForeignId | None = None


class ApplicationRequest(Shape):
    """A new application: as an agent, and its purpose may be left out."""

    kind: Literal["application"]
    id: PrincipalName
    owner: Owner
    purpose: Purpose | None = None
    review_at: Instant | None = None
    spiffe_id: ForeignId | None = None


class OperatorRequest(Shape):
    """A new operator with at least one role. ``users`` are names that the operator has as a user.

    Who is the user of a session does not approve what its agent asks for.
    """

    kind: Literal["operator"]
    id: PrincipalName
    owner: Owner
    roles: Roles
    users: Users = []


PrincipalRequest = Annotated[
    AgentRequest | ApplicationRequest | OperatorRequest, Field(discriminator="kind")
]


class ReviewRequest(Shape):
    """When the next review is due; in 90 days when that is not given."""

    review_at: Instant | None = None


class RolesRequest(Shape):
    """What an operator is from now on."""

    roles: Roles


class UsersRequest(Shape):
    """By which names an operator is known as a user, from now on."""

    users: Users


class PrincipalView(Shape):
    """A registered principal. Times are seconds since the epoch; 0 is never."""

    kind: Kind
    id: str
    owner: str
    state: StateName
    roles: list[str]
    created_at: float
    purpose: str
    review_at: float
    spiffe_id: str
    rotated_at: float
    users: list[str]

    @classmethod
    def of(cls, record: PrincipalRecord) -> PrincipalView:
        """The view of a record."""
        lists = {"roles": list(record.roles), "users": list(record.users)}
        return cls.model_validate(msgspec.to_builtins(record) | lists)

    def record(self) -> PrincipalRecord:
        """The record behind the view."""
        return msgspec.convert(self.model_dump(), PrincipalRecord)


class PrincipalList(Shape):
    """All principals that were asked for, by kind and name."""

    principals: list[PrincipalView]


class EntryRequest(Shape):
    """A workload that has all ``selectors`` becomes the principal; 0 is the configured life."""

    kind: Workload
    principal: PrincipalName
    selectors: Annotated[list[Selector], Field(min_length=1, max_length=32)]
    ttl_seconds: Annotated[int, Field(ge=0, le=259_200)] = 0


class EntryView(Shape):
    """A registration entry."""

    id: str
    kind: Workload
    principal: str
    selectors: list[str]
    ttl_seconds: int
    created_at: float

    @classmethod
    def of(cls, entry: Entry) -> EntryView:
        """The view of an entry."""
        return cls.model_validate(msgspec.to_builtins(entry) | {"selectors": [*entry.selectors]})

    def entry(self) -> Entry:
        """The entry behind the view."""
        return msgspec.convert(self.model_dump(), Entry)


class EntryList(Shape):
    """All entries that were asked for, the oldest first."""

    entries: list[EntryView]


class JoinRequest(Shape):
    """How long the join token shall be good; 10 minutes by default."""

    ttl_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None


class JoinView(Shape):
    """A join token, for one use."""

    join_token: str
    expires_at: float


class PasswordLogin(Shape):
    """What a local operator shows."""

    name: PrincipalName
    password: Annotated[str, Field(min_length=1, max_length=1024)]
    code: Annotated[str, Field(pattern=r"^[0-9]{6}$")]


class IdTokenLogin(Shape):
    """What an operator shows for whom an issuer of ID tokens vouches."""

    id_token: Annotated[str, Field(min_length=1, max_length=16_384)]


class PasswordRequest(Shape):
    """A new password."""

    password: Annotated[str, Field(min_length=12, max_length=1024)]


class PasswordView(Shape):
    """The URI with the new secret, for an authenticator app. It is shown once."""

    otpauth: str


class CredentialView(Shape):
    """A credential that was cut off."""

    credential: str
    state: Literal["revoked"]


class TokenMintRequest(Shape):
    """How long the token shall live; at most and by default the configured time."""

    ttl_seconds: Ttl | None = None


class TokenView(Shape):
    """A new token. ``credential`` is its id, which stands in the log."""

    token: str
    credential: str
    expires_at: float

    @classmethod
    def of(cls, minted: Minted) -> TokenView:
        """The view of a token."""
        return cls(token=minted.token, credential=minted.id, expires_at=minted.expires_at)


class VersionView(Shape):
    """The version of the program."""

    version: str


class Status(Shape):
    """A fixed word."""

    status: str


class ExchangedToken(Shape):
    """RFC 8693 section 2.2.1."""

    access_token: str
    issued_token_type: str
    token_type: str
    expires_in: int
    scope: str | None = None


class ProblemView(Shape):
    """An RFC 9457 problem document; ``code`` is explained by ``portcullis explain``."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str


class TokenError(Shape):
    """RFC 6749 section 5.2, with our code and hint."""

    error: str
    error_description: str
    code: str
    hint: str


_PROBLEM: Final = ProblemView.model_json_schema()


def refusals(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of refusals: the codes by status, and those that any route may give."""
    by_status: dict[int, list[str]] = {}
    for code in (*codes, "PC4001", "PC4002", "PC6001", "PC9002", "PC1011"):
        by_status.setdefault(CODES[code].status, []).append(code)
    return {
        status: {
            "description": ", ".join(f"{code}: {CODES[code].title}" for code in sorted(found)),
            "content": {PROBLEM_JSON: {"schema": _PROBLEM}},
        }
        for status, found in sorted(by_status.items())
    }


CREDENTIAL: Final = ("PC2001", "PC2002", "PC2003", "PC2004")
"""What every route with a principal may answer."""
BODY: Final = ("PC1001", "PC1007", "PC1008", "PC1012", "PC1020", "PC1021")
"""What every route with a JSON body may answer."""

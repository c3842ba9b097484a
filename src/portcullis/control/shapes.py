"""The shapes of the APIs' bodies. Strict: no unknown field, no coercion, everything bounded."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from portcullis.config import NAME
from portcullis.core.codes import CODES
from portcullis.core.ports import Entry, PrincipalRecord
from portcullis.core.principal import BoundKind, Session, TaskBound
from portcullis.identity.tokens import Minted

PROBLEM_JSON: Final = "application/problem+json"

Kind: TypeAlias = Literal["agent", "application", "operator"]
Workload: TypeAlias = Literal["agent", "application"]
StateName: TypeAlias = Literal["active", "suspended", "expired", "revoked"]
Role: TypeAlias = Literal["viewer", "approver", "responder", "investigator", "admin"]
PrincipalName = Annotated[str, Field(pattern=NAME)]
Owner = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,127}$")]
Roles = Annotated[list[Role], Field(min_length=1, max_length=4)]
UserName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,256}$")]
Users = Annotated[list[UserName], Field(max_length=16)]
Purpose = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
Instant = Annotated[StrictFloat | StrictInt, Field(gt=0, le=253_402_300_799)]
ForeignId = Annotated[str, Field(pattern=r"^spiffe://", max_length=2048)]
Selector = Annotated[str, Field(min_length=1, max_length=4200)]
CredentialId = Annotated[str, Field(pattern=r"^(svid:)?[0-9a-f]{1,40}$")]
Ttl = Annotated[int, Field(ge=1, le=43_200)]
ToolName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}\.[A-Za-z0-9_./-]{1,128}$")]
Scalar: TypeAlias = (
    Annotated[str, Field(max_length=512)] | StrictInt | StrictFloat | StrictBool | None
)
SubjectKey = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TaskArgument(_Shape):
    """What a task asks of an argument; see Bounds on arguments in the policy's documentation.

    It has to be there unless it is ``optional``.
    """

    optional: StrictBool = False
    required: Literal[True] = True
    equals: Scalar = None
    enum: Annotated[list[Scalar], Field(min_length=1, max_length=64)] = []
    prefix: Annotated[str, Field(min_length=1, max_length=512)] = ""
    maximum: StrictInt | StrictFloat = 0
    minimum: StrictInt | StrictFloat = 0
    max_length: Annotated[int, Field(ge=0, le=1_000_000)] = 0

    def model_post_init(self, context: Any, /) -> None:
        """A prefix within a path ends where a part of it does, as in policy."""
        del context
        asked = self.model_fields_set - {"optional"}
        if self.optional and (not asked or "required" in asked):
            msg = "optional goes with a bound other than required"
            raise ValueError(msg)
        if "/" in self.prefix and not self.prefix.endswith("/"):
            msg = "a prefix with a / ends with one"
            raise ValueError(msg)

    def bounds(self, argument: str) -> tuple[TaskBound, ...]:
        """Those that were given."""
        return tuple(
            TaskBound(
                argument=argument, kind=kind, value=getattr(self, kind), optional=self.optional
            )
            for kind in get_args(BoundKind)
            if kind in self.model_fields_set
        )


class TaskTool(_Shape):
    """A tool that a task needs, with bounds on its arguments."""

    tool: ToolName
    arguments: Annotated[
        dict[Annotated[str, Field(pattern=r"^[^.\[\]]{1,128}$")], TaskArgument],
        Field(max_length=64),
    ] = {}

    def bounds(self) -> tuple[TaskBound, ...]:
        """What it says of the arguments."""
        return tuple(b for name, one in self.arguments.items() for b in one.bounds(name))


class SessionRequest(_Shape):
    """What an application sends to open a session.

    Either it vouches for the ``user``, or it shows the user's ID token, ``user_token``. ``prompt``
    is what the user asked for, word for word; without one nothing is the user's own.
    ``output_schema`` is a JSON Schema that a model's final answer has to fit.
    """

    agent: PrincipalName
    user: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    user_token: Annotated[str, Field(min_length=1, max_length=16_384)] | None = None
    prompt: Annotated[str, Field(max_length=65_536)] = ""
    subject: Annotated[dict[SubjectKey, Scalar], Field(max_length=32)] = {}
    tools: Annotated[list[ToolName | TaskTool], Field(max_length=128)] | None = None
    ttl_seconds: Ttl | None = None
    output_schema: dict[str, Any] | None = None

    def model_post_init(self, context: Any, /) -> None:
        """Exactly one of the two."""
        del context
        if (self.user is None) == (self.user_token is None):
            msg = "give exactly one of user and user_token"
            raise ValueError(msg)


class TurnRequest(_Shape):
    """What the user said next, word for word."""

    prompt: Annotated[str, Field(min_length=1, max_length=65_536)]


class SessionOpened(_Shape):
    """The new session; ``token`` is for the agent alone. Times are seconds since the epoch."""

    session: str
    token: str
    expires_at: float


class SessionView(_Shape):
    """A session as its application sees it; the prompt and the subject are not shown again."""

    session: str
    agent: str
    user: str
    tools: list[str] | None
    bounds: dict[str, list[str]]
    turns: int
    opened_at: float
    expires_at: float

    @classmethod
    def of(cls, session: Session) -> SessionView:
        """The view of a session."""
        return cls(
            session=session.id,
            agent=session.agent,
            user=session.user,
            tools=None if session.grant is None else list(session.grant),
            bounds={
                tool: [f"{bound.argument}: {bound.kind}" for bound in bounds]
                for tool, bounds in session.bounds.items()
            },
            turns=len(session.turns),
            opened_at=session.opened_at,
            expires_at=session.expires_at,
        )


class AgentRequest(_Shape):
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


class ApplicationRequest(_Shape):
    """A new application: as an agent, and its purpose may be left out."""

    kind: Literal["application"]
    id: PrincipalName
    owner: Owner
    purpose: Purpose | None = None
    review_at: Instant | None = None
    spiffe_id: ForeignId | None = None


class OperatorRequest(_Shape):
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


class ReviewRequest(_Shape):
    """When the next review is due; in 90 days when that is not given."""

    review_at: Instant | None = None


class RolesRequest(_Shape):
    """What an operator is from now on."""

    roles: Roles


class UsersRequest(_Shape):
    """By which names an operator is known as a user, from now on."""

    users: Users


class PrincipalView(_Shape):
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


class PrincipalList(_Shape):
    """All principals that were asked for, by kind and name."""

    principals: list[PrincipalView]


class EntryRequest(_Shape):
    """A workload that has all ``selectors`` becomes the principal; 0 is the configured life."""

    kind: Workload
    principal: PrincipalName
    selectors: Annotated[list[Selector], Field(min_length=1, max_length=32)]
    ttl_seconds: Annotated[int, Field(ge=0, le=259_200)] = 0


class EntryView(_Shape):
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


class EntryList(_Shape):
    """All entries that were asked for, the oldest first."""

    entries: list[EntryView]


class JoinRequest(_Shape):
    """How long the join token shall be good; 10 minutes by default."""

    ttl_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None


class JoinView(_Shape):
    """A join token, for one use."""

    join_token: str
    expires_at: float


class PasswordLogin(_Shape):
    """What a local operator shows."""

    name: PrincipalName
    password: Annotated[str, Field(min_length=1, max_length=1024)]
    code: Annotated[str, Field(pattern=r"^[0-9]{6}$")]


class IdTokenLogin(_Shape):
    """What an operator shows for whom an issuer of ID tokens vouches."""

    id_token: Annotated[str, Field(min_length=1, max_length=16_384)]


class PasswordRequest(_Shape):
    """A new password."""

    password: Annotated[str, Field(min_length=12, max_length=1024)]


class PasswordView(_Shape):
    """The URI with the new secret, for an authenticator app. It is shown once."""

    otpauth: str


class CredentialView(_Shape):
    """A credential that was cut off."""

    credential: str
    state: Literal["revoked"]


class TokenMintRequest(_Shape):
    """How long the token shall live; at most and by default the configured time."""

    ttl_seconds: Ttl | None = None


class TokenView(_Shape):
    """A new token. ``credential`` is its id, which stands in the log."""

    token: str
    credential: str
    expires_at: float

    @classmethod
    def of(cls, minted: Minted) -> TokenView:
        """The view of a token."""
        return cls(token=minted.token, credential=minted.id, expires_at=minted.expires_at)


class VersionView(_Shape):
    """The version of the program."""

    version: str


class Status(_Shape):
    """A fixed word."""

    status: str


class ExchangedToken(_Shape):
    """RFC 8693 section 2.2.1."""

    access_token: str
    issued_token_type: str
    token_type: str
    expires_in: int
    scope: str | None = None


class ProblemView(_Shape):
    """An RFC 9457 problem document; ``code`` is explained by ``portcullis explain``."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str


class TokenError(_Shape):
    """RFC 6749 section 5.2, with our code and hint."""

    error: str
    error_description: str
    code: str
    hint: str


_PROBLEM: Final = ProblemView.model_json_schema()

FIELDS: Final = frozenset(
    {"body", "path", "query", "root_key", "digests", "csr", "join_token", "kubernetes_token"}
    | {"server", "tool", "digest"}
    | {"event", "kind", "reason", "target", "agent", "state"}
).union(
    *(
        shape.model_fields
        for shape in (
            SessionRequest,
            AgentRequest,
            ApplicationRequest,
            OperatorRequest,
            ReviewRequest,
            EntryRequest,
            PasswordLogin,
            IdTokenLogin,
            TokenMintRequest,
        )
    )
)
"""The names that a refusal may repeat: ours, never the caller's."""


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

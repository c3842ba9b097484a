"""The shapes of the APIs' bodies. Strict: no unknown field, no coercion, everything bounded."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from portcullis.config import NAME
from portcullis.core.codes import CODES
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind, Session

PROBLEM_JSON: Final = "application/problem+json"

Kind: TypeAlias = Literal["agent", "application", "operator"]
Role: TypeAlias = Literal["viewer", "approver", "responder", "admin"]
PrincipalName = Annotated[str, Field(pattern=NAME)]
Owner = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,127}$")]
Ttl = Annotated[int, Field(ge=1, le=43_200)]
ToolName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}\.[A-Za-z0-9_./-]{1,128}$")]
Scalar: TypeAlias = (
    Annotated[str, Field(max_length=512)] | StrictInt | StrictFloat | StrictBool | None
)
SubjectKey = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SessionRequest(_Shape):
    """What an application sends to open a session."""

    agent: PrincipalName
    user: Annotated[str, Field(min_length=1, max_length=256)]
    prompt: Annotated[str, Field(max_length=65_536)]
    subject: Annotated[dict[SubjectKey, Scalar], Field(max_length=32)] = {}
    tools: Annotated[list[ToolName], Field(max_length=128)] | None = None
    ttl_seconds: Ttl | None = None


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
            opened_at=session.opened_at,
            expires_at=session.expires_at,
        )


class WorkloadRequest(_Shape):
    """A new agent or application. ``owner``, the team that answers for it, is logged in clear."""

    kind: Literal["agent", "application"]
    id: PrincipalName
    owner: Owner


class OperatorRequest(_Shape):
    """A new operator with at least one role."""

    kind: Literal["operator"]
    id: PrincipalName
    owner: Owner
    roles: Annotated[list[Role], Field(min_length=1, max_length=4)]


PrincipalRequest = Annotated[WorkloadRequest | OperatorRequest, Field(discriminator="kind")]


class PrincipalView(_Shape):
    """A registered principal."""

    kind: Kind
    id: str
    owner: str
    state: Literal["active", "disabled"]
    roles: list[str]
    created_at: float

    @classmethod
    def of(cls, record: PrincipalRecord) -> PrincipalView:
        """The view of a record."""
        return cls.model_validate(
            {
                "kind": record.kind.value,
                "id": record.id,
                "owner": record.owner,
                "state": record.state,
                "roles": list(record.roles),
                "created_at": record.created_at,
            }
        )

    def record(self) -> PrincipalRecord:
        """The record behind the view."""
        return PrincipalRecord(
            kind=PrincipalKind(self.kind),
            id=self.id,
            owner=self.owner,
            state=self.state,
            roles=tuple(self.roles),
            created_at=self.created_at,
        )


class PrincipalList(_Shape):
    """All principals that were asked for, by kind and name."""

    principals: list[PrincipalView]


class TokenMintRequest(_Shape):
    """How long the token shall live; at most and by default the configured time."""

    ttl_seconds: Ttl | None = None


class TokenView(_Shape):
    """A new token. ``credential`` is its id, which stands in the log."""

    token: str
    credential: str
    expires_at: float


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

FIELDS: Final = frozenset({"body", "path", "query"}).union(
    *(
        shape.model_fields
        for shape in (SessionRequest, WorkloadRequest, OperatorRequest, TokenMintRequest)
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

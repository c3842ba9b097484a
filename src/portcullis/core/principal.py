"""Who acts, and on whose behalf: principals and sessions."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, TypeAlias

import msgspec


class PrincipalKind(StrEnum):
    """The five kinds of principal; none can pass for another."""

    AGENT = "agent"
    APPLICATION = "application"
    USER = "user"
    OPERATOR = "operator"
    GATEWAY = "gateway"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated caller.

    ``id`` is unique within its ``kind``. ``credential`` names the credential it was
    authenticated by, a token's id or ``svid:`` and a certificate's serial: it goes into every
    event and is what the kill feed can name. ``svid`` is the serial of the certificate that the
    request came under, also when it carried a token. ``issued_at`` is when the credential was
    made: a rotation cuts off all that is older. ``session`` is set when the credential is a
    session's token. ``roles`` are an operator's roles; an agent's role is the policy's business,
    not the token's. ``scope`` is what the token is narrowed to (``core.scope``), None when it is
    not. ``chain`` are the agents on whose behalf it acts, nearest first: each of them has to be
    allowed what it does, and to be alive. ``break_glass`` is the id under which an operator broke
    the glass, and so has some of its ``roles`` for a while.
    """

    kind: PrincipalKind
    id: str
    credential: str
    expires_at: float
    session: str | None = None
    roles: tuple[str, ...] = ()
    svid: str = ""
    issued_at: float = 0.0
    scope: tuple[str, ...] | None = None
    chain: tuple[str, ...] = ()
    break_glass: str = ""


BoundKind: TypeAlias = Literal[
    "required", "equals", "enum", "prefix", "maximum", "minimum", "max_length"
]


class TaskBound(msgspec.Struct, frozen=True, kw_only=True):
    """What a task's grant asks of one argument, as a bound in policy does.

    An argument that is not there is out of bounds, unless ``optional`` says that it may be absent.
    """

    argument: str
    kind: BoundKind
    value: Any = None
    optional: bool = False


Measure: TypeAlias = Literal["calls", "effects"]
"""What a session's budget can limit: tool calls, and those of them that do more than read."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One task that one agent does for one user.

    Opened by an application (never by the agent). ``subject`` is the row scope: a flat JSON
    object, such as ``{"customer_id": "C-1001"}``; policies compare arguments to its members.
    ``grant`` is the set of qualified tools (``server.tool``) that the task declared, or None
    when it declared none; ``bounds`` are what it declared of their arguments. A grant can only
    narrow what policy allows. ``budget`` is how many of each measure the session may have, from its
    opening to its end; of what is not in it, any number. ``prompt`` is the authenticated user
    prompt, ``turns`` is what the user said since; neither is ever written to the log in clear.
    ``output_schema`` is the JSON Schema that a model's final answer has to fit, if any.
    Times are seconds since the epoch.
    """

    id: str
    agent: str
    application: str
    user: str
    prompt: str
    subject: dict[str, Any]
    grant: tuple[str, ...] | None
    opened_at: float
    expires_at: float
    output_schema: dict[str, Any] | None = None
    bounds: dict[str, tuple[TaskBound, ...]] = {}
    turns: tuple[str, ...] = ()
    budget: dict[Measure, int] = {}

    @property
    def prompts(self) -> tuple[str, ...]:
        """All that the user said, in order."""
        return tuple(text for text in (self.prompt, *self.turns) if text)


def subject_key(principal: Principal, session: Session | None) -> str:
    """Whose key commitments are under: the session's subject, its user, or else the caller."""
    if session is None:
        return f"{principal.kind}:{principal.id}"
    if session.subject:
        return "subject:" + msgspec.json.encode(session.subject, order="sorted").decode()
    return user_key(session)


def user_key(session: Session) -> str:
    """Whose key the commitment to the user itself is under, whoever the data's subject is."""
    return f"user:{session.user}"


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that a model's answer proposed: links the model turn to the call that ran.

    ``name`` is the name the model used; ``digest`` is the SHA-256 (hex) of the canonical
    encoding of its arguments; ``event`` is the id of the model call's record.
    """

    name: str
    digest: str
    event: str

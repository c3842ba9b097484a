"""The shapes of sessions' bodies: what an application opens, and what it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from portcullis.control.limits import Left
from portcullis.control.limits_shapes import LimitLeft
from portcullis.control.shapes import PrincipalName, Shape, Ttl
from portcullis.core.principal import BoundKind, Measure, Session, TaskBound

Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
ToolName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}\.[A-Za-z0-9_./-]{1,128}$")]
Scalar: TypeAlias = (
    Annotated[str, Field(max_length=512)] | StrictInt | StrictFloat | StrictBool | None
)
SubjectKey = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]


_PRESENT: Final[tuple[BoundKind, ...]] = ("required",)


class TaskArgument(Shape):
    """What a task asks of an argument; see Bounds on arguments in the policy's documentation.

    It has to be there unless it is ``optional``.
    """

    optional: StrictBool = False
    required: Literal[True] = True
    equals: Scalar = None
    enum: Annotated[list[Scalar], Field(min_length=1, max_length=64)] = Field(default_factory=list)
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
        """Those that were given; without any, that it is there."""
        kinds: tuple[BoundKind, ...] = get_args(BoundKind)
        given = [kind for kind in kinds if kind in self.model_fields_set]
        return tuple(
            TaskBound(
                argument=argument, kind=kind, value=getattr(self, kind), optional=self.optional
            )
            for kind in given or _PRESENT
        )


class TaskTool(Shape):
    """A tool that a task needs, with bounds on its arguments."""

    tool: ToolName
    arguments: Annotated[
        dict[Annotated[str, Field(pattern=r"^[^.\[\]]{1,128}$")], TaskArgument],
        Field(max_length=64),
    ] = Field(default_factory=dict)

    def bounds(self) -> tuple[TaskBound, ...]:
        """What it says of the arguments."""
        return tuple(b for name, one in self.arguments.items() for b in one.bounds(name))


class SessionBudget(Shape):
    """How much a session may do: tool calls that are let through, and those that do not only read.

    What is left out is not limited.
    """

    calls: Count | None = None
    effects: Count | None = None

    def limits(self) -> dict[Measure, int]:
        """Those that were given."""
        given: dict[Measure, int | None] = {"calls": self.calls, "effects": self.effects}
        return {measure: limit for measure, limit in given.items() if limit is not None}


class SessionRequest(Shape):
    """What an application sends to open a session.

    Either it vouches for the ``user``, or it shows the user's ID token, ``user_token``. ``prompt``
    is what the user asked for, word for word; without one nothing is the user's own.
    ``output_schema`` is a JSON Schema that a model's final answer has to fit.
    """

    agent: PrincipalName
    user: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    user_token: Annotated[str, Field(min_length=1, max_length=16_384)] | None = None
    prompt: Annotated[str, Field(max_length=65_536)] = ""
    subject: Annotated[dict[SubjectKey, Scalar], Field(max_length=32)] = Field(default_factory=dict)
    tools: Annotated[list[ToolName | TaskTool], Field(max_length=128)] | None = None
    ttl_seconds: Ttl | None = None
    output_schema: dict[str, Any] | None = None
    budget: SessionBudget | None = None

    def model_post_init(self, context: Any, /) -> None:
        """Exactly one of the two."""
        del context
        if (self.user is None) == (self.user_token is None):
            msg = "give exactly one of user and user_token"
            raise ValueError(msg)


class TurnRequest(Shape):
    """What the user said next, word for word."""

    prompt: Annotated[str, Field(min_length=1, max_length=65_536)]


class SessionOpened(Shape):
    """The new session; ``token`` is for the agent alone. Times are seconds since the epoch."""

    session: str
    token: str
    expires_at: float


class SessionView(Shape):
    """A session as its application sees it; the prompt and the subject are not shown again.

    ``left`` is what is left of each number in ``budget``, ``limits`` what is counted for this
    session alone of the limits that policy has; the latter stands where one session is shown.
    """

    session: str
    agent: str
    user: str
    tools: list[str] | None
    bounds: dict[str, list[str]]
    turns: int
    budget: dict[Measure, int]
    left: dict[Measure, int]
    limits: list[LimitLeft]
    opened_at: float
    expires_at: float

    @classmethod
    def of(
        cls, session: Session, left: dict[Measure, int], limits: Iterable[Left] = ()
    ) -> SessionView:
        """The view of a session; ``limits`` is what is counted for it alone."""
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
            budget=session.budget,
            left=left,
            limits=[LimitLeft.of(one) for one in limits],
            opened_at=session.opened_at,
            expires_at=session.expires_at,
        )

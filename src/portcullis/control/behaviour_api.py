"""The control plane's API: how agents behave, beside what is usual for them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict

from portcullis.config import NAME
from portcullis.control.behaviour import Behaving, Stands
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import Reason as Why
from portcullis.control.shapes import BODY, CREDENTIAL, refusals
from portcullis.core.behaviour import Line, Reason
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_ONE: Final = "/api/v1/behaviour/{agent}"
AgentName = Annotated[str, Path(pattern=NAME)]
PhaseName = Literal["learning", "ratified", "locked", "drifting"]
LevelName = Literal["normal", "elevated", "high", "critical"]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ReasonView(_Shape):
    """One thing that is unusual, in names, figures and counts.

    ``weight`` is what it added to the score when that was last made, ``at`` when it was last seen.
    """

    kind: str
    subject: str
    seen: str
    usual: str
    weight: float
    at: float
    count: int

    @classmethod
    def of(cls, one: Reason) -> ReasonView:
        """The view of a reason."""
        made = {name: getattr(one, name) for name in cls.model_fields}
        return cls(**made | {"kind": one.kind.value})


class StandingView(_Shape):
    """How an agent stands. Times are seconds since the epoch, 0 for not yet.

    ``level`` is what is acted on; ``score`` is as it is now. ``events`` is how many
    taught, ``days`` on how many days the agent was active, since ``first``. ``by`` and ``why`` are
    of the last human who ratified or reset the baseline.
    """

    agent: str
    role: str
    phase: PhaseName
    level: LevelName
    score: float
    reasons: list[ReasonView]
    first: float
    last: float
    events: int
    days: int
    by: str
    why: str
    decided_at: float

    @classmethod
    def of(cls, stands: Stands) -> StandingView:
        """The view of a standing."""
        one = stands.standing
        return cls(
            agent=one.agent,
            role=one.role,
            phase=one.phase.value,
            level=stands.level.value,
            score=round(stands.score, 1),
            reasons=[ReasonView.of(reason) for reason in one.reasons],
            first=one.first,
            last=one.last,
            events=one.events,
            days=one.days,
            by=one.by,
            why=one.why,
            decided_at=one.decided_at,
        )


class StandingList(_Shape):
    """How all agents stand, by name."""

    agents: list[StandingView]


class LineView(_Shape):
    """One line of what is usual."""

    subject: str
    usual: str

    @classmethod
    def of(cls, one: Line) -> LineView:
        """The view of a line."""
        return cls(subject=one.subject, usual=one.usual)


class BaselineView(_Shape):
    """How an agent stands, and what is usual for it as last kept."""

    standing: StandingView
    usual: list[LineView]


class WordRequest(_Shape):
    """Why."""

    reason: Why


def routers(edge: Edge, behaving: Behaving) -> tuple[APIRouter, APIRouter]:
    """The routes for viewers, and for administrators."""
    return _viewers(edge, behaving), _admins(edge, behaving)


def _viewers(edge: Edge, behaving: Behaving) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @router.get("/api/v1/behaviour", responses=refusals(*CREDENTIAL), openapi_extra=_BEARER)
    async def list_behaviour() -> StandingList:
        """How all agents stand that were ever seen."""
        return StandingList(agents=[StandingView.of(one) for one in await behaving.list()])

    @router.get(_ONE, responses=refusals(*CREDENTIAL, "PC1020", "PC3090"), openapi_extra=_BEARER)
    async def show_behaviour(agent: AgentName) -> BaselineView:
        """How one agent stands and why, and what is usual for it."""
        return BaselineView(
            standing=StandingView.of(await behaving.get(agent)),
            usual=[LineView.of(one) for one in await behaving.usual(agent)],
        )

    return router


def _admins(edge: Edge, behaving: Behaving) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.BEHAVIOUR_JUDGE))

    @router.post(
        f"{_ONE}/ratify",
        responses=refusals(*CREDENTIAL, *BODY, "PC3090", "PC3091", "PC3092", "PC3093"),
        openapi_extra=_BEARER,
    )
    async def ratify_behaviour(
        request: Request, agent: AgentName, body: WordRequest
    ) -> StandingView:
        """Say that what the agent does is as it should be."""
        context = request.state.context
        return StandingView.of(await behaving.ratify(context, agent, body.reason))

    @router.post(
        f"{_ONE}/reset",
        responses=refusals(*CREDENTIAL, *BODY, "PC3090", "PC3091", "PC3093"),
        openapi_extra=_BEARER,
    )
    async def reset_behaviour(
        request: Request, agent: AgentName, body: WordRequest
    ) -> StandingView:
        """Forget what was learned of the agent, and learn anew."""
        context = request.state.context
        return StandingView.of(await behaving.reset(context, agent, body.reason))

    return router

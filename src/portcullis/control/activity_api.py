"""The control plane's API: decisions, agents and open sessions, page by page."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Query

from portcullis.control.activity import Activity
from portcullis.control.edge import Edge
from portcullis.control.shapes import CREDENTIAL, PrincipalView, Shape, refusals
from portcullis.core.desk import MOST, AgentSeen, AgentsWanted, SeenFilter, SessionsWanted
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_REFUSED: Final = refusals(*CREDENTIAL, "PC1020", "PC1021", "PC3051")
_StateName = Literal["active", "suspended", "expired", "revoked"]

Text = Annotated[str, Query(max_length=256)]
Cursor = Annotated[str, Query(max_length=1024)]
Limit = Annotated[int, Query(ge=1, le=MOST)]
At = Annotated[float | None, Query(ge=0, allow_inf_nan=False)]


class SeenView(Shape):
    """A decision: the entry `number` of the log; `approval` is what it consumed or waits for."""

    log: str
    number: int
    at: float
    type: str
    agent: str
    session: str
    action: str
    method: str
    server: str
    name: str
    risk: str
    verdict: str
    code: str
    trace: str
    approval: str


class SeenList(Shape):
    """Decisions, the newest first; `following` is the next page's cursor, empty at the end."""

    decisions: list[SeenView]
    following: str


class AgentView(Shape):
    """An agent: when it last asked for something, and how many calls of its wait for a human."""

    agent: PrincipalView
    last_seen: float
    frozen: bool
    waiting: int

    @classmethod
    def of(cls, seen: AgentSeen) -> AgentView:
        """The view of an agent."""
        return cls(
            agent=PrincipalView.of(seen.record),
            last_seen=seen.last_seen,
            frozen=seen.frozen,
            waiting=seen.waiting,
        )


class AgentList(Shape):
    """Agents by name; `following` is the next page's cursor, empty at the end."""

    agents: list[AgentView]
    following: str


class SessionSeenView(Shape):
    """An open session, without content."""

    id: str
    agent: str
    application: str
    opened_at: float
    expires_at: float
    last_seen: float


class SessionList(Shape):
    """Open sessions, the newest first; `following` is the next page's cursor, empty at the end."""

    sessions: list[SessionSeenView]
    following: str


def router(edge: Edge, activity: Activity) -> APIRouter:
    """The routes, for any operator."""
    made = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @made.get("/api/v1/decisions", responses=_REFUSED, openapi_extra=_BEARER)
    async def list_decisions(
        agent: Text = "",
        session: Text = "",
        verdict: Text = "",
        code: Text = "",
        risk: Text = "",
        tool: Text = "",
        since: At = None,
        until: At = None,
        cursor: Cursor = "",
        limit: Limit = 50,
    ) -> SeenList:
        """What was decided, as far as the logs are projected: a moment ago.

        A page looks at a bounded piece of the log: it may be short, or empty, and not the last.
        """
        wanted = SeenFilter(
            agent=agent,
            session=session,
            verdict=verdict,
            code=code,
            risk=risk,
            tool=tool,
            since=since,
            until=until,
        )
        page = await activity.decisions(wanted, cursor, limit)
        return SeenList.model_validate(msgspec.json.decode(msgspec.json.encode(page)))

    @made.get("/api/v1/agents", responses=_REFUSED, openapi_extra=_BEARER)
    async def list_agents(
        state: _StateName | None = None, name: Text = "", cursor: Cursor = "", limit: Limit = 50
    ) -> AgentList:
        """The agents whose names begin with `name`, with what they did last."""
        wanted = AgentsWanted(state=state or "", name=name)
        page = await activity.agents(wanted, cursor, limit)
        agents = [AgentView.of(one) for one in page.agents]
        return AgentList(agents=agents, following=page.following)

    @made.get("/api/v1/sessions", responses=_REFUSED, openapi_extra=_BEARER)
    async def list_sessions(
        agent: Text = "", application: Text = "", cursor: Cursor = "", limit: Limit = 50
    ) -> SessionList:
        """The open sessions; not for whom they are, nor what is said in them."""
        wanted = SessionsWanted(agent=agent, application=application)
        page = await activity.sessions(wanted, cursor, limit)
        return SessionList.model_validate(msgspec.json.decode(msgspec.json.encode(page)))

    return made

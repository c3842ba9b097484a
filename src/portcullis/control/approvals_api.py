"""The control plane's API: calls that wait for a human."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from portcullis.control.activity_api import Cursor, Limit, Text
from portcullis.control.approvals import Approving
from portcullis.control.approvers_views import RuledView
from portcullis.control.desk import Desk
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import EventId, Reason
from portcullis.control.shapes import BODY, CREDENTIAL, PrincipalName, refusals
from portcullis.core.approval import Approval, Shown, State
from portcullis.core.desk import ApprovalPage, Wanted
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_ONE: Final = "/api/v1/approvals/{id}"
_PAGE: Final = 50
StateName = Literal["pending", "approved", "denied", "expired", "cancelled", "consumed"]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ApprovalView(_Shape):
    """An approval without content. Times are seconds since the epoch, 0 for not yet.

    ``endorsed_by`` is the first of two people where two have to approve it.
    """

    id: str
    state: StateName
    agent: str
    session: str
    action: str
    server: str
    name: str
    risk: str
    created_at: float
    expires_at: float
    settled_at: float
    decided_by: str
    reason: str
    reminded_at: float
    escalated_at: float
    endorsed_by: str
    endorsed_reason: str

    @classmethod
    def of(cls, approval: Approval) -> ApprovalView:
        """The view of an approval."""
        return cls(**{name: getattr(approval, name) for name in cls.model_fields})


class ApprovalList(_Shape):
    """Approvals, and the agents that may not ask any more.

    `following` is the next page's cursor; empty at the end, and where no page was asked for.
    `waiting` is how many wait in all, whatever was asked for.
    """

    approvals: list[ApprovalView]
    frozen: list[str]
    following: str = ""
    waiting: int = 0


class StepView(_Shape):
    """A call of the session before this one."""

    at: float
    what: str
    risk: str
    verdict: str


class ShownView(_Shape):
    """The call: who wants what for whom, and why it is held. All of it may be an attacker's text.

    ``arguments`` are the tool's; ``request`` is all that would be sent. ``prompts`` is what the
    user said. ``grant`` is null where the session's task declared no tools; ``bounds`` are what it
    asks of this tool's arguments. ``approvers`` is how many people have to approve it.
    """

    agents: list[str]
    application: str
    user: str
    prompts: list[str]
    subject: dict[str, Any]
    grant: list[str] | None
    bounds: dict[str, list[dict[str, Any]]]
    called: str
    method: str
    arguments: dict[str, Any]
    request: Any
    reason: str
    rule: str
    questions: list[str]
    labels: dict[str, str]
    recent: list[StepView]
    approvers: int = 1

    @classmethod
    def of(cls, shown: Shown) -> ShownView:
        """The view of a call."""
        return cls.model_validate(msgspec.json.decode(msgspec.json.encode(shown)))


class ApprovalDetail(_Shape):
    """An approval; ``call`` is null once it is decided: then the call is kept no longer.

    ``binding`` is the digest of exactly this call: a decision may name it. Each of ``rules`` has to
    let whoever approves it; where there is none, every approver may. ``hindrance`` is why you may
    not approve it, empty where you may.
    """

    approval: ApprovalView
    call: ShownView | None
    binding: str = ""
    rules: list[RuledView] = []
    hindrance: str = ""


class DecisionRequest(_Shape):
    """Why, and with ``binding`` about which call: another one is not decided (PC3055)."""

    reason: Reason
    binding: str = Field(default="", max_length=128)


class LiftRequest(_Shape):
    """Which agent may ask again, and why."""

    agent: PrincipalName
    reason: Reason


class LiftView(_Shape):
    """An agent that may ask again."""

    agent: str
    state: Literal["lifted"] = "lifted"


def routers(edge: Edge, approving: Approving, desk: Desk) -> tuple[APIRouter, APIRouter, APIRouter]:
    """The routes for viewers, for approvers, and for administrators."""
    return _viewers(edge, approving, desk), _approvers(edge, approving), _writers(edge, approving)


def _viewers(edge: Edge, approving: Approving, desk: Desk) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @router.get(
        "/api/v1/approvals",
        responses=refusals(*CREDENTIAL, "PC1020", "PC1021", "PC3051"),
        openapi_extra=_BEARER,
    )
    async def list_approvals(
        state: StateName | None = None,
        agent: Text = "",
        session: Text = "",
        server: Text = "",
        name: Text = "",
        risk: Text = "",
        cursor: Cursor = "",
        limit: Limit | None = None,
    ) -> ApprovalList:
        """The approvals, or those in one state; no content.

        With any other parameter a page of those whose time is not over: pending ones the oldest
        first, others the newest first. Without, the newest 1000, the oldest of them first.
        """
        states = tuple(State) if state is None else (State(state),)
        filters = {"agent": agent, "session": session, "server": server, "name": name, "risk": risk}
        if limit is None and not cursor and not any(filters.values()):
            page = ApprovalPage(approvals=await approving.list(states))
        else:
            wanted = Wanted(states=states, **filters)
            page = await desk.approvals(wanted, cursor, limit or _PAGE)
        return ApprovalList(
            approvals=[ApprovalView.of(one) for one in page.approvals],
            frozen=list(await approving.frozen()),
            following=page.following,
            waiting=await desk.waiting(),
        )

    return router


def _approvers(edge: Edge, approving: Approving) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.APPROVALS_DECIDE))
    decided = refusals(*CREDENTIAL, *BODY, "PC3042", "PC3046", "PC3047", "PC3055", "PC3080")

    @router.get(
        _ONE, responses=refusals(*CREDENTIAL, "PC1020", "PC1021", "PC3047"), openapi_extra=_BEARER
    )
    async def show_approval(request: Request, id: EventId) -> ApprovalDetail:  # noqa: A002 - API
        """An approval with the call that waits; that it is read is recorded before."""
        approval, shown = await approving.show(request.state.context, id)
        rules = await approving.rules(request.state.context, approval, shown)
        hindrance = await approving.hindrance(request.state.context, approval, shown)
        return ApprovalDetail(
            approval=ApprovalView.of(approval),
            call=None if shown is None else ShownView.of(shown),
            binding=approval.binding,
            rules=[RuledView.of(one) for one in rules],
            hindrance="" if hindrance is None else hindrance.detail,
        )

    @router.post(f"{_ONE}/approve", responses=decided, openapi_extra=_BEARER)
    async def approve(
        request: Request,
        id: EventId,  # noqa: A002 - the API's name
        body: DecisionRequest,
    ) -> ApprovalView:
        """Let exactly this call through, once, while its time lasts."""
        done = await approving.approve(request.state.context, id, body.reason, body.binding)
        return ApprovalView.of(done)

    @router.post(f"{_ONE}/deny", responses=decided, openapi_extra=_BEARER)
    async def deny(
        request: Request,
        id: EventId,  # noqa: A002 - the API's name
        body: DecisionRequest,
    ) -> ApprovalView:
        """Refuse this call, or take back what was approved and did not happen yet."""
        done = await approving.deny(request.state.context, id, body.reason, body.binding)
        return ApprovalView.of(done)

    return router


def _writers(edge: Edge, approving: Approving) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.APPROVALS_LIFT))

    @router.post(
        "/api/v1/approvals/lift",
        responses=refusals(*CREDENTIAL, *BODY, "PC3042"),
        openapi_extra=_BEARER,
    )
    async def lift(request: Request, body: LiftRequest) -> LiftView:
        """Let an agent ask for approval again, of which too much was denied."""
        await approving.lift(request.state.context, body.agent, body.reason)
        return LiftView(agent=body.agent)

    return router

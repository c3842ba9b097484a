"""The control plane's API: incidents, step by step."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field, model_validator

from portcullis.control.edge import Edge
from portcullis.control.incidents import PAGE, Incidents
from portcullis.control.incidents_views import (
    ContainingName,
    IncidentDetail,
    IncidentList,
    IncidentView,
    PlaybookList,
    PlaybookView,
    ReinstatedView,
    VerdictName,
)
from portcullis.control.privacy_api import Reason
from portcullis.control.shapes import BODY, CREDENTIAL, Shape, refusals
from portcullis.core.incident import Source, Subject
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_PATH: Final = "/api/v1/incidents"
_ONE: Final = f"{_PATH}/{{id}}"
_STEP: Final = refusals(*CREDENTIAL, *BODY, "PC7060", "PC7061", "PC7064", "PC7068", "PC7069")
_LISTED: Final = refusals(*CREDENTIAL, *BODY, "PC7060", "PC7061", "PC7065")
LONGEST_DAYS: Final = 366
NOTE: Final = 2000
"""Longest note, in characters."""

Id = Annotated[str, Path(pattern=r"^[0-9a-zA-Z-]{1,64}$")]
Cursor = Annotated[str, Query(pattern=r"^[0-9a-zA-Z-]{0,64}$")]
Limit = Annotated[int, Query(ge=1, le=PAGE)]
SubjectName = Annotated[str, Query(pattern=r"^((agent|session):[a-z0-9][a-z0-9_-]{0,62})?$")]
WorkloadName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
PlaybookName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Reference = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,1024}$")]
ItemName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]{0,126}$")]
FindingId = Annotated[str, Field(pattern=r"^[0-9A-Za-z:._-]{1,128}$")]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]+$", max_length=NOTE)]
Binding = Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]
Acting = Literal["contain", "revoke", "rotate", "reaudit"]


class IncidentRequest(Shape):
    """About whom, an agent's name or a session's id, and why.

    ``since_days`` is how far back history is looked at; ``alert`` the id of the alert that it is
    opened for. What is left out is as configured, or as the playbook says.
    """

    agent: WorkloadName | None = None
    session: WorkloadName | None = None
    reason: Reason
    playbook: PlaybookName | None = None
    containing: ContainingName | None = None
    since_days: Annotated[int, Field(ge=1, le=3660)] | None = None
    alert: Annotated[str, Field(pattern=r"^[0-9a-zA-Z-]{1,64}$")] | None = None

    @model_validator(mode="after")
    def _one(self) -> IncidentRequest:
        if (self.agent is None) == (self.session is None):
            msg = "name an agent or a session"
            raise ValueError(msg)
        return self


class StepRequest(Shape):
    """Why."""

    reason: Reason


class CredentialRequest(Shape):
    """What is done about a credential: have it rotated, or say what was done by hand."""

    reference: Reference
    how: Literal["rotate", "by_hand"]
    reason: Reason


class FindingRequest(Shape):
    """What a finding was."""

    finding: FindingId
    verdict: VerdictName
    reason: Reason


class TickRequest(Shape):
    """An item of the playbook's checklist that is done."""

    item: ItemName
    reason: Reason


class NoteRequest(Shape):
    """What to write down; the log has its size and SHA-256 alone."""

    text: Text


class ApproveRequest(Shape):
    """Why, and which: ``proposal`` is the ``binding`` of what is proposed, as it was shown."""

    reason: Reason
    proposal: Binding


class ReinstateRequest(Shape):
    """Why, and the probation: for so many days, ``factor`` of each limit; else the playbook's."""

    reason: Reason
    days: Annotated[int, Field(ge=1, le=LONGEST_DAYS)] | None = None
    factor: Annotated[float, Field(gt=0, le=1)] | None = None


def routers(edge: Edge, incidents: Incidents) -> tuple[APIRouter, ...]:
    """The routes for viewers, responders, approvers and administrators."""
    return (
        _viewers(edge, incidents),
        _responders(edge, incidents),
        _responders_lists(edge, incidents),
        _approvers(edge, incidents),
        _admins(edge, incidents),
    )


def _viewers(edge: Edge, incidents: Incidents) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @router.get(_PATH, responses=refusals(*CREDENTIAL, "PC1020", "PC1021"), openapi_extra=_BEARER)
    async def list_incidents(
        state: Literal["unresolved", "all"] = "unresolved",
        subject: SubjectName = "",
        cursor: Cursor = "",
        limit: Limit = PAGE,
    ) -> IncidentList:
        """Incidents, the newest first; about one subject (`agent:NAME`, `session:ID`) or any."""
        found = await incidents.list(
            unresolved=state == "unresolved", subject=subject, before=cursor, limit=limit
        )
        return IncidentList.of(found, limit)

    @router.get(
        "/api/v1/playbooks", responses=refusals(*CREDENTIAL, "PC1021"), openapi_extra=_BEARER
    )
    async def list_playbooks() -> PlaybookList:
        """The playbooks that incidents can follow."""
        return PlaybookList(playbooks=[PlaybookView.of(one) for one in incidents.playbooks])

    @router.get(
        _ONE, responses=refusals(*CREDENTIAL, "PC1020", "PC1021", "PC7060"), openapi_extra=_BEARER
    )
    async def show_incident(request: Request, id: Id) -> IncidentDetail:  # noqa: A002 - API
        """One incident: how far it is, what is due, and what is left to do."""
        found = await incidents.show(id)
        return await IncidentDetail.to(found, incidents, request.state.context)

    return router


def _responders(edge: Edge, incidents: Incidents) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.INCIDENTS_LEAD))

    @router.post(
        _PATH,
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC2006", "PC2010", "PC7062", "PC7066"),
        openapi_extra=_BEARER,
    )
    async def open_incident(request: Request, body: IncidentRequest) -> IncidentView:
        """Open an incident about an agent or a session; nothing is contained by that yet."""
        made = await incidents.open(
            request.state.context,
            Subject(agent=body.agent or "", session=body.session or ""),
            body.reason,
            playbook=body.playbook or "",
            source=Source(kind="alert", id=body.alert) if body.alert else Source(),
            since_days=body.since_days or 0,
            containing=body.containing,
        )
        return IncidentView.shown(made, incidents)

    @router.post(f"{_ONE}/steps/{{step}}", responses=_STEP, openapi_extra=_BEARER)
    async def take_step(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        step: Acting,
        body: StepRequest,
    ) -> IncidentView:
        """Take the step that is due. One that began and did not end is taken up again."""
        do = {
            "contain": incidents.contain,
            "revoke": incidents.revoke,
            "rotate": incidents.rotate,
            "reaudit": incidents.reaudit,
        }[step]
        return IncidentView.shown(await do(request.state.context, id, body.reason), incidents)

    @router.post(
        f"{_ONE}/notes",
        responses=refusals(*CREDENTIAL, *BODY, "PC7060", "PC7064"),
        openapi_extra=_BEARER,
    )
    async def note_incident(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        body: NoteRequest,
    ) -> IncidentView:
        """Write something down."""
        context = request.state.context
        return IncidentView.shown(await incidents.note(context, id, body.text), incidents)

    return router


def _responders_lists(edge: Edge, incidents: Incidents) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.INCIDENTS_LEAD))

    @router.post(f"{_ONE}/credentials", responses=_LISTED, openapi_extra=_BEARER)
    async def settle_credential(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        body: CredentialRequest,
    ) -> IncidentView:
        """Have a credential rotated, or say what was done about it; the last ends the step."""
        do = incidents.rotate_one if body.how == "rotate" else incidents.settle
        context = request.state.context
        return IncidentView.shown(await do(context, id, body.reference, body.reason), incidents)

    @router.post(f"{_ONE}/findings", responses=_LISTED, openapi_extra=_BEARER)
    async def judge_finding(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        body: FindingRequest,
    ) -> IncidentView:
        """Say what a finding of the re-audit was; the last ends the step."""
        found = await incidents.judge(
            request.state.context, id, body.finding, body.verdict, body.reason
        )
        return IncidentView.shown(found, incidents)

    @router.post(f"{_ONE}/checklist", responses=_LISTED, openapi_extra=_BEARER)
    async def tick_item(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        body: TickRequest,
    ) -> IncidentView:
        """Say that something on the playbook's checklist is done."""
        context = request.state.context
        found = await incidents.tick(context, id, body.item, body.reason)
        return IncidentView.shown(found, incidents)

    return router


def _approvers(edge: Edge, incidents: Incidents) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.INCIDENTS_APPROVE))

    @router.post(
        f"{_ONE}/approve",
        responses=refusals(
            *(*CREDENTIAL, *BODY, "PC3046", "PC3080", "PC7060", "PC7061", "PC7065", "PC7067")
        ),
        openapi_extra=_BEARER,
    )
    async def approve_reinstatement(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        body: ApproveRequest,
    ) -> IncidentView:
        """Approve the reinstatement that somebody else proposed: the one that was shown."""
        found = await incidents.approve(request.state.context, id, body.reason, body.proposal)
        return IncidentView.shown(found, incidents)

    return router


def _admins(edge: Edge, incidents: Incidents) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.INCIDENTS_CLOSE))

    @router.post(
        f"{_ONE}/reinstate",
        responses=refusals(
            *CREDENTIAL,
            *BODY,
            *("PC4001", "PC7060", "PC7061", "PC7064", "PC7067", "PC7068"),
        ),
        openapi_extra=_BEARER,
    )
    async def reinstate(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        body: ReinstateRequest,
    ) -> ReinstatedView:
        """Propose that the agent works again; once approved, let it in with a new identity."""
        found, token = await incidents.reinstate(
            request.state.context, id, body.reason, days=body.days or 0, factor=body.factor or 0.0
        )
        return ReinstatedView.of(found, token, incidents)

    @router.post(f"{_ONE}/close", responses=_STEP, openapi_extra=_BEARER)
    async def close_incident(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        body: StepRequest,
    ) -> IncidentView:
        """End it without letting anybody in again: the agent is revoked for ever."""
        context = request.state.context
        return IncidentView.shown(await incidents.close(context, id, body.reason), incidents)

    @router.post(f"{_ONE}/stand-down", responses=_STEP, openapi_extra=_BEARER)
    async def stand_down(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        body: StepRequest,
    ) -> IncidentView:
        """End it as a false alarm: what it contained itself is free again."""
        context = request.state.context
        return IncidentView.shown(await incidents.stand_down(context, id, body.reason), incidents)

    return router

"""The control plane's API: releases of policy."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request
from pydantic import Field

from portcullis.control.approvers_views import RuledView
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import Reason
from portcullis.control.releases import FILE_NAME, Releasing
from portcullis.control.shapes import BODY, CREDENTIAL, Shape, refusals
from portcullis.core.call import Context
from portcullis.core.principal import PrincipalKind
from portcullis.core.release import MAX_BYTES, MAX_FILES, MAX_SHARE, Arm, File, Release
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_PATH: Final = "/api/v1/policy/releases"
_ONE: Final = f"{_PATH}/{{number}}"
BODY_BYTES: Final = 2 * MAX_BYTES
"""The longest proposal, in bytes: text in JSON takes more room."""
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
StageName = Literal[
    "proposed",
    "approved",
    "shadow",
    "canary",
    "active",
    "superseded",
    "rolled_back",
    "rejected",
]


class FileView(Shape):
    """A file of a release."""

    name: Annotated[str, Field(pattern=f"^{FILE_NAME}$")]
    text: Annotated[str, Field(max_length=MAX_BYTES)]


class ProposalRequest(Shape):
    """The whole text of a policy, and what is new about it."""

    files: Annotated[list[FileView], Field(min_length=1, max_length=MAX_FILES)]
    note: Reason


class ReleaseReasonRequest(Shape):
    """Why."""

    reason: Reason


class CanaryRequest(Shape):
    """For which share of the sessions, in percent."""

    share: Annotated[int, Field(ge=1, le=MAX_SHARE)]


class ReleaseApprovalView(Shape):
    """Who approved, when (seconds since the epoch), and what was said."""

    by: str
    at: float
    note: str


class ReleaseView(Shape):
    """A release of policy. Times are seconds since the epoch, 0 for never.

    ``digest`` is that of the compiled policy, as decisions carry it; ``text`` that of the files.
    """

    number: int
    digest: str
    text: str
    origin: str
    proposed_by: str
    proposed_at: float
    note: str
    revision: str
    stage: StageName
    share: int
    approvals: list[ReleaseApprovalView]
    by: str
    reason: str
    changed_at: float
    active_at: float

    @classmethod
    def of(cls, release: Release) -> ReleaseView:
        """The view of a release."""
        made = {name: getattr(release, name) for name in cls.model_fields}
        approvals = [
            ReleaseApprovalView(by=one.by, at=one.at, note=one.note) for one in release.approvals
        ]
        return cls(**made | {"stage": release.stage.value, "approvals": approvals})


class ReleaseList(Shape):
    """The newest releases, the newest first.

    ``needed`` is how many people have to approve one. With ``binding`` the active release is the
    policy, else the policy folder is.
    """

    releases: list[ReleaseView]
    needed: int
    binding: bool


class ArmView(Shape):
    """How often policy was asked about some sessions, and how often it denied."""

    decisions: int
    denials: int
    sessions: int

    @classmethod
    def of(cls, arm: Arm) -> ArmView:
        """The view of one side."""
        return cls(decisions=arm.decisions, denials=arm.denials, sessions=arm.sessions)


class UntestedView(Shape):
    """A part of the policy (limits, tools, schemas, ...) and what in it the release changes."""

    part: str
    names: list[str]


class DifferenceView(Shape):
    """What the policy in force says of some calls (``was``), and what the candidate (``now``)."""

    agent: str
    name: str
    was: str
    now: str
    count: int


class ReleaseDetail(Shape):
    """A release, and what was counted of it in shadow or canary.

    ``hit`` is how many sessions were denied what the active release would have allowed (64 of each
    gateway at most). ``untested`` is what no canary tests: it is the active release's until this
    one is. ``others`` counts differences of more kinds than are told apart; ``dropped`` are calls
    that were too many to be compared. Each of ``rules`` has to let whoever approves it; where there
    is none, everybody may who has the right to. ``hindrance`` is why you may not approve it, empty
    where you may.
    """

    release: ReleaseView
    needed: int
    canary: ArmView
    rest: ArmView
    compared: int
    dropped: int
    others: int
    differences: list[DifferenceView]
    rules: list[RuledView]
    hindrance: str
    hit: int
    untested: list[UntestedView]

    @classmethod
    async def to(cls, number: int, releasing: Releasing, context: Context) -> ReleaseDetail:
        """The view of a release for whoever asks. Raises Problem PC7030, PC7038."""
        release, tallies = await releasing.show(number)
        why = await releasing.hindrance(context, number)
        return cls(
            release=ReleaseView.of(release),
            needed=releasing.needed,
            canary=ArmView.of(tallies.canary),
            rest=ArmView.of(tallies.rest),
            compared=tallies.compared,
            dropped=tallies.dropped,
            others=tallies.others,
            differences=[
                DifferenceView(agent=one.agent, name=one.name, was=one.was, now=one.now, count=n)
                for one, n in tallies.differences.items()
            ],
            rules=[RuledView.of(one) for one in await releasing.rules(context, number)],
            hindrance="" if why is None else why.detail,
            hit=len(tallies.hit),
            untested=[
                UntestedView(part=one.part, names=list(one.names))
                for one in await releasing.untested(number)
            ],
        )


class ReleaseText(Shape):
    """The files of a release."""

    files: list[FileView]


def routers(edge: Edge, wide: Edge, releasing: Releasing) -> tuple[APIRouter, ...]:
    """The routes of who looks, goes back, proposes, approves, and puts into force.

    ``wide`` is the edge of proposals, which are longer than other bodies.
    """
    return (
        _viewers(edge, releasing),
        _responders(edge, releasing),
        _proposers(wide, releasing),
        _approvers(edge, releasing),
        _movers(edge, releasing),
    )


def _viewers(edge: Edge, releasing: Releasing) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))
    known = refusals(*CREDENTIAL, "PC1020", "PC1021", "PC7030", "PC7038")

    @router.get(_PATH, responses=refusals(*CREDENTIAL, "PC1021"), openapi_extra=_BEARER)
    async def list_releases() -> ReleaseList:
        """The newest releases of policy."""
        found = [ReleaseView.of(one) for one in await releasing.list()]
        return ReleaseList(releases=found, needed=releasing.needed, binding=releasing.binding)

    @router.get(_ONE, responses=known, openapi_extra=_BEARER)
    async def show_release(request: Request, number: Number) -> ReleaseDetail:
        """A release, and what was counted of it."""
        return await ReleaseDetail.to(number, releasing, request.state.context)

    @router.get(f"{_ONE}/files", responses=known, openapi_extra=_BEARER)
    async def show_release_files(number: Number) -> ReleaseText:
        """The text of a release."""
        files = await releasing.files(number)
        return ReleaseText(files=[FileView(name=one.name, text=one.text) for one in files])

    return router


def _responders(edge: Edge, releasing: Releasing) -> APIRouter:
    """Going back has to be quick, and leads one step to what was in force before."""
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.RELEASES_ROLLBACK))

    @router.post(
        f"{_ONE}/rollback",
        responses=refusals(*CREDENTIAL, *BODY, "PC7025", "PC7030", "PC7031", "PC7034"),
        openapi_extra=_BEARER,
    )
    async def roll_release_back(
        request: Request, number: Number, body: ReleaseReasonRequest
    ) -> ReleaseView:
        """End a shadow or a canary; or go back from the active release to the one before."""
        context = request.state.context
        return ReleaseView.of(await releasing.rollback(context, number, body.reason))

    return router


def _proposers(edge: Edge, releasing: Releasing) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.RELEASES_PROPOSE))

    @router.post(
        _PATH,
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC7002", "PC7003", "PC7004", "PC7035"),
        openapi_extra=_BEARER,
    )
    async def propose_release(request: Request, body: ProposalRequest) -> ReleaseView:
        """Propose a policy; nothing of it takes force by that."""
        files = tuple(File(name=one.name, text=one.text) for one in body.files)
        return ReleaseView.of(await releasing.propose(request.state.context, files, body.note))

    return router


def _approvers(edge: Edge, releasing: Releasing) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.RELEASES_APPROVE))

    @router.post(
        f"{_ONE}/approve",
        responses=refusals(*CREDENTIAL, *BODY, "PC3080", "PC7030", "PC7031", "PC7033"),
        openapi_extra=_BEARER,
    )
    async def approve_release(
        request: Request, number: Number, body: ReleaseReasonRequest
    ) -> ReleaseView:
        """Approve what somebody else proposed."""
        context = request.state.context
        return ReleaseView.of(await releasing.approve(context, number, body.reason))

    @router.post(
        f"{_ONE}/reject",
        responses=refusals(*CREDENTIAL, *BODY, "PC7030", "PC7031"),
        openapi_extra=_BEARER,
    )
    async def reject_release(
        request: Request, number: Number, body: ReleaseReasonRequest
    ) -> ReleaseView:
        """Reject a release that never decided."""
        context = request.state.context
        return ReleaseView.of(await releasing.reject(context, number, body.reason))

    return router


def _movers(edge: Edge, releasing: Releasing) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.RELEASES_ACTIVATE))
    moves = (*CREDENTIAL, "PC1020", "PC1021", "PC1007", "PC1012", "PC7030", "PC7031")

    @router.post(f"{_ONE}/shadow", responses=refusals(*moves), openapi_extra=_BEARER)
    async def shadow_release(request: Request, number: Number) -> ReleaseView:
        """Hold a release against the one in force; it decides nothing."""
        return ReleaseView.of(await releasing.shadow(request.state.context, number))

    @router.post(
        f"{_ONE}/canary",
        responses=refusals(*CREDENTIAL, *BODY, "PC7004", "PC7030", "PC7031", "PC7032"),
        openapi_extra=_BEARER,
    )
    async def canary_release(request: Request, number: Number, body: CanaryRequest) -> ReleaseView:
        """Let a release decide for a share of the sessions."""
        context = request.state.context
        return ReleaseView.of(await releasing.canary(context, number, body.share))

    @router.post(
        f"{_ONE}/activate",
        responses=refusals(*moves, "PC7032", "PC7034"),
        openapi_extra=_BEARER,
    )
    async def activate_release(request: Request, number: Number) -> ReleaseView:
        """Have a release take force everywhere."""
        return ReleaseView.of(await releasing.activate(request.state.context, number))

    return router

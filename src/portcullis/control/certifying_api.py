"""The control plane's API: reviews of what agents may, and who confirmed it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Request
from pydantic import Field

from portcullis.control.certifying import Certifying
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import Reason
from portcullis.control.shapes import BODY, CREDENTIAL, PrincipalName, Shape, refusals
from portcullis.core.call import Context
from portcullis.core.certificate import Certificate
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right
from portcullis.review.grants import AgentSets, Finding, Report

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_PATH: Final = "/api/v1/policy/review"
_AGENTS: Final = "/api/v1/policy/agents"
_ONE: Final = f"{_AGENTS}/{{id}}"
_MOST_FINDINGS: Final = 1000
_GONE: Final = frozenset({"PC7030", "PC7049"})
"""There is nothing to confirm."""
GRANT: Final = r"^[!-~][ -~]{0,1022}$"


class PolicyFindingView(Shape):
    """Something that a review found."""

    id: str
    kind: str
    severity: str
    title: str
    text: str
    advice: str
    agents: list[str]
    rule: str
    place: str

    @classmethod
    def of(cls, one: Finding) -> PolicyFindingView:
        """The view of a finding."""
        return cls(**msgspec.structs.asdict(one) | {"agents": list(one.agents)})


class AgentReviewView(Shape):
    """How much an agent may, can and does, and who looked at it last.

    ``reachable`` is null where nobody knows what servers offer. Times are seconds since the epoch,
    0 for never; ``due`` is when somebody has to have looked next.
    """

    agent: str
    role: str
    owner: str
    declared: int
    effective: int
    reachable: int | None
    used: int
    due: float
    confirmed_at: float
    confirmed_by: str
    confirmed_release: int

    @classmethod
    def of(cls, one: AgentSets) -> AgentReviewView:
        """The view of one agent's sets."""
        return cls(
            agent=one.agent,
            role=one.role,
            owner=one.owner,
            declared=len(one.declared),
            effective=len(one.effective),
            reachable=None if one.reachable is None else len(one.reachable),
            used=len(one.used),
            due=one.due,
            confirmed_at=one.confirmed_at,
            confirmed_by=one.confirmed_by,
            confirmed_release=one.confirmed_release,
        )


class PolicyReviewView(Shape):
    """A review: of which release and policy, its agents and its findings, the gravest first.

    Of more than 1000 findings only so many are listed; ``counts`` has them all.
    """

    at: float
    release: int
    policy: str
    days: int
    log_from: float | None
    counts: dict[str, int]
    agents: list[AgentReviewView]
    findings: list[PolicyFindingView]

    @classmethod
    def of(cls, report: Report) -> PolicyReviewView:
        """The view of a report."""
        found = report.findings[:_MOST_FINDINGS]
        return cls(
            at=report.at,
            release=report.release,
            policy=report.policy,
            days=report.days,
            log_from=report.log_from,
            counts=report.counts,
            agents=[AgentReviewView.of(one) for one in report.agents],
            findings=[PolicyFindingView.of(one) for one in found],
        )


class CertificateView(Shape):
    """What somebody said about what an agent may."""

    agent: str
    at: float
    by: str
    said: str
    release: int
    policy: str
    owner: str
    grant: str
    led_to: int
    reason: str

    @classmethod
    def of(cls, one: Certificate) -> CertificateView:
        """The view of a certificate."""
        return cls(**msgspec.to_builtins(one))


class CertificateList(Shape):
    """An agent's last certificates, the newest first.

    ``owner`` answers for it, empty for nobody. ``hindrance`` is why you may not confirm it, empty
    where you may, if you have the right to confirm.
    """

    certificates: list[CertificateView]
    owner: str
    hindrance: str

    @classmethod
    async def to(cls, agent: str, certifying: Certifying, context: Context) -> CertificateList:
        """The list for whoever asks."""
        found = await certifying.history(agent)
        try:
            owner, why = await certifying.owner(agent), await certifying.hindrance(context, agent)
        except Problem as problem:
            if problem.code not in _GONE:
                raise
            owner, why = "", problem
        return cls(
            certificates=[CertificateView.of(one) for one in found],
            owner=owner,
            hindrance="" if why is None else why.detail,
        )


class ConfirmAgentRequest(Shape):
    """Which release was looked at."""

    release: Annotated[int, Field(ge=1, le=2**31 - 1)]
    reason: Reason


class RevokeGrantRequest(Shape):
    """Which grant has to go: its rule or its path. ``for_all``: of other agents' as well."""

    grant: Annotated[str, Field(pattern=GRANT)]
    reason: Reason
    for_all: bool = False


class RevokedGrantView(Shape):
    """The certificate, and the patch of the policy; ``led_to`` is the release it stands in."""

    certificate: CertificateView
    patch: str


def routers(edge: Edge, certifying: Certifying) -> tuple[APIRouter, ...]:
    """The routes of who looks, who confirms, and who revokes."""
    return _readers(edge, certifying), _writers(edge, certifying), _revokers(edge, certifying)


def _readers(edge: Edge, certifying: Certifying) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))
    known = refusals(*CREDENTIAL, "PC1020", "PC1021", "PC7030")

    @router.get(_PATH, responses=known, openapi_extra=_BEARER)
    async def show_policy_review() -> PolicyReviewView:
        """The last review of what is in force, or a new one where that is out of date."""
        return PolicyReviewView.of(await certifying.agents())

    @router.get(f"{_ONE}/certificates", responses=known, openapi_extra=_BEARER)
    async def list_certificates(
        request: Request,
        id: PrincipalName,  # noqa: A002 - the API's name
    ) -> CertificateList:
        """Who said what about what an agent may, and whether you may confirm it."""
        return await CertificateList.to(id, certifying, request.state.context)

    return router


def _writers(edge: Edge, certifying: Certifying) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.ACCESS_CERTIFY))
    moves = (*CREDENTIAL, "PC1020", "PC1021", "PC1007", "PC1012", "PC7030")

    @router.post(_PATH, responses=refusals(*moves), openapi_extra=_BEARER)
    async def review_policy(request: Request) -> PolicyReviewView:
        """Review what is in force now."""
        return PolicyReviewView.of(await certifying.review(request.state.context))

    @router.post(
        f"{_ONE}/confirm",
        responses=refusals(*CREDENTIAL, *BODY, "PC3087", "PC7030", "PC7045", "PC7049"),
        openapi_extra=_BEARER,
    )
    async def confirm_agent(
        request: Request,
        id: PrincipalName,  # noqa: A002 - the API's name
        body: ConfirmAgentRequest,
    ) -> CertificateView:
        """Confirm what an agent may under the release in force."""
        context = request.state.context
        return CertificateView.of(await certifying.confirm(context, id, body.release, body.reason))

    return router


def _revokers(edge: Edge, certifying: Certifying) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.ACCESS_REVOKE))

    @router.post(
        f"{_ONE}/revoke-grant",
        responses=refusals(*(*CREDENTIAL, *BODY, "PC7030", "PC7035"), "PC7047", "PC7048", "PC7049"),
        openapi_extra=_BEARER,
    )
    async def revoke_grant(
        request: Request,
        id: PrincipalName,  # noqa: A002 - the API's name
        body: RevokeGrantRequest,
    ) -> RevokedGrantView:
        """Say that a grant has to go: a release without it is proposed, or there is a patch."""
        certificate, revoked = await certifying.revoke(
            request.state.context, id, body.grant, body.reason, everybody=body.for_all
        )
        return RevokedGrantView(certificate=CertificateView.of(certificate), patch=revoked.patch)

    return router

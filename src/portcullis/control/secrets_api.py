"""The control plane's API: secrets, who had access to them, and their rotation. Never a value."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import Field

from portcullis.config.common import NAME, SECRET
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import Reason
from portcullis.control.secrets import Brokered, Known
from portcullis.control.shapes import BODY, CREDENTIAL, Shape, refusals
from portcullis.core.incident import Rotated
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right
from portcullis.core.secret_ports import Use

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_PATH: Final = "/api/v1/secrets"
_Reference = Annotated[str, Field(pattern=SECRET, max_length=512)]


class SecretView(Shape):
    """A secret that the configuration names. Times are seconds since the epoch, 0 for never.

    ``version`` is the one that was used last, a keyed digest; ``agents`` is how many used any.
    """

    reference: str
    upstreams: list[str]
    version: str
    agents: int
    used: float
    rotated: float
    due: float
    fault: str
    honeytoken: bool
    hook: bool

    @classmethod
    def of(cls, known: Known) -> SecretView:
        """The view of a secret."""
        one = known.secret
        return cls(
            reference=one.reference,
            upstreams=list(one.upstreams),
            version=known.version,
            agents=known.agents,
            used=known.used,
            rotated=known.rotated,
            due=known.due,
            fault=known.fault,
            honeytoken=one.honeytoken,
            hook=one.hook,
        )


class SecretList(Shape):
    """The secrets of the configuration."""

    secrets: list[SecretView]


class UseView(Shape):
    """That an agent (the gate itself, where it is empty) used a version of a secret."""

    reference: str
    version: str
    agent: str
    session: str
    upstream: str
    scope: str
    first: float
    last: float
    count: int

    @classmethod
    def of(cls, use: Use) -> UseView:
        """The view of a use."""
        return cls.model_validate(msgspec.structs.asdict(use))


class UseList(Shape):
    """Who used what, newest first."""

    uses: list[UseView]


class RotateRequest(Shape):
    """Which secret, and why."""

    reference: _Reference
    reason: Reason


class RotatedView(Shape):
    """What came of it: ``verified`` is that it was read again, and is another."""

    reference: str
    rotated: bool
    verified: bool
    fault: str
    detail: str

    @classmethod
    def of(cls, done: Rotated) -> RotatedView:
        """The view of a rotation."""
        return cls.model_validate(msgspec.structs.asdict(done))


def routers(edge: Edge, brokered: Brokered) -> tuple[APIRouter, APIRouter]:
    """The routes for viewers, and for administrators."""
    viewers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))
    writers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.SECRETS_ROTATE))

    @viewers.get(_PATH, responses=refusals(*CREDENTIAL, "PC1021"), openapi_extra=_BEARER)
    async def list_secrets() -> SecretList:
        """The secrets that the configuration names: what they open, and when they were rotated."""
        return SecretList(secrets=[SecretView.of(one) for one in await brokered.list()])

    @viewers.get(
        f"{_PATH}/access",
        responses=refusals(*CREDENTIAL, "PC1020", "PC1021"),
        openapi_extra=_BEARER,
    )
    async def list_secret_uses(
        agent: Annotated[str | None, Query(pattern=NAME)] = None,
        secret: Annotated[str | None, Query(pattern=SECRET, max_length=512)] = None,
        since: Annotated[float, Query(ge=0, le=1e11)] = 0.0,
    ) -> UseList:
        """Which agent used which secret, at which upstream, in which session, since a time."""
        found = await brokered.access(agent or "", secret or "", since)
        return UseList(uses=[UseView.of(one) for one in found])

    @writers.post(
        f"{_PATH}/rotate", responses=refusals(*CREDENTIAL, *BODY, "PC5069"), openapi_extra=_BEARER
    )
    async def rotate_secret(request: Request, body: RotateRequest) -> RotatedView:
        """Have a secret rotated now, and see that it is another."""
        done = await brokered.rotate(request.state.context, body.reference, body.reason)
        return RotatedView.of(done)

    return viewers, writers

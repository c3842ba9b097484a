"""The control plane's API: erasure, legal holds, and reading the content that was kept."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from portcullis.audit import content
from portcullis.audit.recipients import parse
from portcullis.audit.retention_holds import Hold, HoldKind
from portcullis.control.edge import Edge
from portcullis.control.privacy import Erased, Privacy
from portcullis.control.shapes import BODY, CREDENTIAL, refusals
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_TEXT: Final = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"
Reason = Annotated[
    str, Field(max_length=200, pattern=rf"^{_TEXT}*[^\s\x00-\x1f\x7f-\x9f]{_TEXT}*$")
]
"""Why, in one line: it stands in the log for ever, so it names no person."""
EventId = Annotated[str, Field(pattern=r"^[0-9a-zA-Z-]{1,64}$")]
Target = Annotated[str, Field(min_length=1, max_length=32_768)]
"""A row scope may be that long."""


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ErasureRequest(_Shape):
    """Whom: ``user:NAME``, ``subject:NAME=VALUE``, ``subject:{JSON}``, ``agent:NAME``, ..."""

    subject: Target
    reason: Reason


class ErasureView(_Shape):
    """What is gone: keys, fields of content, and whether older commitments went as a whole.

    ``elsewhere`` are the gateways of other hosts, which destroy what they have as soon as they run.
    """

    subject: str
    keys: int
    fields: int
    derived: bool
    elsewhere: list[str] = []

    @classmethod
    def of(cls, done: Erased) -> ErasureView:
        """The view of an erasure."""
        found = {name: getattr(done, name) for name in cls.model_fields}
        return cls(**found | {"elsewhere": list(done.elsewhere)})


class HoldRequest(_Shape):
    """What stays: a session (its id), a principal (``KIND:NAME``) or a subject as in an erasure."""

    kind: Literal["session", "principal", "subject"]
    target: Target
    reason: Reason


class ReasonRequest(_Shape):
    """Why."""

    reason: Reason


class HoldView(_Shape):
    """A hold. Of a subject, ``target`` is empty. ``since`` is in seconds since the epoch."""

    id: str
    kind: HoldKind
    target: str
    reason: str
    by: str
    since: float

    @classmethod
    def of(cls, hold: Hold) -> HoldView:
        """The view of a hold."""
        return cls(**{name: getattr(hold, name) for name in cls.model_fields})


class HoldList(_Shape):
    """The holds in force, oldest first."""

    holds: list[HoldView]


class ReleaseView(_Shape):
    """A hold that has ended."""

    id: str
    state: Literal["released"] = "released"


class ContentRequest(_Shape):
    """Whose content, and why it is read."""

    event: EventId
    reason: Reason


class FieldView(_Shape):
    """One field: JSON as it went on. Hold ``commitment`` against the one in the event.

    Of a field that is for its recipients alone, ``value`` is empty, ``sealed`` the envelope in
    base64, and ``recipients`` says whose keys open it.
    """

    name: str
    value: str
    commitment: str
    sealed: str = ""
    recipients: list[str] = Field(default_factory=list)

    @classmethod
    def of(cls, field: content.Field) -> FieldView:
        """The view of a field."""
        if not field.sealed:
            text = field.value.decode("utf-8", "replace")
            return cls(name=field.name, value=text, commitment=field.commitment)
        return cls(
            name=field.name,
            value="",
            commitment=field.commitment,
            sealed=base64.b64encode(field.value).decode(),
            recipients=list(parse(field.value).keys),
        )


class ContentView(_Shape):
    """The content of an event of ``log``: ``gate``, or that of a ``portcullis mcp``."""

    event: str
    log: str
    fields: list[FieldView]

    @classmethod
    def of(cls, event: str, log: str, found: Iterable[content.Field]) -> ContentView:
        """The view of an event's content."""
        return cls(
            event=event,
            log=log,
            fields=[FieldView.of(field) for field in found],
        )


def routers(edge: Edge, privacy: Privacy) -> tuple[APIRouter, ...]:
    """The routes of who looks, reads content, erases, and holds back from erasure."""
    return (
        _viewers(edge, privacy),
        _investigators(edge, privacy),
        _erasers(edge, privacy),
        _holders(edge, privacy),
    )


def _viewers(edge: Edge, privacy: Privacy) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @router.get("/api/v1/holds", responses=refusals(*CREDENTIAL, "PC1021"), openapi_extra=_BEARER)
    async def list_holds() -> HoldList:
        """The legal holds in force."""
        return HoldList(holds=[HoldView.of(hold) for hold in await privacy.holds()])

    return router


def _investigators(edge: Edge, privacy: Privacy) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.CONTENT_READ))

    @router.post(
        "/api/v1/content",
        responses=refusals(*CREDENTIAL, *BODY, "PC6005", "PC6041"),
        openapi_extra=_BEARER,
    )
    async def read_content(request: Request, body: ContentRequest) -> ContentView:
        """The content of an event, where it was kept; that it was read is recorded before."""
        found = await privacy.content(request.state.context, body.event, body.reason)
        return ContentView.of(body.event, *found)

    return router


def _erasers(edge: Edge, privacy: Privacy) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.CONTENT_ERASE))

    @router.post(
        "/api/v1/erasures",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC6040", "PC6041"),
        openapi_extra=_BEARER,
    )
    async def erase(request: Request, body: ErasureRequest) -> ErasureView:
        """Destroy the keys of a data subject, and the content under them, for ever."""
        done = await privacy.erase(request.state.context, body.subject, body.reason)
        return ErasureView.of(done)

    return router


def _holders(edge: Edge, privacy: Privacy) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.CONTENT_HOLD))

    @router.post(
        "/api/v1/holds",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY),
        openapi_extra=_BEARER,
    )
    async def hold(request: Request, body: HoldRequest) -> HoldView:
        """Keep everything of a session, a principal or a subject until it is released."""
        context = request.state.context
        return HoldView.of(await privacy.hold(context, body.kind, body.target, body.reason))

    @router.post(
        "/api/v1/holds/{id}/release",
        responses=refusals(*CREDENTIAL, *BODY, "PC6042"),
        openapi_extra=_BEARER,
    )
    async def release(
        request: Request,
        id: EventId,  # noqa: A002 - the API's name
        body: ReasonRequest,
    ) -> ReleaseView:
        """End a hold."""
        await privacy.release(request.state.context, id, body.reason)
        return ReleaseView(id=id)

    return router

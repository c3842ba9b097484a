"""The control plane's API: calls to be looked at afterwards."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from portcullis.config import NAME
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import EventId, Reason
from portcullis.control.reviews import PAGE, Looked, Reviewing
from portcullis.control.shapes import BODY, CREDENTIAL, refusals
from portcullis.core.principal import PrincipalKind, Session
from portcullis.core.review import Disposition, Entry, State, Wanted
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_ONE: Final = "/api/v1/reviews/{id}"
StateName = Literal["open", "closed"]
DispositionName = Literal["expected", "mistake", "misuse", "incident"]
RiskName = Literal["read", "modify", "external", "delete"]
AnyAgent = Annotated[str, Query(pattern=f"^$|{NAME}")]
AnyPlace = Annotated[str, Query(pattern=r"^[0-9a-zA-Z-]{0,64}$")]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ReviewView(_Shape):
    """A call without content. Times are seconds since the epoch, 0 for not yet.

    ``id`` is that of its event in ``log``, ``user`` the event's commitment to the user; what is
    said of the arguments are their names.
    """

    id: str
    log: str
    state: StateName
    at: float
    agent: str
    session: str
    user: str
    application: str
    action: str
    server: str
    name: str
    risk: str
    rule: str
    arguments: list[str]
    disposition: str
    decided_by: str
    reason: str
    settled_at: float
    reminded_at: float

    @classmethod
    def of(cls, entry: Entry) -> ReviewView:
        """The view of an entry."""
        made = {name: getattr(entry, name) for name in cls.model_fields}
        return cls(**made | {"arguments": list(entry.arguments)})


class ReviewList(_Shape):
    """Calls, the oldest first. ``cursor`` leads to those after them; empty when there are none."""

    reviews: list[ReviewView]
    cursor: str

    @classmethod
    def of(cls, entries: tuple[Entry, ...]) -> ReviewList:
        """The view of a page."""
        cursor = entries[-1].id if len(entries) == PAGE else ""
        return cls(reviews=[ReviewView.of(one) for one in entries], cursor=cursor)


class KeptView(_Shape):
    """A field of what was kept: JSON as it went on; ``intact`` when the event commits to it."""

    name: str
    value: str
    intact: bool


class TaskView(_Shape):
    """The session, which is still open: what the user said, for whom, which tools it declared."""

    prompts: list[str]
    subject: dict[str, Any]
    grant: list[str] | None

    @classmethod
    def of(cls, session: Session) -> TaskView:
        """The view of a session."""
        grant = None if session.grant is None else list(session.grant)
        return cls(prompts=list(session.prompts), subject=session.subject, grant=grant)


class ReviewDetail(_Shape):
    """A call with what is left of it. All of it may be an attacker's text.

    ``clear`` are the arguments that the log shows. ``content`` is empty where none was kept,
    ``user`` where nobody knows him any more; ``task`` is null when the session is over.
    """

    review: ReviewView
    clear: dict[str, Any]
    content: list[KeptView]
    user: str
    task: TaskView | None

    @classmethod
    def of(cls, entry: Entry, looked: Looked) -> ReviewDetail:
        """The view of both."""
        return cls(
            review=ReviewView.of(entry),
            clear=entry.clear,
            content=[
                KeptView(name=one.name, value=one.value, intact=one.intact)
                for one in looked.content
            ],
            user=looked.user,
            task=None if looked.session is None else TaskView.of(looked.session),
        )


class ClosingRequest(_Shape):
    """What the call was, and why it is said."""

    disposition: DispositionName
    reason: Reason


class ReopeningRequest(_Shape):
    """Why."""

    reason: Reason


def routers(edge: Edge, reviewing: Reviewing) -> tuple[APIRouter, APIRouter]:
    """The routes for viewers, and for approvers."""
    return _viewers(edge, reviewing), _approvers(edge, reviewing)


def _viewers(edge: Edge, reviewing: Reviewing) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @router.get(
        "/api/v1/reviews",
        responses=refusals(*CREDENTIAL, "PC1020", "PC1021"),
        openapi_extra=_BEARER,
    )
    async def list_reviews(
        state: StateName | None = None,
        agent: AnyAgent = "",
        risk: RiskName | None = None,
        cursor: AnyPlace = "",
    ) -> ReviewList:
        """The calls to be looked at, or that were; no content."""
        wanted = Wanted(state=None if state is None else State(state), agent=agent, risk=risk or "")
        return ReviewList.of(await reviewing.list(wanted, cursor))

    return router


def _approvers(edge: Edge, reviewing: Reviewing) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.REVIEWS_CLOSE))

    @router.get(
        _ONE,
        responses=refusals(*CREDENTIAL, "PC1020", "PC1021", "PC3048", "PC6005"),
        openapi_extra=_BEARER,
    )
    async def show_review(request: Request, id: EventId) -> ReviewDetail:  # noqa: A002 - API
        """A call with what is left of it; that it is read is recorded before."""
        return ReviewDetail.of(*await reviewing.show(request.state.context, id))

    @router.post(
        f"{_ONE}/close",
        responses=refusals(*CREDENTIAL, *BODY, "PC3046", "PC3048", "PC3049", "PC3050", "PC6005"),
        openapi_extra=_BEARER,
    )
    async def close(
        request: Request,
        id: EventId,  # noqa: A002 - the API's name
        body: ClosingRequest,
    ) -> ReviewView:
        """Say what the call was."""
        disposition = Disposition(body.disposition)
        context = request.state.context
        return ReviewView.of(await reviewing.close(context, id, disposition, body.reason))

    @router.post(
        f"{_ONE}/reopen",
        responses=refusals(*CREDENTIAL, *BODY, "PC3048", "PC3049", "PC3050"),
        openapi_extra=_BEARER,
    )
    async def reopen(
        request: Request,
        id: EventId,  # noqa: A002 - the API's name
        body: ReopeningRequest,
    ) -> ReviewView:
        """Look at the call again."""
        return ReviewView.of(await reviewing.reopen(request.state.context, id, body.reason))

    return router

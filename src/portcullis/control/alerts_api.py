"""The control plane's API: alerts and silences."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

from portcullis.control.alerts import LONGEST_SECONDS, PAGE, Alerting
from portcullis.control.edge import Edge
from portcullis.control.privacy_api import Reason
from portcullis.control.shapes import BODY, CREDENTIAL, Shape, refusals
from portcullis.core.alert import UNRESOLVED, Alert, Level, Silence, State, Verb, Wanted
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_PATH: Final = "/api/v1/alerts"
_ONE: Final = f"{_PATH}/{{id}}"
_SILENCES: Final = "/api/v1/silences"
_ID: Final = r"^[0-9a-zA-Z-]{1,64}$"
RULE: Final = r"^[a-z0-9*?-]{1,63}$"
"""A rule's name, or a glob of names."""

StateName = Literal["open", "acknowledged", "resolved"]
LevelName = Literal["informational", "low", "medium", "high", "critical"]
Id = Annotated[str, Path(pattern=_ID)]
Cursor = Annotated[str, Query(pattern=r"^[0-9a-zA-Z-]{0,64}$")]
OneRule = Annotated[str, Query(pattern=r"^[a-z0-9-]{0,63}$")]
Limit = Annotated[int, Query(ge=1, le=PAGE)]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,63}$")]
FieldValue = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,256}$")]


class AlertView(Shape):
    """An alert. Times are seconds since the epoch, 0 for never.

    ``group`` says whom or what it is about; of its members those in ``hidden`` may be a caller's
    text, and no channel is told them. ``events`` are the ids of the latest of the ``count`` events
    behind it. ``silence`` is the id of what keeps it quiet; ``escalated`` is how often others were
    told because nobody took it on. One that is resolved `by` nobody was ended by its rule.
    """

    id: str
    rule: str
    title: str
    level: LevelName
    state: StateName
    group: dict[str, str]
    hidden: list[str]
    count: int
    events: list[str]
    opened_at: float
    first_at: float
    last_at: float
    by: str
    reason: str
    settled_at: float
    silence: str
    escalated: int
    advice: str
    playbook: str
    threat: str

    @classmethod
    def of(cls, one: Alert) -> AlertView:
        """The view of an alert."""
        words = one.words
        return cls(
            id=one.id,
            rule=one.rule,
            title=words.title,
            level=one.level.value,
            state=one.state.value,
            group=one.group,
            hidden=list(one.hidden),
            count=one.count,
            events=list(one.events),
            opened_at=one.opened_at,
            first_at=one.first_at,
            last_at=one.last_at,
            by=one.by,
            reason=one.reason,
            settled_at=one.settled_at,
            silence=one.silence,
            escalated=one.escalated,
            advice=words.advice,
            playbook=words.playbook,
            threat=words.threat,
        )


class AlertList(Shape):
    """Alerts, the newest first; `following` is the next page's cursor, empty at the end."""

    alerts: list[AlertView]
    following: str

    @classmethod
    def of(cls, found: tuple[Alert, ...], limit: int) -> AlertList:
        """The view of a page."""
        following = found[-1].id if len(found) == limit else ""
        return cls(alerts=[AlertView.of(one) for one in found], following=following)


class SettlingRequest(Shape):
    """Why."""

    reason: Reason


class SilenceRequest(Shape):
    """A rule or a glob of rules, whom or what about, for how long, and why."""

    rule: Annotated[str, Field(pattern=RULE)]
    matching: Annotated[dict[FieldName, FieldValue], Field(max_length=8)]
    seconds: Annotated[int, Field(ge=1, le=LONGEST_SECONDS)]
    reason: Reason


class SilenceView(Shape):
    """A silence. Times are seconds since the epoch."""

    id: str
    rule: str
    matching: dict[str, str]
    made_at: float
    until: float
    by: str
    reason: str

    @classmethod
    def of(cls, one: Silence) -> SilenceView:
        """The view of a silence."""
        return cls(**{name: getattr(one, name) for name in cls.model_fields})


class SilenceList(Shape):
    """The silences in force, by when they end."""

    silences: list[SilenceView]


class Unsilenced(Shape):
    """A silence that was ended."""

    id: str
    state: Literal["ended"] = "ended"


def _states(asked: str | None) -> tuple[State, ...]:
    if asked is None:
        return tuple(State)
    return UNRESOLVED if asked == "unresolved" else (State(asked),)


def routers(edge: Edge, alerting: Alerting) -> tuple[APIRouter, ...]:
    """The routes for viewers, for responders, and for administrators."""
    return _viewers(edge, alerting), _responders(edge, alerting), _admins(edge, alerting)


def _viewers(edge: Edge, alerting: Alerting) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @router.get(_PATH, responses=refusals(*CREDENTIAL, "PC1020", "PC1021"), openapi_extra=_BEARER)
    async def list_alerts(
        state: StateName | Literal["unresolved"] | None = None,
        level: LevelName | None = None,
        rule: OneRule = "",
        cursor: Cursor = "",
        limit: Limit = PAGE,
    ) -> AlertList:
        """Alerts, the newest first; of `level` and higher, `unresolved` or in one state."""
        wanted = Wanted(
            states=_states(state),
            level=None if level is None else Level(level),
            rule=rule,
        )
        return AlertList.of(await alerting.list(wanted, cursor, limit), limit)

    @router.get(_ONE, responses=refusals(*CREDENTIAL, "PC1020", "PC8020"), openapi_extra=_BEARER)
    async def show_alert(id: Id) -> AlertView:  # noqa: A002 - the API's name
        """One alert."""
        return AlertView.of(await alerting.show(id))

    @router.get(_SILENCES, responses=refusals(*CREDENTIAL), openapi_extra=_BEARER)
    async def list_silences() -> SilenceList:
        """The silences in force."""
        return SilenceList(silences=[SilenceView.of(one) for one in await alerting.silences()])

    return router


def _responders(edge: Edge, alerting: Alerting) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.ALERTS_SETTLE))
    refused = refusals(*CREDENTIAL, *BODY, "PC8020", "PC8021")

    @router.post(f"{_ONE}/acknowledge", responses=refused, openapi_extra=_BEARER)
    async def acknowledge_alert(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        body: SettlingRequest,
    ) -> AlertView:
        """Say that somebody looks after it."""
        context = request.state.context
        return AlertView.of(await alerting.settle(context, id, Verb.ACKNOWLEDGE, body.reason))

    @router.post(f"{_ONE}/resolve", responses=refused, openapi_extra=_BEARER)
    async def resolve_alert(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        body: SettlingRequest,
    ) -> AlertView:
        """Say that what it is about is over."""
        context = request.state.context
        return AlertView.of(await alerting.settle(context, id, Verb.RESOLVE, body.reason))

    return router


def _admins(edge: Edge, alerting: Alerting) -> APIRouter:
    router = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.ALERTS_SILENCE))

    @router.post(_SILENCES, responses=refusals(*CREDENTIAL, *BODY, "PC8022"), openapi_extra=_BEARER)
    async def silence_alerts(request: Request, body: SilenceRequest) -> SilenceView:
        """Have nobody told of some alerts for a while; they are raised and listed all the same."""
        made = await alerting.silence(
            request.state.context, body.rule, body.matching, body.seconds, body.reason
        )
        return SilenceView.of(made)

    @router.post(
        f"{_SILENCES}/{{id}}/end",
        responses=refusals(*CREDENTIAL, *BODY, "PC8023"),
        openapi_extra=_BEARER,
    )
    async def end_silence(
        request: Request,
        id: Id,  # noqa: A002 - the API's name
        body: SettlingRequest,
    ) -> Unsilenced:
        """End a silence before its time."""
        await alerting.unsilence(request.state.context, id, body.reason)
        return Unsilenced(id=id)

    return router

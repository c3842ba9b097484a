"""The kill switch on the control plane: ``/api/v1/kills``."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Request
from pydantic import Field, model_validator

from portcullis.control.edge import Edge, source_of, trace_id_of
from portcullis.control.kills import Killed, Kills, Undone
from portcullis.control.shapes import BODY, CREDENTIAL, Shape, refusals
from portcullis.core.errors import Problem
from portcullis.core.feed import Kept, KillScope
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right
from portcullis.identity.orders import SignedOrder

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_TEXT: Final = r"^[^\x00-\x1f\x7f]{1,200}$"
Reason = Annotated[str, Field(pattern=_TEXT)]
Value = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Playbook = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Encoded = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{1,4096}={0,2}$")]


class KillTarget(Shape):
    """Whom: ``value`` names the agent, session or role; there is none for ``all``."""

    scope: KillScope
    value: Value | None = None

    @model_validator(mode="after")
    def _named(self) -> KillTarget:
        if (self.scope == "all") != (self.value is None):
            msg = "value names an agent, a session or a role, and nothing for all"
            raise ValueError(msg)
        return self


class KillRequest(KillTarget):
    """Kill it, for a reason that it hears and that stands in the log.

    ``incident`` is the playbook of the incident to open about an agent or a session, which takes
    the right to lead incidents besides.
    """

    reason: Reason | None = None
    incident: Playbook | None = None

    @model_validator(mode="after")
    def _followed(self) -> KillRequest:
        if self.incident is not None and self.scope not in {"agent", "session"}:
            msg = "an incident is about an agent or a session"
            raise ValueError(msg)
        return self


class UndoRequest(KillTarget):
    """Take a kill back, for a reason that stands in the log."""

    reason: Reason


class OrderRequest(Shape):
    """A signed order: its JSON and its Ed25519 signature, both in base64."""

    order: Encoded
    signature: Encoded


class GatewayView(Shape):
    """What a gateway made of it.

    ``acknowledged_ms`` is after how many milliseconds it was known to act, None when it did not
    say so: then it refuses everything within ``closed_within_s`` seconds. ``own_ms`` is what it
    took by itself to end ``runs`` calls and ``connections``.
    """

    gateway: str
    acknowledged_ms: float | None
    runs: int
    connections: int
    own_ms: float
    closed_within_s: float


class FaultView(Shape):
    """What did not work about it; it acts all the same."""

    code: str
    detail: str


class KilledView(Shape):
    """A kill that acts. ``cancelled`` approvals of its were taken away.

    ``incident`` is the id of the one that is open about it now, if one was asked for.
    """

    kind: Literal["killed"] = "killed"
    scope: str
    value: str
    reason: str
    gateways: list[GatewayView]
    cancelled: int
    recorded: bool
    durable: bool
    faults: list[FaultView]
    incident: str = ""


class UndoneView(Shape):
    """A kill that was taken back."""

    kind: Literal["undone"] = "undone"
    scope: str
    value: str
    gateways: list[GatewayView]


class KillView(Shape):
    """A kill in force. Not ``durable``: a restart would forget it. ``made_at`` is 0 then."""

    scope: str
    value: str
    reason: str
    by: str
    made_at: float
    durable: bool


class KillList(Shape):
    """The kills in force."""

    kills: list[KillView]


def routers(edge: Edge, kills: Kills) -> tuple[APIRouter, ...]:
    """The routes: for viewers, responders and administrators, and the one for signed orders."""
    readers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))
    cutters = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.KILL))
    writers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.KILL_LIFT))
    signed = APIRouter(route_class=edge.door())

    @readers.get("/api/v1/kills", responses=refusals(*CREDENTIAL, "PC1021"), openapi_extra=_BEARER)
    async def list_kills() -> KillList:
        """Who is killed, the newest first."""
        return KillList(kills=[kill_view(one) for one in await kills.standing()])

    @cutters.post(
        "/api/v1/kills", responses=refusals(*CREDENTIAL, *BODY, "PC2010"), openapi_extra=_BEARER
    )
    async def kill(request: Request, body: KillRequest) -> KilledView:
        """Cut off at once, at every gateway: requests, streams, approvals, credentials."""
        context = request.state.context
        whom, why, playbook = body.value or "", body.reason or "", body.incident or ""
        if playbook:
            edge.need(context, Right.INCIDENTS_LEAD)
        done = await kills.kill(context, body.scope, whom, why, playbook)
        return killed_view(done)

    @writers.post(
        "/api/v1/kills/undo",
        responses=refusals(*CREDENTIAL, *BODY, "PC4004", "PC7063"),
        openapi_extra=_BEARER,
    )
    async def undo_kill(request: Request, body: UndoRequest) -> UndoneView:
        """Take a kill back."""
        context = request.state.context
        return undone_view(await kills.undo(context, body.scope, body.value or "", body.reason))

    @signed.post(
        "/api/v1/kills/order",
        responses=refusals(*BODY, "PC4003", "PC4004"),
        openapi_extra={"security": []},
    )
    async def obey_order(request: Request, body: OrderRequest) -> KilledView | UndoneView:
        """Obey a signed order to kill everybody, or to take that back. Its signature lets it in."""
        order = SignedOrder(_bytes(body.order), _bytes(body.signature))
        done = await kills.obey(order, source_of(request), trace_id_of(request))
        return obeyed(done)

    return readers, cutters, writers, signed


def kill_view(one: Kept) -> KillView:
    """The view of a kill in force."""
    return KillView(
        scope=one.scope,
        value=one.value,
        reason=one.reason,
        by=one.by,
        made_at=one.made_at,
        durable=one.durable,
    )


def obeyed(done: Killed | Undone) -> KilledView | UndoneView:
    """The view of what an order did."""
    return killed_view(done) if isinstance(done, Killed) else undone_view(done)


def killed_view(done: Killed) -> KilledView:
    """The view of a kill."""
    return KilledView(
        scope=done.scope,
        value=done.value,
        reason=done.reason,
        gateways=_gateways(done),
        cancelled=done.cancelled,
        recorded=done.recorded,
        durable=done.durable,
        faults=[FaultView(**msgspec.structs.asdict(one)) for one in done.faults],
        incident=done.incident,
    )


def undone_view(done: Undone) -> UndoneView:
    """The view of a kill that was taken back."""
    return UndoneView(scope=done.scope, value=done.value, gateways=_gateways(done))


def _gateways(done: Killed | Undone) -> list[GatewayView]:
    return [
        GatewayView(
            gateway=one.gateway,
            acknowledged_ms=one.acknowledged,
            runs=one.runs,
            connections=one.connections,
            own_ms=one.own,
            closed_within_s=one.within,
        )
        for one in done.gateways
    ]


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Problem("PC1020", "body: not base64") from None

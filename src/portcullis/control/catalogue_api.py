"""The control plane's API: the catalogue of tools."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from portcullis.config import NAME
from portcullis.control.catalogue import Catalogue, StandingName, ToolRecord
from portcullis.control.edge import Edge
from portcullis.control.shapes import BODY, CREDENTIAL, refusals
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
ServerName = Annotated[str, Field(pattern=NAME)]
AnyToolName = Annotated[str, Field(min_length=1, max_length=128)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PinRequest(_Shape):
    """Which tool is approved; ``digest`` is that of the definition which was looked at."""

    server: ServerName
    tool: AnyToolName
    digest: Digest


class SightingView(_Shape):
    """What a server says of a tool in place of what is pinned, since ``seen_at``."""

    digest: str
    seen_at: float
    reasons: list[str]


class ToolView(_Shape):
    """A tool. Only a pinned one is shown to agents and called; ``digest`` is that of its pin.

    ``approved_by`` is empty for a tool that was pinned when it was first seen. Times are seconds
    since the epoch.
    """

    server: str
    tool: str
    state: StandingName
    digest: str
    pinned_at: float | None
    approved_by: str
    seen: SightingView | None

    @classmethod
    def of(cls, record: ToolRecord) -> ToolView:
        """The view of a tool."""
        return cls(**_fields(record))


class DefinitionView(ToolView):
    """A tool with its definitions, JSON as its server wrote it: nothing of it is to be trusted."""

    pinned_definition: str
    seen_definition: str

    @classmethod
    def of(cls, record: ToolRecord) -> DefinitionView:
        """The view of a tool with its definitions."""
        return cls(
            **_fields(record),
            pinned_definition=record.pin.definition if record.pin else "",
            seen_definition=record.seen.definition if record.seen else "",
        )


class ToolList(_Shape):
    """All tools, by server and name."""

    tools: list[ToolView]


def routers(edge: Edge, catalogue: Catalogue) -> tuple[APIRouter, APIRouter]:
    """The routes of the control plane: for viewers, and for administrators."""
    readers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))
    writers = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.CATALOGUE_PIN))

    @readers.get(
        "/api/v1/catalogue", responses=refusals(*CREDENTIAL, "PC1021"), openapi_extra=_BEARER
    )
    async def list_tools() -> ToolList:
        """The tools that were ever seen."""
        return ToolList(tools=[ToolView.of(tool) for tool in await catalogue.tools()])

    @readers.get(
        "/api/v1/catalogue/tool",
        responses=refusals(*CREDENTIAL, "PC1020", "PC1021", "PC7017"),
        openapi_extra=_BEARER,
    )
    async def show_tool(
        server: Annotated[ServerName, Query()], tool: Annotated[AnyToolName, Query()]
    ) -> DefinitionView:
        """One tool, with its definitions."""
        return DefinitionView.of(await catalogue.tool(server, tool))

    @writers.post(
        "/api/v1/catalogue/pin",
        responses=refusals(*CREDENTIAL, *BODY, "PC7016", "PC7017"),
        openapi_extra=_BEARER,
    )
    async def pin_tool(request: Request, body: PinRequest) -> ToolView:
        """Approve a tool exactly as it was shown."""
        context = request.state.context
        return ToolView.of(await catalogue.pin(context, body.server, body.tool, body.digest))

    return readers, writers


def _fields(record: ToolRecord) -> dict[str, Any]:
    pin, seen = record.pin, record.seen
    return {
        "server": record.server,
        "tool": record.tool,
        "state": record.state,
        "digest": pin.digest if pin else "",
        "pinned_at": pin.pinned_at if pin else None,
        "approved_by": pin.approved_by if pin else "",
        "seen": seen
        and SightingView(digest=seen.digest, seen_at=seen.seen_at, reasons=list(seen.reasons)),
    }

"""The control plane's API: what happens now, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from portcullis.control.console.streams import Streams
from portcullis.control.edge import Edge
from portcullis.control.live import Feed
from portcullis.control.shapes import CREDENTIAL, refusals
from portcullis.core.desk import LiveFilter
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right
from portcullis.wire.json import encode

_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events: each has the data of one LiveEvent, as JSON.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
_Kind = Literal["approval", "decision", "result", "principal", "session", "admin"]
_Text = Annotated[str, Query(max_length=256)]


def router(edge: Edge, feed: Feed, streams: Streams) -> APIRouter:
    """The route of those who watch; ``streams`` ends a stream with the credential behind it."""
    made = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, Right.LOOK))

    @made.get(
        "/api/v1/live",
        responses=_STREAM | refusals(*CREDENTIAL, "PC1020", "PC1021", "PC3052"),
        openapi_extra=_BEARER,
        response_class=StreamingResponse,
    )
    async def live(
        request: Request,
        kind: _Kind | None = None,
        agent: _Text = "",
        session: _Text = "",
        verdict: _Text = "",
        risk: _Text = "",
    ) -> Response:
        """What is on record from now on, without content; a comment every 15 s otherwise.

        An event of the kind `resync` stands in place of those that a slow reader missed: look
        again at what there is.
        """
        wanted = LiveFilter(
            kinds=() if kind is None else (kind,),
            agent=agent,
            session=session,
            verdict=verdict,
            risk=risk,
        )
        principal = request.state.context.principal
        pieces = _events(feed, wanted, principal.id)
        await anext(pieces)  # that too many watch already is an answer of its own
        guarded = streams.guarded(principal, pieces)
        return StreamingResponse(guarded, media_type="text/event-stream")

    return made


async def _events(feed: Feed, wanted: LiveFilter, operator: str) -> AsyncIterator[bytes]:
    """The stream; its first piece only says that there is a subscription."""
    async with feed.subscribe(wanted, operator) as events:
        yield b""
        yield b": watching\n\n"
        async for event in events:
            yield b"data: " + encode(event) + b"\n\n"

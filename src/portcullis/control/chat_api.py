"""The one route of the control plane that a chat may reach: a button was pressed."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from portcullis.control.chat import Chat
from portcullis.control.edge import Edge

PATH = "/hooks/slack/{name}"


def router(edge: Edge, chat: Chat) -> APIRouter:
    """The route. It is not in the API's description: its shape is the chat's own."""
    made = APIRouter(route_class=edge.door())

    @made.post(PATH, include_in_schema=False)
    async def press(request: Request, name: str) -> Response:
        """Decide as whoever pressed it; the message is amended when that is done."""
        headers = request.headers
        timestamp = headers.get("x-slack-request-timestamp", "")
        signature = headers.get("x-slack-signature", "")
        host = request.client.host if request.client else "unix"
        pressed = await chat.pressed(name, timestamp, signature, await request.body(), host)
        context = edge.admit_as(request, await chat.operator(name, pressed))
        await chat.decide(context, name, pressed)
        return Response()

    return made

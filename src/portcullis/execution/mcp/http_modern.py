"""MCP over streamable HTTP since revision 2026-07-28: stateless, each request for itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from portcullis.core.errors import Problem
from portcullis.core.ports import Incoming
from portcullis.execution.mcp.http import McpEndpoint, is_json, is_success, refused


class ModernHttpChannel:
    """A ``Channel`` without state: it may be shared, and closing it does nothing.

    Leaving a request's iterator closes its response, which is the revision's way to cancel.
    The revision has no stream outside a request, so ``listen`` ends at once.
    """

    alive = True

    def __init__(self, endpoint: McpEndpoint) -> None:
        self._endpoint = endpoint

    async def request(
        self, message: dict[str, Any], headers: Mapping[str, str]
    ) -> AsyncGenerator[Incoming, None]:
        """Send a request and yield what belongs to it, the response last."""
        response = await self._endpoint.post(message, headers)
        if is_json(response):  # nearly all are: one message, and nothing to close
            yield await self._endpoint.whole(response, message["id"])
            return
        answer = self._endpoint.answer(response, message["id"], self._endpoint.parser())
        async with aclosing(answer) as incoming:
            async for one in incoming:
                yield one

    async def notify(self, message: dict[str, Any], headers: Mapping[str, str]) -> None:
        """Send a notification; Problem PC5003 or PC5007 when the server refuses it."""
        response = await self._endpoint.post(message, headers)
        try:
            if not is_success(response.status):
                raise refused(response.status)
            await response.read()
        finally:
            response.close()

    async def listen(self, last_event_id: str | None) -> AsyncGenerator[Incoming, None]:
        """End at once."""
        if last_event_id is not None:
            raise Problem("PC1009", "this revision of MCP resumes no stream")
        nothing: tuple[Incoming, ...] = ()
        for message in nothing:
            yield message

    async def close(self, *, at_once: bool = False) -> None:
        """Do nothing: there is nothing that lasts."""
        del at_once

"""What a server sends before, or without, an answer: judged piece by piece, and passed on."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any, Final

from portcullis.core.call import Call, Context
from portcullis.core.errors import Problem
from portcullis.core.ports import Incoming
from portcullis.core.verdict import Deny, Finding
from portcullis.gateway.mcp import Emit, Mcp, leaving, make_call, summary
from portcullis.gateway.mcp_conversation import Conversation
from portcullis.gateway.records import new_id
from portcullis.gateway.streamed import Streamed
from portcullis.wire.jsonrpc import (
    Failure,
    Message,
    Notification,
    Request,
    Response,
    error_message,
    notification_message,
    parse,
    request_message,
)
from portcullis.wire.mcp import (
    SERVER_NOTIFICATIONS,
    SERVER_REQUESTS,
    Asked,
    Era,
    interpret,
    without_nulls,
)

MAX_REQUESTS: Final = 1024
"""Most requests of a server's within one stream; more are a flood, which ends the stream."""

MAX_FINDINGS: Final = 64
"""From here on, what notifications hold is only counted."""


class Stream(ABC):
    """Messages from a server to one client, for as long as one request or listening lasts.

    Without ``emit`` nothing can reach the client yet: notifications are dropped and the
    server's requests refused.
    """

    def __init__(
        self, mcp: Mcp, conversation: Conversation, context: Context, emit: Emit | None
    ) -> None:
        self._mcp = mcp
        self._conversation = conversation
        self._context = context
        self._emit = emit
        self._call: Call | None = None
        self._task: asyncio.Task[Any] | None = None
        self._dropped = False
        self._asked = 0
        self._streamed: Streamed | None = None
        self.reason: Problem | None = None
        self.waited = 0.0
        self.chunks = 0
        self.findings: list[Finding] = []

    def stop(self, problem: Problem) -> None:
        """End the stream for this reason: upstream is cancelled, the owed event written."""
        if self.reason is None:
            self.reason = problem
            if self._task is not None:
                self._task.cancel(problem)

    @property
    def call(self) -> Call | None:
        """What was decided on, once it was."""
        return self._call

    def _during(self) -> tuple[Call, ...]:
        """The calls during which a request of the server's on this stream may have been made."""
        return () if self._call is None else (self._call,)

    def overdue(self) -> Problem | None:
        """Why the stream may not go on: containment, or the session's end. Asked for each piece.

        A call that was admitted may outlive its credential; what it came under is renewed
        meanwhile.
        """
        if self._call is None:
            return None
        denied = self._mcp.pipeline.chunk(self._call, self._context)
        if denied is not None:
            return Problem(denied.code, denied.reason)
        return self._mcp.over(self._context)

    async def _enter(self) -> None:
        """Note the task that ``stop`` cancels; a stop that came first takes effect now."""
        self._task = asyncio.current_task()
        if self.reason is not None:
            raise self.reason

    def _leave(self) -> None:
        """A stop that comes now ends nothing any more: the task goes on to answer."""
        self._task = None

    def _stopped(self) -> bool:
        """Whether the cancellation at hand is our own ``stop`` and nobody else's."""
        return self.reason is not None and self._task is not None and self._task.uncancel() == 0

    async def _forward(self, incoming: AsyncIterator[Incoming]) -> Response | Failure | None:
        """Pass on what comes until ``_answers`` takes a message; None when it ended first."""
        began = perf_counter()
        async with leaving(incoming):
            async for item in incoming:
                self.waited = self.waited or perf_counter() - began
                message = self._read(item)
                if isinstance(message, Notification):
                    await self._notification(message, item.event_id or "")
                elif isinstance(message, Request):
                    await self._server_request(message, item.event_id or "")
                elif self._answers(message):
                    return message
        return None

    @abstractmethod
    def _answers(self, message: Response | Failure) -> bool:
        """Whether this answer is the one that ends the stream; others raise or are dropped."""

    def _restore(self, message: Notification, params: dict[str, Any]) -> dict[str, Any] | None:
        """The parameters as the client knows them (its ids and tokens), None to drop it."""
        conversation = self._conversation
        if message.method == "notifications/cancelled":
            shown = conversation.drop(params["requestId"])
            return None if shown is None else params | {"requestId": shown}
        if message.method == "notifications/progress":
            exchange = conversation.by_upstream.get(str(params["progressToken"]))
            token = exchange.progress_token if exchange else None
            return None if token is None else params | {"progressToken": token}
        return params

    @staticmethod
    def _read(item: Incoming) -> Message:
        try:
            return parse(item.message)
        except Problem as problem:
            raise Problem("PC5003", problem.detail) from None

    async def _notification(self, message: Notification, event_id: str) -> None:
        params = without_nulls(message.params)
        era = self._conversation.era
        try:
            asked = interpret(SERVER_NOTIFICATIONS[era], message.method, params)
        except Problem as problem:
            self._drop(f"a notification was dropped: {problem.detail}")
            return
        if message.method == "notifications/tools/list_changed":
            self._mcp.inventory.forget(self._conversation.server)
        restored = self._restore(message, params)
        if restored is None:
            self._drop("a notification about nothing of this client's was dropped")
            return
        passed: dict[str, Any] | None = restored
        if self._emit is not None:
            passed = await self._inspected(message.method, asked, restored, self._of(params))
        if passed is not None:
            shown = notification_message(message.method, passed)
            await self._send(shown, event_id)
            if self._streamed is not None and self._emit is not None:
                self._streamed.message(shown)

    def _of(self, params: dict[str, Any]) -> tuple[Call, ...]:
        """The call that a progress is of, as the server calls it; () for what may be of any."""
        exchange = self._conversation.by_upstream.get(str(params.get("progressToken")))
        call = None if exchange is None else exchange.call
        return () if call is None else (call,)

    async def _inspected(
        self, method: str, asked: Asked, params: dict[str, Any], within: tuple[Call, ...]
    ) -> dict[str, Any] | None:
        """What may go on of a notification; what was found is for the record of the stream."""
        conversation = self._conversation
        call = make_call(
            conversation.route, conversation.server, method, asked, params, within=within
        )
        judged = await self._mcp.pipeline.notice(call, self._context, summary(params))
        if len(self.findings) < MAX_FINDINGS:
            self.findings += judged.findings
        elif judged.findings and self._streamed is not None:
            self._streamed.spoil()  # they may have gone on as they were
        if isinstance(judged, Deny):
            self._drop(judged.reason, judged.code)
            return None
        passed: dict[str, Any] = judged.payload
        return passed

    async def _server_request(self, message: Request, event_id: str) -> None:
        """Show the client a request of the server's, or refuse it in the client's place."""
        conversation = self._conversation
        if conversation.era is Era.MODERN:
            raise Problem("PC5003", "servers of the modern era send no requests")
        self._asked += 1
        if self._asked > MAX_REQUESTS:
            raise Problem("PC5003", "the server floods its client with requests")
        try:
            params = without_nulls(message.params)
            asked = interpret(SERVER_REQUESTS, message.method, params)
            if self._emit is None or not conversation.has_room():
                raise Problem("PC5025", "the client cannot take a request of the server's now")
            shown = new_id()
            payload = request_message(shown, message.method, params)
            call = make_call(
                conversation.route,
                conversation.server,
                message.method,
                asked,
                payload,
                shown,
                within=self._during(),
            )
            outcome = await self._mcp.decide(call, self._context)
        except Problem as problem:
            self._mcp.refuse(
                problem, self._context, conversation.route, conversation.server, "server request"
            )
            await conversation.tell_server(error_message(message.id, problem))
            return
        conversation.wait_for(message.id, outcome, self._context)
        await self._send(outcome.call.payload, event_id)

    async def _send(self, message: dict[str, Any], event_id: str) -> None:
        problem = self.overdue()
        if problem is not None:
            raise problem
        self.chunks += 1
        if self._emit is not None:
            await self._emit(message, event_id)

    def _drop(self, detail: str, code: str = "PC5010") -> None:
        """Record, once per stream, that something was not passed on."""
        if not self._dropped:
            self._dropped = True
            conversation = self._conversation
            self._mcp.refuse(
                Problem(code, detail),
                self._context,
                conversation.route,
                conversation.server,
                "server notification",
            )

"""One MCP conversation: a channel to one server for one caller, and what is open on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from portcullis.core.behalf import Behalf
from portcullis.core.call import Call, Context, Route
from portcullis.core.errors import Problem
from portcullis.core.ports import Channel
from portcullis.core.principal import Session
from portcullis.gateway.live import cuttable
from portcullis.gateway.mcp import Mcp, make_call, summary
from portcullis.gateway.outcome import Outcome, Recorded
from portcullis.wire.jsonrpc import (
    Failure,
    Notification,
    RequestId,
    Response,
    error_message,
    failure_message,
    notification_message,
    result_message,
)
from portcullis.wire.mcp import CLIENT_NOTIFICATIONS, Era, interpret, without_nulls

if TYPE_CHECKING:
    from portcullis.gateway.mcp_exchange import Exchange
    from portcullis.gateway.mcp_stream import Stream

log = structlog.get_logger(__name__)

MAX_ASKED: Final = 64
"""Most requests of a server's that may wait for one client at once."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A server's request that the client was shown: under which id the server waits for it."""

    server_id: RequestId
    outcome: Outcome
    context: Context


class Conversation:
    """``owner`` is who began it, ``session`` in what; ``version`` what it settled on (legacy).

    ``key`` keeps it apart from all others; in the legacy era over HTTP it is the unguessable
    ``Mcp-Session-Id``. The channel is opened when it is first needed.
    """

    def __init__(
        self,
        mcp: Mcp,
        server: str,
        key: str,
        owner: tuple[str, ...],
        era: Era,
        route: Route,
        session: Session | None = None,
    ) -> None:
        self._mcp = mcp
        self.server = server
        self.key = key
        self.owner = owner
        self.session = session
        self.era = era
        self.route = route
        self.version = ""
        self.lost = False
        self.busy = 0
        self.used_at = mcp.clock.monotonic()
        self.by_client: dict[RequestId, Exchange] = {}
        self.by_upstream: dict[str, Exchange] = {}
        self.listening: Stream | None = None
        self.listing = asyncio.Lock()
        self._waiting: dict[str, Waiting] = {}
        self._opening = asyncio.Lock()
        self._channel: Channel | None = None
        self._closed = False

    @contextmanager
    def use(self) -> Iterator[None]:
        """Hold the conversation open: it is not idle while something uses it."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
            self.used_at = self._mcp.clock.monotonic()

    async def channel(self) -> Channel:
        """The channel, opened on first use; Problem PC1035 after ``close``."""
        async with self._opening:
            if self._closed:
                raise Problem("PC1035", "the conversation has ended")
            if self._channel is None:
                self._channel = await self._mcp.channels.open(
                    self.server,
                    self.key,
                    legacy=self.era is Era.LEGACY,
                    behalf=Behalf.within(self.owner[0], self.owner[1], self.session),
                )
            return self._channel

    @property
    def over(self) -> bool:
        """Whether the server's side of it has ended, so that nothing more will come of it."""
        return self.lost or (self._channel is not None and not self._channel.alive)

    def open_calls(self) -> tuple[Call, ...]:
        """The calls that were decided and have no answer yet."""
        calls = (exchange.call for exchange in self.by_upstream.values())
        return tuple(call for call in calls if call is not None)

    def headers(self) -> dict[str, str]:
        """The headers of messages that are not modern requests."""
        return {"mcp-protocol-version": self.version} if self.version else {}

    async def tell_server(self, message: dict[str, Any]) -> None:
        """Send the server a notification, or the answer to a request of its own."""
        channel = await self.channel()
        await channel.notify(message, self.headers())

    def wait_for(self, server_id: RequestId, outcome: Outcome, context: Context) -> None:
        """Expect one answer of the client's to the request that went out as ``outcome.event``.

        A server that asks again under the same id (a replayed stream) waits for the newer one.
        """
        self.drop(server_id)
        self._waiting[outcome.call.id] = Waiting(server_id, outcome, context)

    def has_room(self) -> bool:
        """Whether one more request of the server's may wait."""
        return len(self._waiting) < MAX_ASKED

    def drop(self, server_id: RequestId) -> str | None:
        """Stop waiting for the answer to a server's request; returns the client's id of it."""
        for shown, waiting in self._waiting.items():
            if waiting.server_id == server_id:
                del self._waiting[shown]
                self._fail(waiting, "the server withdrew its request")
                return shown
        return None

    async def answered(self, message: Response | Failure, context: Context) -> None:
        """Judge the client's answer to a server's request and pass it on, once.

        Raises Problem PC1036 when nothing waits for it, Recorded when it is withheld: then the
        server gets the refusal instead.
        """
        waiting = self._waiting.pop(str(message.id), None) if type(message.id) is str else None
        if waiting is None:
            raise Problem("PC1036", "no request of the server's is waiting for this answer")
        good = isinstance(message, Response)
        payload = message.result if isinstance(message, Response) else message.error
        try:
            judged = await self._mcp.conclude(
                waiting.outcome, context, summary(payload, is_error=not good)
            )
        except Recorded as problem:
            await self.tell_server(error_message(waiting.server_id, problem))
            raise
        make = result_message if good else failure_message
        await self.tell_server(make(waiting.server_id, judged.payload))

    async def told(self, message: Notification, context: Context) -> None:
        """Judge a client's notification and pass it on; a cancellation is carried out here.

        A progress is dropped that is of no request of the server's that waits.
        Leaving an exchange cancels it upstream, under the id that the server knows.
        """
        params = without_nulls(message.params)
        asked = interpret(CLIENT_NOTIFICATIONS[self.era], message.method, params)
        if message.method == "notifications/cancelled":
            running = self.by_client.get(params["requestId"])
            if running is not None:
                running.stop(Problem("PC5014", "the client cancelled the request"))
            return
        if message.method == "notifications/progress" and not self._awaits(params["progressToken"]):
            return
        payload = notification_message(message.method, params)
        call = make_call(self.route, self.server, message.method, asked, payload)
        outcome = await self._mcp.decide(call, context)
        try:
            with cuttable():
                await self.tell_server(outcome.call.payload)
        except Problem as problem:
            self._mcp.pipeline.failed(outcome, context, problem)
            raise Recorded(problem.code, problem.detail) from None
        await self._mcp.conclude(outcome, context, summary({}))

    def _awaits(self, token: RequestId) -> bool:
        """Whether a request that the client was shown wants its progress under this token."""
        requests = (one.outcome.call.payload.get("params", {}) for one in self._waiting.values())
        metas = (params.get("_meta") for params in requests)
        tokens = (meta.get("progressToken") for meta in metas if isinstance(meta, dict))
        return any(type(one) is type(token) and one == token for one in tokens)

    async def close(self, *, at_once: bool = False) -> None:
        """Stop what runs, give up what waits, end the upstream session or process."""
        self._closed = True
        ended = Problem("PC5014", "the conversation was ended")
        for exchange in list(self.by_upstream.values()):
            exchange.stop(ended)
        if self.listening is not None:
            self.listening.stop(ended)
        for waiting in self._waiting.values():
            self._fail(waiting, "the conversation ended before the client answered")
        self._waiting.clear()
        async with self._opening:
            channel, self._channel = self._channel, None
        if channel is not None:
            try:
                await channel.close(at_once=at_once)
            except Problem as problem:
                log.warning("channel_close_failed", server=self.server, code=problem.code)

    def _fail(self, waiting: Waiting, detail: str) -> None:
        self._mcp.pipeline.failed(waiting.outcome, waiting.context, Problem("PC5014", detail))

"""What a legacy server sends outside any request: the GET stream, or standard output."""

from __future__ import annotations

import asyncio

from portcullis.core.call import Call, Context, Route
from portcullis.core.errors import Problem
from portcullis.gateway.mcp import GONE, Emit, Mcp, make_call, protocol, summary
from portcullis.gateway.mcp_conversation import Conversation
from portcullis.gateway.mcp_stream import Stream
from portcullis.gateway.outcome import Recorded
from portcullis.wire.jsonrpc import Failure, Response


class Listening(Stream):
    """One listening; a new one in the same conversation takes the place of the old one.

    Event ids are sealed for the conversation: ``last_event_id`` must be one that it was given.
    """

    def __init__(
        self,
        mcp: Mcp,
        conversation: Conversation,
        context: Context,
        *,
        emit: Emit,
        last_event_id: str | None = None,
    ) -> None:
        super().__init__(mcp, conversation, context, self._sealed(emit))
        self._after = last_event_id

    def overdue(self) -> Problem | None:
        """What ends any stream, and over HTTP the credential's end.

        A client listens for as long as it likes, and listens again with a new credential; over
        standard streams each message is vouched for anew.
        """
        problem = super().overdue()
        if problem is None and self._conversation.route is not Route.MCP_STDIO:
            return self._mcp.expired(self._context)
        return problem

    def _during(self) -> tuple[Call, ...]:
        """Which call it belongs to nobody says here: any that is open."""
        return self._conversation.open_calls() or super()._during()

    async def run(self) -> Problem | None:
        """Listen until the server or ``stop`` ends it; what ended it badly is returned.

        Every refusal and fault is recorded. Raises only if cancelled.
        """
        conversation = self._conversation
        try:
            with conversation.use():
                await self._enter()
                if conversation.listening is not None:
                    conversation.listening.stop(
                        Problem("PC5014", "the client listens on another stream now")
                    )
                conversation.listening = self
                await self._listen()
        except asyncio.CancelledError:
            if not self._stopped():
                raise
            return self.reason
        except Problem as problem:
            if problem.code == "PC5011":
                conversation.lost = True
            return self._mcp.refuse(
                problem, self._context, conversation.route, conversation.server, "GET"
            )
        finally:
            self._leave()
            if conversation.listening is self:
                conversation.listening = None
        return None

    async def _listen(self) -> None:
        conversation = self._conversation
        after = None
        if self._after is not None:
            after = self._mcp.seal.open(self._after, self._bound()).decode()
        call = make_call(conversation.route, conversation.server, "GET", protocol("listen"), {})
        outcome = await self._mcp.decide(call, self._context)
        self._call = outcome.call
        try:
            channel = await conversation.channel()
            await self._forward(channel.listen(after))
        except Problem as problem:
            self._mcp.pipeline.failed(outcome, self._context, problem)
            raise Recorded(problem.code, problem.detail) from None
        except BaseException:
            gone = self.reason or Problem("PC5014", GONE)
            self._mcp.pipeline.failed(outcome, self._context, gone)
            raise
        back = summary({}, finish="end", chunks=self.chunks)
        await self._mcp.conclude(outcome, self._context, back, self.findings)

    def _answers(self, message: Response | Failure) -> bool:  # noqa: ARG002 - none is taken
        """No answer belongs here: a request is over when its own stream is."""
        self._drop("an answer outside its request was dropped")
        return False

    def _sealed(self, emit: Emit) -> Emit:
        async def sealed(message: dict[str, object], event_id: str) -> None:
            token = self._mcp.seal.close(event_id.encode(), self._bound()) if event_id else ""
            await emit(message, token)

        return sealed

    def _bound(self) -> tuple[str, ...]:
        return ("event", self._conversation.server, self._conversation.key)

"""One request of a client's, from the decoded message to the message that answers it.

interpret -> routing headers -> tools known? -> the client's answers to earlier questions
-> the line -> forward -> read -> the line back -> the server's questions -> answer
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from portcullis.core.call import Action, Context, ToolSpec
from portcullis.core.containment import Look
from portcullis.core.errors import Problem
from portcullis.core.trace import UNTRACED
from portcullis.gateway import tracing
from portcullis.gateway.mcp import GONE, Emit, Mcp, make_call, summary
from portcullis.gateway.mcp_conversation import Conversation
from portcullis.gateway.mcp_rounds import Rounds
from portcullis.gateway.mcp_stream import Stream
from portcullis.gateway.mcp_tools import ensure_known
from portcullis.gateway.outcome import PENDING, Outcome, Recorded
from portcullis.gateway.records import new_id
from portcullis.wire import mcp_results as results
from portcullis.wire.jsonrpc import (
    Failure,
    Notification,
    Request,
    RequestId,
    Response,
    error_message,
    failure_message,
    request_message,
    result_message,
)
from portcullis.wire.mcp import (
    CLIENT_REQUESTS,
    LEGACY_VERSIONS,
    MODERN_VERSIONS,
    SUBSCRIPTION_KEY,
    Asked,
    Era,
    envelope_version,
    interpret,
    unsupported,
    without_nulls,
)
from portcullis.wire.mcp_headers import compute, verify, verify_parameters

log = structlog.get_logger(__name__)

_ON_ANY_REQUEST = frozenset(
    {"notifications/progress", "notifications/message", "notifications/cancelled"}
)
_TOOLS = Asked(action=Action.LIST, name="tools", arguments={})


class Exchange(Stream):
    """``headers`` are the request's MCP headers by lower-case name, None where there are none.

    ``tracked`` says that the client's ids are unique within the conversation, so that the client
    can cancel by id. ``looked_up_for`` is as in a Call.
    """

    def __init__(
        self,
        mcp: Mcp,
        conversation: Conversation,
        context: Context,
        request: Request,
        *,
        emit: Emit | None,
        headers: Mapping[str, str] | None = None,
        tracked: bool = True,
        looked_up_for: str = "",
    ) -> None:
        super().__init__(mcp, conversation, context, emit)
        self._request = request
        self._headers = headers
        self._tracked = tracked
        self._looked_up_for = looked_up_for
        self._id = new_id()
        self._version = conversation.version
        self.progress_token: RequestId | None = None

    async def run(self) -> dict[str, Any]:
        """The message that answers the request, whatever happens; raises only if cancelled.

        Every refusal and fault is recorded. After ``stop`` the answer is the reason.
        """
        conversation, request = self._conversation, self._request
        try:
            with conversation.use():
                await self._enter()
                if self._tracked and conversation.by_client.setdefault(request.id, self) != self:
                    raise Problem("PC1030", "a request with this id is still open")
                conversation.by_upstream[self._id] = self
                return await self._serve()
        except asyncio.CancelledError:
            if not self._stopped() or self.reason is None:
                raise
            if self._call is None:  # no decision yet that is owed a result
                return self._refused(self.reason)
            return error_message(request.id, self.reason)
        except Problem as problem:
            if problem.code == "PC5011":
                conversation.lost = True
            return self._refused(problem)
        except Exception:
            log.exception("mcp_request_failed", server=conversation.server)
            return self._refused(Problem("PC9002", "the request could not be handled"))
        finally:
            self._leave()
            conversation.by_upstream.pop(self._id, None)
            if conversation.by_client.get(request.id) is self:
                del conversation.by_client[request.id]

    def _refused(self, problem: Problem) -> dict[str, Any]:
        conversation, request = self._conversation, self._request
        answered = self._mcp.refuse(
            problem, self._context, conversation.route, conversation.server, request.method
        )
        if answered.code == PENDING and answered.approval and request.method == "tools/call":
            return result_message(request.id, results.waits(conversation.era, answered))
        return error_message(request.id, answered)

    async def _serve(self) -> dict[str, Any]:
        request, conversation = self._request, self._conversation
        params = without_nulls(request.params)
        if conversation.era is Era.MODERN:
            self._check_envelope(params)
        elif not conversation.version and request.method not in {"initialize", "ping"}:
            raise Problem("PC1035", "the session is not initialized")
        asked = interpret(CLIENT_REQUESTS[conversation.era], request.method, params)
        if asked.action is Action.TOOL:
            await self._know_tools(asked, params)
        rounds = Rounds(self._mcp, conversation, self._context, request.method, asked)
        params = await rounds.answers(self._upstream(params))
        if request.method == "subscriptions/listen":
            await rounds.subscriptions(params["notifications"])
        payload = request_message(self._id, request.method, params)
        call = make_call(
            conversation.route,
            conversation.server,
            request.method,
            asked,
            payload,
            self._id,
            self._tool(asked),
            answers=rounds.answered,
        )
        call = msgspec.structs.replace(call, looked_up_for=self._looked_up_for)
        outcome = await self._mcp.decide(call, self._context, self._look)
        self._call = outcome.call
        with self._mcp.pipeline.records.streamed(outcome.call) as self._streamed:
            return await self._conclude(outcome, await self._asked_of(outcome, asked), rounds)

    async def _look(self, look: Look) -> None:
        """Make a call of the gate's own in this conversation: it takes the whole line too."""
        members = {"name": look.tool, "arguments": look.arguments}
        if self._conversation.era is Era.MODERN:
            members["_meta"] = {
                key: value
                for key, value in self._request.params["_meta"].items()
                if key != "progressToken"
            }
        asking = Exchange(
            self._mcp,
            self._conversation,
            self._context,
            Request(id=new_id(), method="tools/call", params=members),
            emit=None,
            tracked=False,
            looked_up_for=self._id,
        )
        await asking.run()

    async def _asked_of(self, outcome: Outcome, asked: Asked) -> Response | Failure:
        """The server's answer to an allowed call; without one, the event that is owed for it."""
        try:
            self._check_parameters(asked, outcome.call.tool)
            answer = await self._ask(outcome)
            if isinstance(answer, Response):
                return msgspec.structs.replace(answer, result=await self._learn(answer.result))
        except Problem as problem:
            self._mcp.pipeline.failed(outcome, self._context, problem)
            raise Recorded(problem.code, problem.detail, hint=problem.hint) from None
        except BaseException:
            gone = self.reason or Problem("PC5014", GONE)
            self._mcp.pipeline.failed(outcome, self._context, gone)
            raise
        return answer

    def _check_envelope(self, params: dict[str, Any]) -> None:
        self._version = envelope_version(params)
        if self._headers is not None:
            verify(self._headers, self._version, self._request.method, params)
        if self._version not in MODERN_VERSIONS:
            raise unsupported(self._version)

    async def _know_tools(self, asked: Asked, params: dict[str, Any]) -> None:
        """Know the server's tools, unless the caller may not list them: the line says so then.

        So nothing is asked of a server, and no process started, for one who may not use it. Of a
        tool that would be refused, what is known may be out of date.
        """
        conversation = self._conversation
        probe = make_call(
            conversation.route, conversation.server, self._request.method, asked, params, self._id
        )
        if self._mcp.pipeline.chunk(probe, self._context) is not None:
            return
        inventory, server = self._mcp.inventory, conversation.server
        usable = self._tool(asked) is not None and inventory.refusal(server, asked.name) is None
        if not (usable and inventory.known(server)):
            look = make_call(conversation.route, server, "tools/list", _TOOLS, {})
            if await self._mcp.pipeline.permits(look, self._context):
                await ensure_known(self._mcp, conversation, asked.name)

    def _tool(self, asked: Asked) -> ToolSpec | None:
        """The tool that is asked for, as its server lists it now."""
        if asked.action is not Action.TOOL:
            return None
        return self._mcp.inventory.tool(self._conversation.server, asked.name)

    def _check_parameters(self, asked: Asked, tool: ToolSpec | None) -> None:
        """Hold the headers of a tool's parameters against its arguments, as the client sent both.

        Only once the call is allowed: which headers a tool has is not for those who may not use it.
        """
        modern = self._conversation.era is Era.MODERN
        if tool is not None and modern and self._headers is not None:
            verify_parameters(self._headers, asked.arguments, tool.input_schema)

    def _upstream(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters as the server gets them: our progress token, a version we speak."""
        meta = params.get("_meta", {})
        if "progressToken" in meta:
            if type(meta["progressToken"]) not in {str, int}:
                raise Problem("PC1020", "params._meta.progressToken is of the wrong type")
            self.progress_token = meta["progressToken"]
            params = params | {"_meta": meta | {"progressToken": self._id}}
        begins = self._request.method == "initialize"
        if begins and params["protocolVersion"] not in LEGACY_VERSIONS:
            params = params | {"protocolVersion": LEGACY_VERSIONS[-1]}
        return params

    async def _ask(self, outcome: Outcome) -> Response | Failure:
        """Forward exactly what was decided on and wait for its answer."""
        conversation, call = self._conversation, outcome.call
        headers = conversation.headers()
        if conversation.era is Era.MODERN:
            schema = call.tool.input_schema if call.tool else None
            headers = compute(self._version, call.method, call.payload["params"], schema)
        trace = self._context.trace
        with UNTRACED if trace is None else tracing.asking(trace, call) as span:
            if told := tracing.told(trace, span):
                headers = {**headers, **dict(told)}
            channel = await conversation.channel()
            answer = await self._forward(channel.request(call.payload, headers))
        if answer is None:
            raise Problem("PC5008", "the server ended the request without an answer")
        if isinstance(answer, Response):
            results.check(conversation.era, call.method, answer.result)
        return answer

    async def _learn(self, result: dict[str, Any]) -> dict[str, Any]:
        """Take note of a list of tools, and of the version that initialize settled on.

        Returns the result without the tools that are not as they were approved.
        """
        method = self._request.method
        if method == "tools/list":
            specs = results.tool_specs(result)
            whole = "cursor" not in self._request.params and result.get("nextCursor") is None
            usable = await self._mcp.inventory.listed(self._conversation.server, specs, whole=whole)
            if len(usable) < len(specs):
                kept = [tool for tool in result["tools"] if tool["name"] in usable]
                return result | {"tools": kept}
        elif method == "initialize":
            self._conversation.version = result["protocolVersion"]
        return result

    async def _conclude(
        self, outcome: Outcome, answer: Response | Failure, rounds: Rounds
    ) -> dict[str, Any]:
        request, era = self._request, self._conversation.era
        failed = isinstance(answer, Failure)
        said = answer.error if isinstance(answer, Failure) else answer.result
        back = summary(
            said,
            is_error=failed or said.get("isError") is True,
            chunks=self.chunks,
            streamed=self._streamed.messages() if self._streamed else None,
        )
        back = msgspec.structs.replace(back, waited=self.waited)
        judged = await self._mcp.conclude(outcome, self._context, back, self.findings)
        if failed:
            return failure_message(request.id, judged.payload)
        result: dict[str, Any] = results.adapt(era, request.method, judged.payload)
        if results.input_required(era, result):
            result = await rounds.questions(result)
        elif request.method == "subscriptions/listen":
            result = _stamped(result, request.id)
        return result_message(request.id, result)

    def _answers(self, message: Response | Failure) -> bool:
        if message.id != self._id:
            raise Problem("PC5003", "the server answered another request than the one it was sent")
        return True

    def _restore(self, message: Notification, params: dict[str, Any]) -> dict[str, Any] | None:
        method, request = message.method, self._request
        if method == "notifications/progress":
            if self.progress_token is None or params["progressToken"] != self._id:
                return None
            return params | {"progressToken": self.progress_token}
        if method == "notifications/cancelled" and params["requestId"] == self._id:
            return params | {"requestId": request.id}
        if request.method == "subscriptions/listen":
            return _stamped(params, request.id)
        if self._conversation.era is Era.MODERN and method not in _ON_ANY_REQUEST:
            return None
        return super()._restore(message, params)


def _stamped(members: dict[str, Any], request_id: RequestId) -> dict[str, Any]:
    """With the subscription's id as the client knows it, whatever the server wrote."""
    meta = members.get("_meta", {})
    known = meta if type(meta) is dict else {}
    return members | {"_meta": known | {SUBSCRIPTION_KEY: request_id}}

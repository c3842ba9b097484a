"""Multi-round-trip results (MCP 2026-07-28): the server's questions, the client's answers.

A result may say ``input_required``: the client answers the requests in it and sends its own
request again. Every question and every answer takes the line. What connects them is a
requestState of the gate's own, sealed for this caller, server, method, name and arguments.
"""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.call import Action, Context, Questions
from portcullis.core.errors import Problem
from portcullis.gateway.mcp import Mcp, make_call, summary
from portcullis.gateway.mcp_conversation import Conversation
from portcullis.wire.json import digest
from portcullis.wire.mcp import SERVER_REQUESTS, Asked, interpret, without_nulls
from portcullis.wire.mcp_results import input_requests
from portcullis.wire.mcp_state import Round, close_round, open_round

MAX_QUESTIONS: Final = 16
MAX_SUBSCRIPTIONS: Final = 64


class Rounds:
    """The rounds around one request."""

    def __init__(
        self, mcp: Mcp, conversation: Conversation, context: Context, method: str, asked: Asked
    ) -> None:
        self._mcp = mcp
        self._conversation = conversation
        self._context = context
        self._method = method
        self._asked = asked
        self.answered: Questions | None = None
        """What was answered, if anything was."""

    async def answers(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters as the server gets them: its own state, answers that were judged.

        Raises Problem PC1037 for a state that was not given to this caller for this request,
        PC1036 for an answer to something that was not asked.
        """
        if "requestState" not in params and "inputResponses" not in params:
            return params
        if "requestState" not in params:
            raise Problem("PC1037", "inputResponses came without the requestState")
        now = self._mcp.clock.now()
        known = open_round(self._mcp.seal, params["requestState"], self._bound(), now)
        judged: dict[str, Any] = {}
        for key, answer in params.get("inputResponses", {}).items():
            if key not in known.asked:
                raise Problem("PC1036", "an input response answers nothing that was asked")
            if type(answer) is not dict:
                raise Problem("PC1020", "an input response is not an object")
            judged[key] = await self._aside(_server_request(known.asked[key]), {}, answer)
        if judged:
            self.answered = Questions(methods=known.asked, digest=known.digest)
        rest = {k: v for k, v in params.items() if k not in {"requestState", "inputResponses"}}
        if known.state is not None:
            rest["requestState"] = known.state
        return rest | {"inputResponses": judged} if judged else rest

    async def questions(self, result: dict[str, Any]) -> dict[str, Any]:
        """The result as the client gets it: questions that were judged, and our requestState.

        One denied question withholds the whole result: the server cannot be answered alone.
        """
        requests, state = input_requests(result), result.get("requestState")
        if len(requests) > MAX_QUESTIONS or (state is not None and type(state) is not str):
            raise Problem("PC5003", "the server's questions are malformed or too many")
        shown: dict[str, Any] = {}
        for key, (method, raw) in requests.items():
            params = without_nulls(raw)
            try:
                asked = interpret(SERVER_REQUESTS, method, params)
            except Problem as problem:
                raise Problem("PC5003", f"a server's question: {problem.detail}") from None
            payload = {"method": method, "params": params} if params else {"method": method}
            shown[key] = await self._aside(asked, payload)
        expires = self._mcp.clock.now() + self._mcp.limits.session_idle_seconds
        asked_for = {key: item["method"] for key, item in shown.items()}
        known = Round(state=state, asked=asked_for, digest=digest(shown), expires_at=expires)
        token = close_round(self._mcp.seal, known, self._bound())
        changes: dict[str, Any] = {"requestState": token}
        return result | changes | ({"inputRequests": shown} if shown else {})

    async def subscriptions(self, wanted: dict[str, Any]) -> None:
        """Judge each resource that a subscription names as the resource that it is."""
        uris = wanted.get("resourceSubscriptions", [])
        if len(uris) > MAX_SUBSCRIPTIONS:
            raise Problem("PC1020", "params.notifications names too many resources")
        for uri in uris:
            resource = Asked(action=Action.RESOURCE, name=uri, arguments={"uri": uri})
            await self._aside(resource, {"uri": uri})

    async def _aside(
        self, asked: Asked, payload: dict[str, Any], back: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Take the line with a part of a message, and with the answer ``back`` to it if there is.

        Returns what the line made of the part, or of the answer.
        """
        conversation = self._conversation
        method = asked.name if asked.action is Action.SERVER_REQUEST else self._method
        call = make_call(conversation.route, conversation.server, method, asked, payload)
        outcome = await self._mcp.decide(call, self._context)
        if back is None:
            await self._mcp.conclude(outcome, self._context, summary({}, finish="passed_on"))
            passed: dict[str, Any] = outcome.call.payload
            return passed
        answer = summary(back, finish="answered")
        judged = await self._mcp.conclude(outcome, self._context, answer)
        answered: dict[str, Any] = judged.payload
        return answered

    def _bound(self) -> tuple[str, ...]:
        return (
            *self._conversation.owner,
            self._conversation.server,
            self._method,
            self._asked.name,
            digest(self._asked.arguments),
        )


def _server_request(method: str) -> Asked:
    return Asked(action=Action.SERVER_REQUEST, name=method, arguments={})

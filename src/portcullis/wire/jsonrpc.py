"""JSON-RPC 2.0 messages as MCP uses them: one message per document, read strictly.

A message is exactly one of four things, and every top-level member has a meaning; whatever two
readers could take for two different things is refused (https://www.jsonrpc.org/specification).
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from portcullis.core.errors import Problem

MAX_ID: Final = 256
"""Longest id in characters; a method name is bounded by it too."""

RequestId: TypeAlias = str | int


class Request(msgspec.Struct, frozen=True):
    """A request: it is owed exactly one response with its id."""

    id: RequestId
    method: str
    params: dict[str, Any]


class Notification(msgspec.Struct, frozen=True):
    """A message that nobody answers."""

    method: str
    params: dict[str, Any]


class Response(msgspec.Struct, frozen=True):
    """The good answer to the request of the same id."""

    id: RequestId
    result: dict[str, Any]


class Failure(msgspec.Struct, frozen=True):
    """The bad answer; ``id`` is None when the peer could not tell what it answers.

    ``error`` has the members code (int), message (str) and, sometimes, data.
    """

    id: RequestId | None
    error: dict[str, Any]


Message: TypeAlias = Request | Notification | Response | Failure


class RpcProblem(Problem):
    """A Problem whose JSON-RPC error carries more ``data`` than code, detail and hint."""

    def __init__(self, code: str, detail: str, data: dict[str, Any]) -> None:
        super().__init__(code, detail)
        self.data = data


def parse(value: Any) -> Message:
    """Classify one decoded document.

    Raises Problem PC1031 for a batch and PC1030 for whatever is not one strict message: the
    wrong version, an id that is not a string or an integer, params that are not an object,
    unknown members, or both result and error.
    """
    if type(value) is list:
        raise Problem("PC1031", "a batch of messages")
    if type(value) is not dict:
        raise Problem("PC1030", "the message is not an object")
    if value.get("jsonrpc") != "2.0":
        raise Problem("PC1030", "jsonrpc must be 2.0")
    if "method" in value:
        return _asking(value)
    return _answering(value)


def id_of(value: Any) -> RequestId | None:
    """The id that an error about a malformed document can refer to, or None."""
    if type(value) is dict and "method" in value and _is_id(value.get("id")):
        found: RequestId = value["id"]
        return found
    return None


def request_message(request_id: RequestId, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """A request to send; without parameters the member is left out."""
    message = {"jsonrpc": "2.0", "id": request_id, "method": method}
    return {**message, "params": params} if params else message


def notification_message(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """A notification to send; without parameters the member is left out."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    return {**message, "params": params} if params else message


def result_message(request_id: RequestId, result: dict[str, Any]) -> dict[str, Any]:
    """A good answer to send."""
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def failure_message(request_id: RequestId | None, error: dict[str, Any]) -> dict[str, Any]:
    """An error of the peer's to pass on."""
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


def error_message(request_id: RequestId | None, problem: Problem) -> dict[str, Any]:
    """A problem of ours to send: the table's code, title, and code, detail, hint as data."""
    data: dict[str, Any] = {
        "code": problem.code,
        "detail": problem.detail,
        "hint": problem.hint,
    }
    if problem.approval:
        data["approval"] = problem.approval
    if problem.retry_after:
        data["retry_after"] = problem.retry_after
    if problem.over:
        data |= problem.over.members()
    if isinstance(problem, RpcProblem):
        data |= problem.data
    error = {"code": problem.entry.rpc, "message": problem.entry.title, "data": data}
    return failure_message(request_id, error)


def _asking(value: dict[str, Any]) -> Request | Notification:
    if value.keys() - {"jsonrpc", "id", "method", "params"}:
        raise Problem("PC1030", "a request or notification has unknown members")
    method = value["method"]
    if type(method) is not str or not 0 < len(method) <= MAX_ID:
        raise Problem("PC1030", "method must be a short string")
    params = value.get("params", {})
    if type(params) is not dict:
        raise Problem("PC1030", "params must be an object")
    if "id" not in value:
        return Notification(method, params)
    if not _is_id(value["id"]):
        raise Problem("PC1030", "id must be a short string or an integer")
    return Request(value["id"], method, params)


def _answering(value: dict[str, Any]) -> Response | Failure:
    names = value.keys() - {"jsonrpc"}
    if names == {"id", "result"}:
        if not _is_id(value["id"]):
            raise Problem("PC1030", "id must be a short string or an integer")
        if type(value["result"]) is not dict:
            raise Problem("PC1030", "result must be an object")
        return Response(value["id"], value["result"])
    if names == {"id", "error"}:
        if value["id"] is not None and not _is_id(value["id"]):
            raise Problem("PC1030", "id must be a short string, an integer or null")
        return Failure(value["id"], _error(value["error"]))
    raise Problem("PC1030", "neither a request, a notification nor a response")


def _error(error: Any) -> dict[str, Any]:
    if (
        type(error) is not dict
        or error.keys() - {"code", "message", "data"}
        or type(error.get("code")) is not int
        or type(error.get("message")) is not str
    ):
        raise Problem("PC1030", "error must have an integer code and a message")
    return error


def _is_id(value: Any) -> bool:
    return type(value) is int or (type(value) is str and len(value) <= MAX_ID)

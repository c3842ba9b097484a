"""What the channels need to know of JSON-RPC: enough to bring each message to its place."""

from __future__ import annotations

from typing import Any

from portcullis.core.errors import Problem
from portcullis.wire import json


def decode(data: bytes) -> dict[str, Any]:
    """Read one message from a server; Problem PC5003 when it is not one strict JSON object."""
    try:
        message = json.decode(data)
    except Problem as problem:
        raise Problem("PC5003", f"a message of the server: {problem.detail}") from None
    if not isinstance(message, dict):
        raise Problem("PC5003", "a message of the server is not a JSON object")
    return message


def is_response(message: dict[str, Any]) -> bool:
    """Say whether a message answers a request."""
    return "method" not in message and ("result" in message or "error" in message)


def is_request(message: dict[str, Any]) -> bool:
    """Say whether a message waits for an answer."""
    return "method" in message and "id" in message


def same_id(one: object, other: object) -> bool:
    """Compare JSON-RPC ids as they are written: 1, 1.0, true and "1" are four ids."""
    return type(one) is type(other) and one == other


def cancelled(request_id: object) -> dict[str, Any]:
    """Return the notification that a request is no longer waited for."""
    return {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": request_id, "reason": "the client left"},
    }


def refusal(request_id: object) -> dict[str, Any]:
    """Return the answer to a server's request that nobody was there to hear."""
    return {
        "jsonrpc": "2.0",
        "id": request_id,
        "error": {"code": -32603, "message": "no client is listening"},
    }

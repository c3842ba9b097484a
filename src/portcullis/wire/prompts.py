"""Putting a system text of ours into a request to a model, beside the caller's own."""

from __future__ import annotations

from typing import Any, Final

_SYSTEM: Final = frozenset({"system", "developer"})
_BREAK: Final = "\n\n"


def with_system(operation: str, payload: dict[str, Any], text: str) -> dict[str, Any]:
    """The payload with ``text`` after the caller's system texts, before all else.

    The caller's own are left as they are, with their marks for caching. An operation without a
    system text comes back unchanged. ``payload`` has passed the operation's codec.
    """
    if operation == "POST /v1/chat/completions":
        return payload | {"messages": _messages(payload["messages"], text)}
    if operation == "POST /v1/responses":
        return payload | {"instructions": _joined(payload.get("instructions"), text)}
    if operation in {"POST /v1/messages", "POST /v1/messages/count_tokens"}:
        system = payload.get("system")
        if type(system) is list:
            return payload | {"system": [*system, {"type": "text", "text": text}]}
        return payload | {"system": _joined(system, text)}
    return payload


def _joined(theirs: str | None, ours: str) -> str:
    return f"{theirs}{_BREAK}{ours}" if theirs else ours


def _messages(messages: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    count = 0
    while count < len(messages) and messages[count]["role"] in _SYSTEM:
        count += 1
    role = messages[count - 1]["role"] if count else "system"
    return [*messages[:count], {"role": role, "content": text}, *messages[count:]]

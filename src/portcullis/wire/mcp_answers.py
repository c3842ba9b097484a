"""What a client tells a server beside the arguments of its calls: ``_meta``, and its answers.

An answer is what the client sends to a question of the server's: content of an elicitation, a
message of its own model (sampling), its roots.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from portcullis.core.trace import trace_of
from portcullis.wire.mcp import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    LOG_LEVELS,
    MODERN_VERSIONS,
    VERSION_KEY,
)

ELICITATION: Final = "elicitation/create"
LOG_LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"

_SAMPLING: Final = "sampling/createMessage"
_ACTIONS: Final = ("accept", "decline", "cancel")
_SPEAKERS: Final = ("user", "assistant")
_CAPABILITIES: Final = frozenset(
    ["roots", "listChanged", "sampling", "tools", "context", "elicitation", "form", "url"]
)
_DEPTH: Final = 3
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/+-]{0,63}")
_CODES: Final = range(-32768, 32768)
_FAR: Final = 2**31
"""How far a progress can be."""


def bare(message: Mapping[str, Any]) -> dict[str, Any]:
    """A client's request or notification with nothing in it that is not the protocol's.

    Of ``_meta`` there remain its version, capabilities, client, level of logging, trace parent and
    the gate's own progress token, each in a form that has room for nothing else; in ``initialize``
    the same of the client and its capabilities; of a notification of progress no words, and one
    whole number.
    """
    params = message.get("params")
    if type(params) is not dict:
        return dict(message)
    kept = dict(params)
    if "_meta" in params:
        kept["_meta"] = dict(_meta(params["_meta"], message.get("id")))
    if message.get("method") == "initialize":
        kept["capabilities"] = _capabilities(params.get("capabilities"))
        kept["clientInfo"] = _client(params.get("clientInfo"))
    elif message.get("method") == "notifications/progress":
        kept.pop("message", None)
        kept.pop("total", None)
        kept["progress"] = int(max(0, min(params.get("progress", 0), _FAR)))
    return {**message, "params": kept}


def _meta(meta: Any, request_id: Any) -> Iterator[tuple[str, Any]]:
    """The protocol's own members."""
    for name, value in meta.items() if type(meta) is dict else ():
        if name == "progressToken":
            good = request_id is not None and value == request_id
        elif name == "traceparent":
            good = type(value) is str and trace_of(value) is not None
        elif name == VERSION_KEY:
            good = value in MODERN_VERSIONS
        elif name == LOG_LEVEL_KEY:
            good = value in LOG_LEVELS
        else:
            good = False
        if name == CAPABILITIES_KEY:
            yield name, _capabilities(value)
        elif name == CLIENT_KEY:
            yield name, _client(value)
        elif good:
            yield name, value


def _capabilities(value: Any, depth: int = 0) -> dict[str, Any]:
    """What of a client's capabilities is the protocol's: known names, truth values."""
    found: dict[str, Any] = {}
    for name, one in value.items() if type(value) is dict and depth < _DEPTH else ():
        if name in _CAPABILITIES and type(one) is bool:
            found[name] = one
        elif name in _CAPABILITIES and type(one) is dict:
            found[name] = _capabilities(one, depth + 1)
    return found


def _client(value: Any) -> dict[str, str]:
    """A client's name and version; what is no plain name is ``?``."""
    said = value if type(value) is dict else {}
    return {name: _plain(said.get(name)) for name in ("name", "version")}


def _plain(value: Any) -> str:
    return value if type(value) is str and _PLAIN.fullmatch(value) else "?"


def refusal(error: Any) -> dict[str, Any]:
    """A client's error in answer to a question: its code, and words of the gate's own."""
    code = error.get("code") if type(error) is dict else None
    good = type(code) is int and code in _CODES
    return {"code": code if good else -1, "message": "the client refuses"}


def plain(answer: Any) -> Any:
    """An answer without its ``_meta``."""
    if type(answer) is not dict or "_meta" not in answer:
        return answer
    return {name: value for name, value in answer.items() if name != "_meta"}


def said(method: str, answer: Any) -> dict[str, Any]:
    """What an answer to a question of this method says, by field; empty when it says nothing.

    The fields of an elicitation are the members of its content. Any other answer is one field,
    named as the method. To decline or to cancel says nothing, nor does whose message it is.
    """
    if type(answer) is not dict:
        return {method: answer}
    rest = {name: value for name, value in answer.items() if name != "_meta" and value is not None}
    if method == ELICITATION:
        if rest.get("action") in _ACTIONS:
            del rest["action"]
        content = rest.pop("content", {})
        fields = content if type(content) is dict else {method: content}
        said = [fields[method]] if rest and method in fields else []
        return fields | ({method: [*said, rest] if said else rest} if rest else {})
    if method == _SAMPLING and rest.get("role") in _SPEAKERS:
        del rest["role"]
    values = rest.get("roots") if method == "roots/list" and rest.keys() <= {"roots"} else rest
    return {method: values} if values else {}

"""MCP's methods, both eras: which there are, what they take, and what they ask for.

The *modern* era is revision 2026-07-28: stateless, its version and capabilities in each
request's ``_meta``. The *legacy* era is everything up to 2025-11-25: a session that begins with
``initialize``. A method, or a parameter of one, that is not in these tables is refused.
Tasks are not in them: what a task does later could not be tied to the call that was decided on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from portcullis.core.call import Action
from portcullis.core.errors import Problem
from portcullis.wire.jsonrpc import RpcProblem

MODERN_VERSIONS: Final = ("2026-07-28",)
LEGACY_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_KEY: Final = "io.modelcontextprotocol/clientInfo"
SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"

LOG_LEVELS: Final = (
    *("debug", "info", "notice", "warning"),
    *("error", "critical", "alert", "emergency"),
)


class Era(StrEnum):
    """Which of the two protocols a conversation speaks."""

    MODERN = "modern"
    LEGACY = "legacy"


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """What a method is: the kind of action and its parameters' names, ``_meta`` apart.

    ``name`` is the parameter that names the thing asked for, or the fixed name for lists.
    """

    action: Action = Action.PROTOCOL
    name: str = ""
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a message asks for, in the terms of ``core.call.Call``."""

    action: Action
    name: str
    arguments: dict[str, Any]


def _method(
    action: Action = Action.PROTOCOL, name: str = "", *, needs: str = "", takes: str = ""
) -> Method:
    return Method(
        action=action,
        name=name,
        required=frozenset(needs.split()),
        optional=frozenset(takes.split()),
    )


_ROUND = "inputResponses requestState"
_BOTH: Final = {
    "tools/list": _method(Action.LIST, "tools", takes="cursor"),
    "resources/list": _method(Action.LIST, "resources", takes="cursor"),
    "resources/templates/list": _method(Action.LIST, "resource_templates", takes="cursor"),
    "prompts/list": _method(Action.LIST, "prompts", takes="cursor"),
    "completion/complete": _method(Action.COMPLETE, "ref", needs="ref argument", takes="context"),
}
CLIENT_REQUESTS: Final[Mapping[Era, Mapping[str, Method]]] = {
    Era.MODERN: {
        **_BOTH,
        "tools/call": _method(Action.TOOL, "name", needs="name", takes=f"arguments {_ROUND}"),
        "prompts/get": _method(Action.PROMPT, "name", needs="name", takes=f"arguments {_ROUND}"),
        "resources/read": _method(Action.RESOURCE, "uri", needs="uri", takes=_ROUND),
        "server/discover": _method(),
        "subscriptions/listen": _method(needs="notifications"),
    },
    Era.LEGACY: {
        **_BOTH,
        "tools/call": _method(Action.TOOL, "name", needs="name", takes="arguments"),
        "prompts/get": _method(Action.PROMPT, "name", needs="name", takes="arguments"),
        "resources/read": _method(Action.RESOURCE, "uri", needs="uri"),
        "resources/subscribe": _method(Action.RESOURCE, "uri", needs="uri"),
        "resources/unsubscribe": _method(Action.RESOURCE, "uri", needs="uri"),
        "initialize": _method(needs="protocolVersion capabilities clientInfo"),
        "logging/setLevel": _method(needs="level"),
        "ping": _method(),
    },
}
"""What a client may ask of a server."""

_CANCELLED = _method(needs="requestId", takes="reason")
_PROGRESS = _method(needs="progressToken progress", takes="total message")
CLIENT_NOTIFICATIONS: Final[Mapping[Era, Mapping[str, Method]]] = {
    Era.MODERN: {"notifications/cancelled": _CANCELLED},
    Era.LEGACY: {
        "notifications/cancelled": _CANCELLED,
        "notifications/initialized": _method(),
        "notifications/progress": _PROGRESS,
        "notifications/roots/list_changed": _method(),
    },
}
"""What a client may tell a server."""

SERVER_REQUESTS: Final[Mapping[str, Method]] = {
    "ping": _method(Action.SERVER_REQUEST),
    "roots/list": _method(Action.SERVER_REQUEST),
    "elicitation/create": _method(
        Action.SERVER_REQUEST, needs="message", takes="mode requestedSchema url elicitationId"
    ),
    "sampling/createMessage": _method(
        Action.SERVER_REQUEST,
        needs="messages maxTokens",
        takes="includeContext metadata modelPreferences stopSequences systemPrompt temperature"
        " toolChoice tools",
    ),
}
"""What a server may ask of a client: as a request (legacy) or inside a result (modern)."""

_TOLD: Final = {
    "notifications/cancelled": _CANCELLED,
    "notifications/progress": _PROGRESS,
    "notifications/message": _method(needs="level data", takes="logger"),
    "notifications/prompts/list_changed": _method(),
    "notifications/resources/list_changed": _method(),
    "notifications/resources/updated": _method(needs="uri"),
    "notifications/tools/list_changed": _method(),
}
SERVER_NOTIFICATIONS: Final[Mapping[Era, Mapping[str, Method]]] = {
    Era.MODERN: {
        **_TOLD,
        "notifications/subscriptions/acknowledged": _method(needs="notifications"),
    },
    Era.LEGACY: {**_TOLD, "notifications/elicitation/complete": _method(needs="elicitationId")},
}
"""What a server may tell a client."""

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(
        [
            "name",
            "uri",
            "cursor",
            "level",
            "protocolVersion",
            "reason",
            "logger",
            "message",
            "mode",
            "url",
            "elicitationId",
            "requestState",
            "systemPrompt",
            "includeContext",
        ],
        (str,),
    ),
    **dict.fromkeys(
        [
            "arguments",
            "ref",
            "argument",
            "context",
            "capabilities",
            "clientInfo",
            "notifications",
            "inputResponses",
            "requestedSchema",
            "metadata",
            "modelPreferences",
            "toolChoice",
            "_meta",
        ],
        (dict,),
    ),
    **dict.fromkeys(("requestId", "progressToken"), (str, int)),
    **dict.fromkeys(("progress", "total", "temperature"), (int, float)),
    **dict.fromkeys(("messages", "tools", "stopSequences"), (list,)),
    "maxTokens": (int,),
}
"""The JSON type of each parameter; ``data`` alone may be anything."""

_SUBSCRIPTIONS: Final = {
    "toolsListChanged": bool,
    "promptsListChanged": bool,
    "resourcesListChanged": bool,
    "resourceSubscriptions": list,
}


def interpret(table: Mapping[str, Method], method: str, params: dict[str, Any]) -> Asked:
    """What a message with this method and these parameters asks for.

    Raises Problem PC1034 (the table has no such method), PC1021 (a parameter that it does not
    take), PC1020 (one is missing or of the wrong type).
    """
    row = table.get(method)
    if row is None:
        raise Problem("PC1034", "the method is not one that the gate forwards in this direction")
    for name, value in params.items():
        if name != "_meta" and name not in row.required and name not in row.optional:
            raise Problem("PC1021", f"params has a member that {method} does not take")
        if name in _TYPES and type(value) not in _TYPES[name]:
            raise Problem("PC1020", f"params.{name} is of the wrong type")
    if missing := row.required - params.keys():
        raise Problem("PC1020", f"params.{min(missing)} is missing")
    _inner(method, params)
    if row.action is Action.TOOL or row.action is Action.PROMPT:
        return Asked(
            action=row.action, name=params[row.name], arguments=params.get("arguments", {})
        )
    arguments = {name: value for name, value in params.items() if name != "_meta"}
    if row.action is Action.RESOURCE:
        return Asked(action=row.action, name=params["uri"], arguments={"uri": params["uri"]})
    if row.action is Action.COMPLETE:
        return Asked(action=row.action, name=_reference(params["ref"]), arguments=arguments)
    return Asked(action=row.action, name=row.name or method, arguments=arguments)


def without_nulls(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters without those that are null: some clients send them for absent ones."""
    if None in params.values():
        return {name: value for name, value in params.items() if value is not None}
    return params


def enveloped(params: Mapping[str, Any]) -> bool:
    """Whether the parameters carry the modern era's version, which nothing older does."""
    meta = params.get("_meta")
    return type(meta) is dict and VERSION_KEY in meta


def envelope_version(params: Mapping[str, Any]) -> str:
    """The version of a modern request; Problem PC1020 when its envelope is incomplete."""
    meta = params.get("_meta")
    if type(meta) is not dict:
        raise Problem("PC1020", "params._meta must be an object with the protocol version")
    if type(meta.get(VERSION_KEY)) is not str:
        raise Problem("PC1020", f"params._meta lacks the string {VERSION_KEY}")
    if type(meta.get(CAPABILITIES_KEY)) is not dict:
        raise Problem("PC1020", f"params._meta lacks the object {CAPABILITIES_KEY}")
    version: str = meta[VERSION_KEY]
    return version


def unsupported(requested: str) -> RpcProblem:
    """The refusal of a version: its data names those that the gate speaks."""
    return RpcProblem(
        "PC1033",
        "the gate does not speak this version",
        {"supported": [*MODERN_VERSIONS, *LEGACY_VERSIONS], "requested": requested},
    )


def _inner(method: str, params: dict[str, Any]) -> None:
    """What the types of the top level do not say."""
    if method == "logging/setLevel" and params["level"] not in LOG_LEVELS:
        raise Problem("PC1020", "params.level is none of the protocol's levels")
    if method == "prompts/get":
        if any(type(value) is not str for value in params.get("arguments", {}).values()):
            raise Problem("PC1020", "params.arguments must be strings")
    elif method == "completion/complete":
        argument = params["argument"]
        if type(argument.get("name")) is not str or type(argument.get("value")) is not str:
            raise Problem("PC1020", "params.argument must have a name and a value")
    elif method == "subscriptions/listen":
        for name, wanted in params["notifications"].items():
            if name not in _SUBSCRIPTIONS:
                raise Problem("PC1021", "params.notifications has an unknown member")
            if type(wanted) is not _SUBSCRIPTIONS[name] or (
                type(wanted) is list and any(type(uri) is not str for uri in wanted)
            ):
                raise Problem("PC1020", f"params.notifications.{name} is of the wrong type")


def _reference(ref: dict[str, Any]) -> str:
    """The name of the prompt or the URI of the resource that a completion is for."""
    member = {"ref/prompt": "name", "ref/resource": "uri"}.get(str(ref.get("type")))
    found = ref.get(member) if member else None
    if type(found) is not str:
        raise Problem("PC1020", "params.ref must name a prompt or a resource")
    if ref.keys() - {"type", "title", member}:
        raise Problem("PC1021", "params.ref has an unknown member")
    return found

"""OpenID AuthZEN Authorization API 1.0: its questions as calls, and its options.

A question's resource says what is asked about, its action what is done with it:

    tool      server.name      call        properties.arguments are the tool's
    model     name             ask         properties.features as in policy
    resource  server.URI       read
    prompt    server.name      get
    url       https://h/path   a method    what is asked of a plain host
    host      name:port        connect

The subject is an agent: ``agent`` and its name, or its SPIFFE ID. ``properties.session`` names the
session that it acts in. The context is the PEP's own and decides nothing.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final

import msgspec

from portcullis.core.call import Action, Call, Context, Route
from portcullis.core.egress import Way
from portcullis.core.errors import Problem
from portcullis.wire import outward
from portcullis.wire.json import encode

AGENT: Final = "agent"
_NAMED: Final = {
    "tool": (Action.TOOL, "call"),
    "model": (Action.MODEL, "ask"),
    "resource": (Action.RESOURCE, "read"),
    "prompt": (Action.PROMPT, "get"),
}
_SERVED: Final = frozenset({Action.TOOL, Action.RESOURCE, Action.PROMPT})
_SERVER: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_FEATURE: Final = re.compile(r"[a-z]{1,32}\.[A-Za-z0-9_.-]{1,64}")
"""As policy writes them: what is none of these would be free text in the log and in reasons."""
_PROPERTIES: Final = {"tool": "arguments", "model": "features"}
"""What of a resource's properties bears on the decision; any other is refused, not ignored."""


class Semantic(StrEnum):
    """How many of several questions are answered (section 7.1.2.1)."""

    ALL = "execute_all"
    DENY = "deny_on_first_deny"
    PERMIT = "permit_on_first_permit"

    def over(self, *, decision: bool) -> bool:
        """Whether this decision is the last."""
        return self is not Semantic.ALL and decision is (self is Semantic.PERMIT)


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A subject or a resource: section 5.1 and 5.2."""

    type: str
    id: str
    properties: dict[str, Any] = {}


def session_of(subject: Entity) -> str:
    """The session that a subject acts in, or empty. Raises Problem PC1020."""
    session = subject.properties.get("session", "")
    if not isinstance(session, str):
        raise Problem("PC1020", "subject.properties.session is a text")
    return session


def call_of(call_id: str, action: str, resource: Entity) -> Call:
    """The call that a question is about.

    Raises Problem PC1020 for an action or a type that is none of the above, or properties that
    are not understood, and those of a destination, PC5050 and PC1011.
    """
    known = _PROPERTIES.get(resource.type, "")
    if set(resource.properties) - {known}:
        raise Problem("PC1020", "resource.properties holds what is not understood")
    if resource.type in {"url", "host"}:
        return _outward(call_id, action, resource)
    kind, verb = _NAMED.get(resource.type, (None, ""))
    if kind is None or action != verb:
        raise Problem("PC1020", "action and resource.type are none that go together")
    server, dot, name = resource.id.partition(".") if kind in _SERVED else ("", ".", resource.id)
    if not (dot and name) or (server and _SERVER.fullmatch(server) is None):
        raise Problem("PC1020", "resource.id is not qualified: SERVER.NAME")
    return _call(
        call_id,
        kind,
        server,
        name,
        arguments=_arguments(resource) if kind is Action.TOOL else {},
        features=_features(resource) if kind is Action.MODEL else (),
    )


def question_of(call: Call, context: Context) -> dict[str, Any]:
    """The question that a call is: what ``call_of`` reads, as another PDP is asked it."""
    session = context.session
    properties = {} if session is None else {"session": session.id, "user": session.user}
    return {
        "subject": {"type": AGENT, "id": context.principal.id, "properties": properties},
        **_done_with(call),
    }


def _done_with(call: Call) -> dict[str, Any]:
    if call.action is Action.EGRESS:
        asked = call.arguments
        if asked.get("way") == Way.REQUEST.value:
            url = f"{asked['scheme']}://{asked['host']}:{asked['port']}{asked['path']}"
            return _pair("url", url, str(asked["method"]), {})
        return _pair("host", call.name, "connect", {})
    kind, verb = next(
        (one, verb) for one, (action, verb) in _NAMED.items() if action is call.action
    )
    if kind == "model":
        return _pair(kind, call.name, verb, {"features": list(call.features)})
    more = {"arguments": call.arguments} if kind == "tool" else {}
    return _pair(kind, f"{call.server}.{call.name}", verb, more)


def _pair(kind: str, name: str, verb: str, properties: dict[str, Any]) -> dict[str, Any]:
    resource = {"type": kind, "id": name, "properties": properties}
    return {"action": {"name": verb}, "resource": resource}


def _arguments(resource: Entity) -> dict[str, Any]:
    arguments = resource.properties.get("arguments", {})
    if not isinstance(arguments, dict):
        raise Problem("PC1020", "resource.properties.arguments is an object")
    return arguments


def _features(resource: Entity) -> tuple[str, ...]:
    features = resource.properties.get("features", [])
    if not isinstance(features, list) or not all(map(_feature, features)):
        raise Problem("PC1020", "resource.properties.features is a list of PROVIDER.FEATURE")
    return tuple(features)


def _feature(one: object) -> bool:
    return isinstance(one, str) and _FEATURE.fullmatch(one) is not None


def _outward(call_id: str, action: str, resource: Entity) -> Call:
    if resource.type == "host":
        if action != "connect":
            raise Problem("PC1020", "of a host, the action is connect")
        return outward.connect(call_id, Route.AUTHZEN, resource.id)
    scheme, mark, rest = resource.id.partition("://")
    if not mark:
        raise Problem("PC1020", "the URL is neither http:// nor https://")
    place, slash, path = rest.partition("/")
    return outward.request(
        call_id, Route.AUTHZEN, method=action, scheme=scheme, host=place, target=slash + path or "/"
    )


def _call(
    call_id: str,
    action: Action,
    server: str,
    name: str,
    *,
    arguments: dict[str, Any],
    features: tuple[str, ...] = (),
) -> Call:
    payload = {"server": server, "name": name, "arguments": arguments, "features": list(features)}
    return Call(
        id=call_id,
        route=Route.AUTHZEN,
        action=action,
        server=server,
        name=name,
        method="evaluation",
        arguments=arguments,
        payload=payload,
        body=encode(payload),
        features=features,
    )

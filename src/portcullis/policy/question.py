"""The input document of policy: who asks for what, where and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from portcullis.core.call import Action, Call, Context
from portcullis.core.principal import PrincipalKind, TaskBound
from portcullis.policy.windows import Now

_ARGUED: Final = frozenset({Action.TOOL, Action.EGRESS})
"""The actions whose arguments are policy's business."""
_EXACT: Final = 2**53
"""From here on a float stands for many integers, and the engine finds it equal to all of them."""

encode = msgspec.json.Encoder().encode


class _Principal(msgspec.Struct):
    kind: PrincipalKind
    id: str
    session: str | None


class _Session(msgspec.Struct):
    id: str
    agent: str
    user: str
    subject: dict[str, Any]
    grant: tuple[str, ...] | None
    bounds: tuple[TaskBound, ...]


class Question(msgspec.Struct):
    """The input of a decision; arguments are a tool's, or those of egress.

    ``time`` and ``windows`` are what the policy's own dates and windows make of now (``Now``).
    """

    action: Action
    server: str
    name: str
    arguments: dict[str, Any]
    features: tuple[str, ...]
    principal: _Principal
    session: _Session | None
    environment: str
    time: str | None
    windows: tuple[str, ...]


class Listing(msgspec.Struct):
    """The input of a question of visibility."""

    kind: str
    server: str
    names: Sequence[str]
    principal: _Principal
    session: _Session | None
    environment: str
    time: str | None
    windows: tuple[str, ...]


def asked(call: Call, context: Context, environment: str, now: Now) -> Question:
    """The question that a call is."""
    return Question(
        call.action,
        call.server,
        call.name,
        _comparable(call.arguments) if call.action in _ARGUED else {},
        call.features,
        *who(context, f"{call.server}.{call.name}"),
        environment,
        *now,
    )


def who(context: Context, tool: str = "") -> tuple[_Principal, _Session | None]:
    """Who asks; of the task's bounds, those of ``tool``."""
    principal, session = context.principal, context.session
    return (
        _Principal(principal.kind, principal.id, principal.session),
        None
        if session is None
        else _Session(
            session.id,
            session.agent,
            session.user,
            session.subject,
            session.grant,
            session.bounds.get(tool, ()),
        ),
    )


def _comparable(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, in which a float that is no exact number equals nothing and has no size."""
    return {name: _exact(value) for name, value in arguments.items()}


def _exact(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return {"float": value} if abs(value) >= _EXACT else value
    if kind is dict:
        return {name: _exact(inner) for name, inner in value.items()}
    if kind is list:
        return [_exact(inner) for inner in value]
    return value

"""What an approval is bound to: a code over the exact final call, its caller and its session."""

from __future__ import annotations

import hmac
from typing import Any, Final

from portcullis.core.call import Action, Call, Context
from portcullis.core.quarantine import QUARANTINE
from portcullis.core.trace import trace_of
from portcullis.core.verdict import Hold
from portcullis.wire.json import encode

_CHANGING: Final = ("confidential", QUARANTINE)
"""How the questions begin that make the same call another one."""
_STATE: Final = "requestState"
"""A parameter (MCP 2026-07-28) that the server makes; clients cannot."""
_OTHER_EACH_TIME: Final = "progressToken"
"""A member of ``_meta`` (MCP) that is the gate's own upstream."""


def binding(call: Call, context: Context, hold: Hold, key: bytes) -> str:
    """HMAC-SHA256 (hex) over all that decides what the call does and for whom.

    It lies in the database until the approval is forgotten; without ``key`` (32 bytes, the gate's)
    nobody can try out there what was asked. Where confidential content would go is part of it, and
    that the caller is in quarantine: an approval from before is for less. Two calls have the same
    binding when they do the same, and as many people have to approve them: their ids, traces and
    progress tokens may differ, and so may the state that a server hands out with questions, which
    are bound as they were asked. Nothing else may.
    """
    principal, session = context.principal, context.session
    bound = encode(
        [
            principal.kind,
            principal.id,
            principal.chain,
            session.id if session else "",
            call.action,
            call.server,
            call.name,
            call.method,
            call.features,
            call.arguments,
            _bound(call),
            sorted(one for one in hold.questions if one.startswith(_CHANGING)),
            *([hold.approvers] if hold.approvers > 1 else ()),
        ]
    )
    return hmac.digest(key, bound, "sha256").hex()


def _bound(call: Call) -> Any:
    """What would be sent, with what the server asked in place of its state."""
    whole = sent(call)
    if call.asked is None:
        return whole
    return [call.asked.digest, {name: one for name, one in whole.items() if name != _STATE}]


def sent(call: Call) -> Any:
    """What would be sent, without what tells one message from the next."""
    payload = call.payload
    if call.action is Action.MODEL or type(payload) is not dict or "jsonrpc" not in payload:
        return payload
    params: dict[str, Any] = payload.get("params", {})
    meta = params.get("_meta")
    if type(meta) is not dict:
        return params
    kept = {name: value for name, value in meta.items() if name != _OTHER_EACH_TIME}
    parent = kept.get("traceparent")
    if type(parent) is str and trace_of(parent):
        del kept["traceparent"]
    rest = {name: value for name, value in params.items() if name != "_meta"}
    return rest | ({"_meta": kept} if kept else {})

"""What an approval is bound to: the digest of the exact final call, its caller and its session."""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.call import Action, Call, Context
from portcullis.core.trace import trace_of
from portcullis.core.verdict import Hold
from portcullis.wire.json import digest

_OTHER_EACH_TIME: Final = "progressToken"
"""A member of ``_meta`` (MCP) that is the gate's own upstream."""


def binding(call: Call, context: Context, hold: Hold) -> str:
    """SHA-256 (hex) over all that decides what the call does and for whom.

    So is where confidential content would go: an approval from before it was read is for less.
    Two calls have the same binding when they do the same: their ids, traces and progress tokens
    may differ, nothing else of what is sent may.
    """
    principal, session = context.principal, context.session
    return digest(
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
            sent(call),
            sorted(one for one in hold.questions if one.startswith("confidential")),
        ]
    )


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

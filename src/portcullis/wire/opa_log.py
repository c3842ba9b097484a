"""Decisions in the schema of OPA's decision logs (openpolicyagent.org, "Decision Logs").

``decision_id`` is the leaf's id, and the bundle's revision the digest of the policy that decided.
Of an input stands here what stands in the log: names, and the arguments that the catalogue calls
clear. Every other argument is in ``erased``, by its JSON pointer, as OPA says of what was masked.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final

from portcullis.core.event import Event, EventType

TYPES: Final = (EventType.DECISION, EventType.TOOL_CALL, EventType.LLM_CALL)
"""The events that are decisions; no other has a form here."""
CONTENT_TYPE: Final = "application/json"
_PATH: Final = "portcullis/decision"
_BUNDLE: Final = "portcullis"
_ARGUMENTS: Final = "arguments."


def decision(event: Event, version: str) -> dict[str, Any]:
    """One event of the array, ready to be encoded as JSON; ``version`` is ours."""
    made: dict[str, Any] = {
        "labels": {"id": event.gateway, "app": "portcullis", "version": version},
        "decision_id": event.id,
        "bundles": {_BUNDLE: {"revision": event.policy}},
        "path": _PATH,
        "input": _input(event),
        "result": _result(event),
        "requested_by": event.source,
        "timestamp": event.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
    if event.trace_id:
        made["trace_id"] = event.trace_id
    erased = [
        "/input/arguments/" + name.removeprefix(_ARGUMENTS).replace("~", "~0").replace("/", "~1")
        for name in event.commitments
        if name.startswith(_ARGUMENTS)
    ]
    return made | ({"erased": erased} if erased else {})


def joined(decisions: Sequence[bytes]) -> bytes:
    """The body of a delivery: a JSON array in gzip, the same bytes for the same decisions."""
    return gzip.compress(b"[" + b",".join(decisions) + b"]", mtime=0)


def _input(event: Event) -> dict[str, Any]:
    return {
        "action": event.action,
        "server": event.server,
        "name": event.name,
        "arguments": event.parameters,
        "features": list(event.features),
        "principal": {"kind": event.principal_kind, "id": event.principal},
        "session": event.session or None,
        "route": event.route,
    }


def _result(event: Event) -> dict[str, Any]:
    result = {"allow": event.verdict == "allow", "risk": event.risk, "rule": event.rule}
    more = {"code": event.code, "reason": event.reason, "approval": event.approval}
    return result | {name: value for name, value in more.items() if value}

"""The texts of egress: what an agent sends to a host of the network, and what comes back.

A request is ``host``, ``method``, ``path``, ``query``, ``headers`` (pairs) and ``body`` (text) or
``data`` (base64) with its ``type``; a result is ``status``, ``headers`` and the same body. A tunnel
that is not read has a host alone, and a DNS question a name.
"""

from __future__ import annotations

from typing import Any, Final

from portcullis.core.inspection import Source
from portcullis.wire.walk import Walk

_JSON: Final = ("json", "+json")
_OURS: Final = frozenset({"port", "scheme", "way", "method", "type", "status"})
"""Members that the gate itself writes, in words of its own; a method is of capitals."""


def request(walk: Walk, payload: dict[str, Any]) -> None:
    """What the agent says, wherever it says it: in a name, a path, a header or the body."""
    _parts(walk, payload, Source.MODEL)


def result(walk: Walk, payload: Any) -> None:
    """What the network says: nobody vouches for it."""
    if type(payload) is dict:
        _parts(walk, payload, Source.TOOL)
    else:
        walk.free(payload, (), Source.TOOL)


def _parts(walk: Walk, payload: dict[str, Any], source: Source) -> None:
    kind = str(payload.get("type", ""))
    for name, value in payload.items():
        if name in _OURS:
            continue
        if name == "body" and kind.partition(";")[0].strip().lower().endswith(_JSON):
            walk.json_text(value, (name,), source, name)
        elif name == "data":
            walk.data(value, (name,), source, name, kind.partition(";")[0].strip())
        else:
            walk.free(value, (name,), source, name)

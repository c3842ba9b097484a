"""Events that would not fit into a leaf (65 535 bytes) are shrunk, never lost.

An agent chooses the size of its arguments and of the names it calls; were its event too large
to record, it could not be refused on the record. The rule, in this order until it fits:

1. ``parameters`` leave; ``commitments["parameters"]`` commits to their JSON.
2. ``commitments`` other than ``request``, ``user``, ``subject`` and ``parameters`` leave;
   ``commitments["fields"]`` commits to their JSON.
3. every text longer than 100 characters keeps its first 100, then ``...`` and the commitment to
   the whole; of ``features`` and ``findings`` the first 16 stay.

These commitments are under the key of ``session:ID`` or, without a session, ``KIND:PRINCIPAL``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from portcullis.audit.tiles import MAX_ENTRY
from portcullis.core.errors import Problem
from portcullis.core.event import Event, ResultSummary

Commit = Callable[[str, bytes], str]

_TEXT: Final = 100
_ITEMS: Final = 16
_KEPT: Final[tuple[str, ...]] = ("request", "user", "subject", "parameters")

encode = msgspec.json.Encoder().encode


def fit(event: Event, commit: Commit) -> bytes:
    """The leaf of an event, shrunk when it must be; Problem PC6001 if even that is too large."""
    entry = encode(event)
    if len(entry) <= MAX_ENTRY:
        return entry
    subject = f"{event.principal_kind}:{event.principal}"
    if event.session:
        subject = f"session:{event.session}"
    for step in (_parameters, _commitments, _texts):
        event = step(event, lambda value: commit(subject[:_TEXT], encode(value)))
        entry = encode(event)
        if len(entry) <= MAX_ENTRY:
            return entry
    raise Problem("PC6001", "the event does not fit into the log")


def _parameters(event: Event, commit: Callable[[Any], str]) -> Event:
    held = {**event.commitments, "parameters": commit(event.parameters)}
    return msgspec.structs.replace(event, parameters={}, commitments=held)


def _commitments(event: Event, commit: Callable[[Any], str]) -> Event:
    held = {name: event.commitments[name] for name in _KEPT if name in event.commitments}
    held["fields"] = commit(event.commitments)
    return msgspec.structs.replace(event, commitments=held)


def _texts(event: Event, commit: Callable[[Any], str]) -> Event:
    def cut(value: Any) -> Any:
        match value:
            case str() if len(value) > _TEXT and type(value) is str:
                return f"{value[:_TEXT]}...{commit(value)}"
            case tuple():
                return tuple(cut(item) for item in value[:_ITEMS])
            case dict():
                return {name: cut(item) for name, item in value.items()}
            case ResultSummary(finish=finish):
                return msgspec.structs.replace(value, finish=cut(finish))
            case _:
                return value

    changes = {name: cut(getattr(event, name)) for name in event.__struct_fields__}
    return msgspec.structs.replace(event, **changes)

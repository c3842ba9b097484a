"""How an event is written for people: everything in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from portcullis.audit.query import Record
from portcullis.cli.audit_lines import clean, print_json
from portcullis.core.event import Event, EventType

_DOINGS: Final = frozenset({EventType.ADMIN, EventType.IDENTITY})


def print_records(found: Iterable[Record], *, as_json: bool) -> None:
    """Each in a line of its own, at once."""
    for record in found:
        if as_json:
            print_json({"index": record.index, "event": msgspec.Raw(record.entry)})
        else:
            print(clean(_row(record)), flush=True)


def what_of(event: Event) -> tuple[str, ...]:
    """What was called; of what an operator or the gate did, that first."""
    what = ".".join(filter(None, (event.server, event.name))) or event.method or event.action
    return (event.method, what) if event.method != what and event.type in _DOINGS else (what,)


def outcome_of(event: Event) -> str:
    """What came back, if anything did."""
    if event.result is None:
        return ""
    return f"{'error' if event.result.error else 'ok'} {event.result.bytes} bytes"


def _row(record: Record) -> str:
    event = record.event
    parts = [
        f"{record.index:>6}",
        f"{event.time:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        f"{event.type:<11}",
        f"{event.verdict or '-':<5}",
        event.code,
        event.principal or "-",
        *what_of(event),
        f"credential={event.credential}" if event.credential else "",
        f"session={event.session}" if event.session else "",
        outcome_of(event),
        f"id={event.id}",
        f"decision={event.decision}" if event.decision else "",
        f"proposed_by={event.proposed_by}" if event.proposed_by else "",
        f"looked_up_for={event.looked_up_for}" if event.looked_up_for else "",
        f"({event.reason})" if event.reason else "",
    ]
    return "  ".join(filter(None, parts))

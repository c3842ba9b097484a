"""Events for rules: each a second after the one before, unless it says when."""

from datetime import UTC, datetime, timedelta
from itertools import count

from portcullis.core.alert import Ended, Raised
from portcullis.core.event import Event, EventType, ResultSummary

BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_numbers = count(1)


def event(at: float = 0.0, **fields):
    """An event ``at`` so many seconds after the beginning."""
    kind = fields.pop("type", "tool_call")
    result = fields.pop("result", None)
    return Event(
        v=1,
        id=f"e{next(_numbers)}",
        time=BEGAN + timedelta(seconds=at),
        type=EventType(kind),
        gateway=fields.pop("gateway", "example.org/gate"),
        result=None if result is None else ResultSummary(**result),
        **fields,
    )


def fed(engine, *events):
    """What these events raise, in order."""
    return [one for one in _found(engine, events) if isinstance(one, Raised)]


def over(engine, *events):
    """What these events say is over, in order."""
    return [one for one in _found(engine, events) if isinstance(one, Ended)]


def _found(engine, events):
    return [found for one in events for found in engine.look(one)]

"""Events, facts and reviews for the tests of evidence."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from portcullis.core.event import Event, EventType
from portcullis.review.deployment import Deployment
from portcullis.review.facts import Facts
from portcullis.review.fold import Fold
from portcullis.review.subject import Review

ORIGIN = "example.org/gate"
START = datetime(2030, 1, 1, tzinfo=UTC)
DAY = 86_400


def event(number: int, **fields: Any) -> Event:
    """An allowed tool call of agent ``a``, ``number`` seconds after the start."""
    seconds = fields.pop("seconds", number)
    given = {
        "type": EventType.TOOL_CALL,
        "principal_kind": "agent",
        "principal": "a",
        "route": "mcp-http",
        "server": "orders",
        "name": "search",
        "verdict": "allow",
        "policy": "sha256:1",
        **fields,
    }
    time = START + timedelta(seconds=seconds)
    return Event(v=1, id=f"e{number}", time=time, gateway=ORIGIN, **given)


def admin(number: int, method: str, name: str = "", by: str = "operator", **fields: Any) -> Event:
    """What somebody did to the deployment."""
    given = {"server": "", "policy": "", "parameters": {}, **fields}
    return event(
        number,
        type=EventType.ADMIN,
        method=method,
        name=name,
        principal_kind=by,
        principal="vic" if by else "",
        **given,
    )


def created(number: int, who: str = "agent:a", **parameters: Any) -> Event:
    told = {"owner": "team", "purpose": "help", "review_at": START.timestamp() + 90 * DAY}
    return admin(number, "principals.create", who, parameters=told | parameters)


def result(number: int, decision: int, **fields: Any) -> Event:
    return event(number, type=EventType.TOOL_RESULT, decision=f"e{decision}", **fields)


def entry(one: Event) -> bytes:
    return msgspec.json.encode(one)


def facts(events: Iterable[Event], **period: Any) -> Facts:
    fold = Fold(Facts(origin=ORIGIN), **period)
    for one in events:
        fold.add(entry(one))
    return fold.facts()


def review(events: Iterable[Event] = (), *, after: float = 60, **fields: Any) -> Review:
    """A review of these events ``after`` so many seconds; fields of a deployment or a review."""
    settings = {k: fields.pop(k) for k in list(fields) if k in Deployment.__struct_fields__}
    return Review(
        facts=facts(events),
        deployment=Deployment(trust_domain="example.org", **settings),
        at=START + timedelta(seconds=after),
        **fields,
    )

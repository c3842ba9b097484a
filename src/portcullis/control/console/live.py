"""The live view: what happens at the gate, as it happens, by name and without content."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final, get_args
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from portcullis.control.activity import Activity
from portcullis.control.console.addresses import linked
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.render import Pages
from portcullis.control.console.text import visible
from portcullis.control.live import Feed
from portcullis.core.desk import (
    AgentsWanted,
    LiveEvent,
    LiveFilter,
    LiveKind,
    Seen,
    SeenFilter,
    SessionsWanted,
)
from portcullis.core.errors import Problem
from portcullis.core.event import NOT_REQUIRED
from portcullis.wire.json import encode

FILTERS: Final = frozenset({"kind", "agent", "session", "verdict", "risk"})
KINDS: Final[tuple[LiveKind, ...]] = tuple(one for one in get_args(LiveKind) if one != "resync")
_FIRST: Final = 50
_BESIDE: Final = 10


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the live view, and of every list of decisions.

    ``opens`` leads to the approval that the call consumed or waits for.
    """

    id: str
    at: float
    kind: str
    who: str
    link: str
    what: str
    risk: str
    verdict: str
    code: str
    session: str
    approval: str = ""
    opens: str = ""
    state: str = ""

    @classmethod
    def of(cls, event: LiveEvent) -> Happening:
        """The line of an event."""
        return cls(
            id=str(event.id),
            at=event.at,
            kind=event.kind,
            who=visible(event.agent or event.operator),
            link=f"/agents/{quote(event.agent, safe='')}" if event.agent else "",
            what=visible(_what(event)),
            risk=event.risk,
            verdict=event.state or event.verdict,
            code=event.code,
            session=visible(event.session),
            approval=event.approval,
            opens=_opens(event.approval),
            state=event.state,
        )

    @classmethod
    def seen(cls, seen: Seen) -> Happening:
        """The line of a decision on record."""
        return cls(
            id=f"{seen.log}:{seen.number}",
            at=seen.at,
            kind="decision",
            who=visible(seen.agent),
            link=f"/agents/{quote(seen.agent, safe='')}",
            what=visible(_what(seen)),
            risk=seen.risk,
            verdict=seen.verdict,
            code=seen.code,
            session=visible(seen.session),
            approval=seen.approval,
            opens=_opens(seen.approval),
        )


BLANK: Final = Happening(
    id="", at=0, kind="", who="", link="", what="", risk="", verdict="", code="", session=""
)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An agent or a session, beside the live view: when it did something last."""

    id: str
    link: str
    name: str
    state: str = ""
    at: float = 0.0


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """Who is there; as data, for the page's own module."""

    agents: tuple[Line, ...]
    sessions: tuple[Line, ...]


def routes(doors: Doors, pages: Pages, activity: Activity, feed: Feed) -> list[Route]:
    """The live view and the stream that every page follows."""

    async def live(request: Request, visitor: Visitor) -> Response:
        wanted = filtered(request.query_params)
        beside = await _beside(activity, wanted.agent)
        if "application/json" in request.headers.get("accept", ""):
            return Response(encode(beside), media_type="application/json")
        decided = SeenFilter(
            agent=wanted.agent, session=wanted.session, verdict=wanted.verdict, risk=wanted.risk
        )
        found = await activity.decisions(decided, "", _FIRST)
        return pages.render(
            request,
            visitor,
            "live.html",
            rows=[Happening.seen(one) for one in found.decisions],
            blank=BLANK,
            blank_line=Line(id="", link="", name=""),
            wanted=wanted,
            kinds=KINDS,
            kind=request.query_params.get("kind", ""),
            beside=beside,
        )

    async def events(request: Request, visitor: Visitor) -> Response:
        wanted = filtered(request.query_params)
        stream = _stream(feed, wanted, visitor.name)  # the door ends it with the login
        await anext(stream)  # too many watch already: that is an answer of its own
        return StreamingResponse(stream, media_type="text/event-stream")

    return [
        doors.page("/live", live, query=FILTERS),
        doors.stream("/events", events, query=FILTERS),
    ]


def filtered(query: Mapping[str, str]) -> LiveFilter:
    """What an address wants to see. Raises Problem PC1020 for a kind that there is not."""
    kind = query.get("kind", "")
    if kind and kind not in KINDS:
        raise Problem("PC1020", "kind: there is no such kind of event")
    return LiveFilter(
        kinds=tuple(one for one in KINDS if one == kind),
        agent=query.get("agent", ""),
        session=query.get("session", ""),
        verdict=query.get("verdict", ""),
        risk=query.get("risk", ""),
    )


async def _beside(activity: Activity, agent: str) -> Beside:
    """Some agents by name, and the newest open sessions."""
    agents = (await activity.agents(AgentsWanted(name=agent), "", _BESIDE)).agents
    sessions = (await activity.sessions(SessionsWanted(agent=agent), "", _BESIDE)).sessions
    return Beside(
        agents=tuple(
            Line(
                id=one.record.id,
                link=f"/agents/{one.record.id}",
                name=one.record.id,
                state=one.record.state,
                at=one.last_seen,
            )
            for one in agents
        ),
        sessions=tuple(
            Line(
                id=one.id,
                link=f"/decisions{linked({'session': one.id})}",
                name=visible(one.agent),
                at=one.last_seen or one.opened_at,
            )
            for one in sessions
        ),
    )


async def _stream(feed: Feed, wanted: LiveFilter, operator: str) -> AsyncIterator[bytes]:
    """Server-sent events; the first item only says that there is a subscription."""
    async with feed.subscribe(wanted, operator) as events:
        yield b""
        yield b": here\n\n"
        async for event in events:
            yield b"data: " + encode(Happening.of(event)) + b"\n\n"


def _opens(approval: str) -> str:
    known = approval and approval != NOT_REQUIRED
    return f"/approvals/{quote(approval, safe='')}" if known else ""


def _what(event: LiveEvent | Seen) -> str:
    name = "" if event.name == event.method else event.name
    return f"{event.method} {'.'.join(filter(None, (event.server, name)))}".strip()

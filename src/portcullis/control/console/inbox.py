"""The inbox: calls that wait for a human, the oldest first, by name and without their content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl, quote

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from portcullis.control.approvals import Approving
from portcullis.control.console.addresses import linked
from portcullis.control.console.door import Doors, Visitor
from portcullis.control.console.guard import only
from portcullis.control.console.reasons import reason_of
from portcullis.control.console.render import Pages
from portcullis.control.console.text import visible
from portcullis.control.desk import Desk
from portcullis.core.approval import Approval, State
from portcullis.core.call import RiskClass
from portcullis.core.desk import Wanted
from portcullis.core.errors import Problem
from portcullis.core.rights import Right
from portcullis.wire.json import encode

ALL: Final = "all"
FILTERS: Final = frozenset({"agent", "tool", "risk", "state", "session"})
_PAGE: Final = 50


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which approvals, as a page's address says it. ``tool`` is ``SERVER`` or ``SERVER.NAME``."""

    agent: str = ""
    tool: str = ""
    risk: str = ""
    state: str = State.PENDING
    session: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """Those of an address; an empty one counts as none. Raises Problem PC1020."""
        given = {name: query[name] for name in FILTERS if query.get(name)}
        asked = cls(**given)
        if asked.state not in (ALL, *State):
            raise Problem("PC1020", "state: there is no such state")
        if asked.risk and asked.risk not in tuple(RiskClass):
            raise Problem("PC1020", "risk: there is no such class")
        return asked

    @classmethod
    def parsed(cls, query: str) -> Filters:
        """Those of what ``query`` returned. Raises Problem PC1020."""
        return cls.of(dict(parse_qsl(query.removeprefix("?"))))

    def wanted(self) -> Wanted:
        """The same for the desk."""
        server, _, name = self.tool.partition(".")
        return Wanted(
            states=tuple(State) if self.state == ALL else (State(self.state),),
            agent=self.agent,
            server=server,
            name=name,
            risk=self.risk,
            session=self.session,
        )

    def query(self, **more: str) -> str:
        """The same as the end of an address; "" when it says nothing."""
        plain = Filters()
        given = {name: getattr(self, name) for name in FILTERS}
        kept = {name: text for name, text in given.items() if text != getattr(plain, name)}
        return linked(kept, **more)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An approval in the list; ``why`` it is held, ``note`` what else there is to know, or "".

    ``link`` leads to it, ``whose`` to its agent.
    """

    id: str
    link: str
    agent: str
    whose: str
    tool: str
    risk: str
    state: str
    created_at: float
    expires_at: float
    why: str
    note: str

    @classmethod
    def of(cls, approval: Approval, filters: Filters) -> Row:
        """The row of an approval in a list under ``filters``."""
        return cls(
            id=approval.id,
            link=f"/approvals/{approval.id}{filters.query()}",
            agent=visible(approval.agent),
            whose=f"/agents/{quote(approval.agent, safe='')}",
            tool=visible(named(approval)),
            risk=approval.risk,
            state=approval.state,
            created_at=approval.created_at,
            expires_at=approval.expires_at,
            why=visible(approval.why),
            note=_note(approval),
        )


_BLANK: Final = Row(
    id="",
    link="",
    agent="",
    whose="",
    tool="",
    risk="",
    state="",
    created_at=0,
    expires_at=0,
    why="",
    note="",
)


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    """The inbox as data, for its own module."""

    items: tuple[Row, ...]
    waiting: int
    more: bool


def named(approval: Approval) -> str:
    """What is called, by its qualified name; ``?`` stands for a name that may be content."""
    return f"{approval.server}.{approval.name}" if approval.server else approval.name


def routes(doors: Doors, pages: Pages, desk: Desk, approving: Approving) -> list[Route]:
    """The inbox, and letting an agent ask again."""

    async def inbox(request: Request, visitor: Visitor) -> Response:
        filters = Filters.of(request.query_params)
        cursor = request.query_params.get("cursor", "")
        found = await desk.approvals(filters.wanted(), cursor, _PAGE)
        rows = tuple(Row.of(one, filters) for one in found.approvals)
        waiting = await desk.waiting()
        if "application/json" in request.headers.get("accept", ""):
            listed = _Listed(items=rows, waiting=waiting, more=bool(found.following))
            return Response(encode(listed), media_type="application/json")
        return pages.render(
            request,
            visitor,
            "inbox.html",
            rows=rows,
            blank=_BLANK,
            waiting=waiting,
            filters=filters,
            cursor=cursor,
            following=filters.query(cursor=found.following) if found.following else "",
            frozen=await approving.frozen(),
            done=await _done(request.query_params.get("done", "")),
            states=(*State, ALL),
            risks=tuple(RiskClass),
        )

    async def _done(approval_id: str) -> Approval | None:
        """The approval that was just decided: what it is now, whatever the address says."""
        try:
            return await approving.get(approval_id) if approval_id else None
        except Problem as problem:
            if problem.code != "PC3047":
                raise
            return None

    async def lift(request: Request, visitor: Visitor, form: Mapping[str, str]) -> Response:
        only(form, "reason")
        await approving.lift(visitor.context, request.path_params["name"], reason_of(form))
        return RedirectResponse("/", status_code=303)

    return [
        doors.page("/", inbox, query=FILTERS | {"cursor", "done"}),
        doors.form("/agents/{name}/lift", lift, right=Right.APPROVALS_LIFT),
    ]


async def after(desk: Desk, decided: Approval, filters: Filters) -> str:
    """Where to go after a decision: to the list, at the call that comes next in it."""
    found = await desk.approvals(filters.wanted(), "", _PAGE)
    later = _following(found.approvals, decided)
    place = f"#a-{later.id}" if later else ""
    return f"/{filters.query(done=decided.id)}{place}"


def _following(approvals: Iterable[Approval], decided: Approval) -> Approval | None:
    """The first that was asked after ``decided``, or else the first."""
    others = [one for one in approvals if one.id != decided.id]
    later = (one for one in others if one.created_at >= decided.created_at)
    return next(later, next(iter(others), None))


def _note(approval: Approval) -> str:
    if approval.state is not State.PENDING:
        return f"by {visible(approval.decided_by)}" if approval.decided_by else ""
    if approval.endorsed_by:
        return f"approved by {visible(approval.endorsed_by)}, one more"
    return "escalated" if approval.escalated_at else "reminded" if approval.reminded_at else ""

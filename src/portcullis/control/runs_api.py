"""The API of ``portcullis run``: what box an agent is in, and how long its session is open.

The launcher says so under the agent's own identity, from outside of the box: what is in the box
cannot reach these routes (``client.connector`` carries none of them). It is the launcher's word,
and whoever holds the identity could give it: the record says what was reported, and by whom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import Field

from portcullis.control.edge import Edge
from portcullis.control.records import Records
from portcullis.control.services import Services
from portcullis.control.shapes import BODY, CREDENTIAL, PrincipalName, Shape, refusals
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.ports import KillFeed
from portcullis.core.principal import PrincipalKind
from portcullis.core.sandbox import Ending, Hold
from portcullis.core.session_ports import SessionState

HOLD_SECONDS: Final = 10.0
"""So long a question about a session that stays open waits for its answer."""
_LOOK_SECONDS: Final = 0.25
_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_HOLDS: Final = tuple(one.value for one in Hold)

RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
HoldName = Annotated[str, Field(json_schema_extra={"enum": list(_HOLDS)}, max_length=32)]
EndingName = Annotated[
    str, Field(json_schema_extra={"enum": [one.value for one in Ending]}, max_length=32)
]


class RunRequest(Shape):
    """A box that stands, before the agent in it begins. ``agent`` is who asks, and nobody else.

    ``command`` is the program's name alone. ``enforced`` is what really holds the box.
    """

    agent: PrincipalName
    command: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f/]{1,64}$")]
    profile: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    adapter: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    enforced: Annotated[list[HoldName], Field(max_length=len(_HOLDS))]


class RunBegun(Shape):
    """By what name its end is reported."""

    run: str


class RunEndRequest(Shape):
    """How it ended: ``status`` is what a shell would show."""

    agent: PrincipalName
    why: EndingName
    status: Annotated[int, Field(ge=0, le=255)]


class SessionStands(Shape):
    """Whether the session is open."""

    open: bool


class Runs:
    """What the routes stand on. ``drain`` has those who wait for a session's end answered."""

    def __init__(
        self,
        sessions: SessionState,
        feed: KillFeed,
        records: Records,
        new_id: Callable[[], str],
    ) -> None:
        self._sessions = sessions
        self._feed = feed
        self._records = records
        self._new_id = new_id
        self._draining = False

    def drain(self) -> None:
        """Answer who waits, and let nobody wait any more."""
        self._draining = True

    async def begun(self, context: Context, body: RunRequest) -> str:
        """Put a box on record; its run's name. Problem PC2004, PC1020, PC2006, PC6001."""
        self._own(context, body.agent)
        if not set(body.enforced) <= set(_HOLDS):
            raise Problem("PC1020", "enforced: there is no such hold")
        session = context.principal.session
        if session is not None and await self._sessions.get(session) is None:
            raise Problem("PC2006", "the session of this token is not open")
        run = self._new_id()
        enforced = sorted(set(body.enforced))
        said = {
            "run": run,
            "command": body.command,
            "profile": body.profile,
            "adapter": body.adapter,
            "enforced": enforced,
            "lacking": sorted(set(_HOLDS) - set(enforced)),
        }
        name = f"agent:{body.agent}"
        await self._records.act(context, "run.start", name, route="api", parameters=said)
        return run

    async def ended(self, context: Context, run: str, body: RunEndRequest) -> None:
        """Put its end on record. Problem PC2004, PC1020, PC6001."""
        self._own(context, body.agent)
        if body.why not in {one.value for one in Ending}:
            raise Problem("PC1020", "why: there is no such end")
        said = {"run": run, "why": body.why, "status": body.status}
        name = f"agent:{body.agent}"
        await self._records.act(context, "run.end", name, route="api", parameters=said)

    async def stands(self, context: Context) -> bool:
        """Whether the session of a token is open, and not cut off.

        That it is, is known after ``HOLD_SECONDS``.
        """
        session = context.principal.session
        if session is None:
            raise Problem("PC2006", "the token is not of a session")
        for _ in range(round(HOLD_SECONDS / _LOOK_SECONDS)):
            found = await self._sessions.get(session)
            if found is None or self._feed.reason(context.principal, found) is not None:
                return False
            if self._draining:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    def _own(self, context: Context, agent: str) -> None:
        if context.principal.id != agent:
            raise Problem("PC2004", "an agent's box is reported under that agent's identity")


def of(services: Services) -> Runs:
    """The same, of the services of a process."""
    return Runs(services.sessions, services.feed, services.records(), services.new_id)


def router(edge: Edge, runs: Runs) -> APIRouter:
    """The routes on the gate's listeners."""
    found = APIRouter(route_class=edge.door(PrincipalKind.AGENT))

    @found.post(
        "/v1/runs",
        status_code=201,
        responses=refusals(*CREDENTIAL, *BODY, "PC2006"),
        openapi_extra=_BEARER,
    )
    async def report_box(request: Request, body: RunRequest) -> RunBegun:
        """Report the box that the calling agent is about to run in."""
        return RunBegun(run=await runs.begun(request.state.context, body))

    @found.post(
        "/v1/runs/{run}/end",
        status_code=204,
        responses=refusals(*CREDENTIAL, *BODY),
        openapi_extra=_BEARER,
    )
    async def report_end(request: Request, run: RunId, body: RunEndRequest) -> None:
        """Report how it ended."""
        await runs.ended(request.state.context, run, body)

    @found.get(
        "/v1/runs/session",
        responses=refusals(*CREDENTIAL, "PC1021", "PC2006"),
        openapi_extra=_BEARER,
    )
    async def session_stands(request: Request) -> SessionStands:
        """Answer when the token's session has ended, or after ten seconds that it has not."""
        return SessionStands(open=await runs.stands(request.state.context))

    return found

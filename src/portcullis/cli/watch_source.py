"""What waits for a human, again and again: from the gate that runs, or else from the database.

The list is the truth, and the gate's live events only say when to look: an event that is missed
costs seconds, nothing else. A gate that stops, starts or moves is followed.
"""

from __future__ import annotations

import contextlib
import http.client
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from portcullis.bootstrap import authority_of, local_operator
from portcullis.bootstrap.records import recorded, records
from portcullis.cli.operate import RunningGate, running_gate
from portcullis.cli.remote import Remote
from portcullis.cli.remote_call import TOKEN_SECONDS
from portcullis.config import Config
from portcullis.control.approvals_api import ApprovalList, ApprovalView
from portcullis.core.cursor import cursor_of
from portcullis.core.desk import MOST, Wanted
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import TokenAuthority
from portcullis.store.approvals import SqlApprovals
from portcullis.store.approvals_pages import LIVE

_MOST: Final = 1000
"""So many are watched, the oldest; the others move up."""
_POLL_SECONDS: Final = 1.0
_LIVE_POLL_SECONDS: Final = 10.0
"""Between two looks when the gate says by itself what happens; reminders are no haste."""
_SETTLE_SECONDS: Final = 0.02
"""What happens together is read together."""
_SILENCE_SECONDS: Final = 40.0
"""A gate that says nothing for so long, not even that it lives, is asked anew."""


class Snapshot(NamedTuple):
    """What waits (``fault``: why that is not known), and what does no longer since the last one.

    Of ``settled``, what is still pending is as it was seen last: what it became is not known.
    ``total`` is how many wait, also beyond those that are watched. ``gate`` says whether a gate
    runs, and ``live`` whether it tells by itself what happens.
    """

    waiting: tuple[ApprovalView, ...] = ()
    settled: tuple[ApprovalView, ...] = ()
    frozen: tuple[str, ...] = ()
    gate: bool = False
    live: bool = False
    fault: Problem | None = None
    total: int = 0


@contextlib.contextmanager
def watching(config: Config, told: Callable[[], None] = lambda: None) -> Iterator[Watching]:
    """Snapshots as things change, until the block ends; ``told`` is called after each."""
    source = Watching(config, told)
    looking = threading.Thread(target=source.look, daemon=True)
    hearing = threading.Thread(target=source.hear, daemon=True)
    looking.start()
    hearing.start()
    try:
        yield source
    finally:
        source.stop()
        looking.join(1.0)


class Watching:
    """Two threads: ``look`` reads the list into ``snapshots``, ``hear`` says when."""

    def __init__(self, config: Config, told: Callable[[], None]) -> None:
        self.snapshots: queue.SimpleQueue[Snapshot] = queue.SimpleQueue()
        self._config = config
        self._told = told
        self._stopped = threading.Event()
        self._due = threading.Event()
        self._live = False
        self._authority: TokenAuthority | None = None

    def look_now(self) -> None:
        """Do not wait for the next time."""
        self._due.set()

    def stop(self) -> None:
        """End both threads; that which hears ends when the gate next says something."""
        self._stopped.set()
        self._due.set()

    def look(self) -> None:
        """Put a snapshot whenever one differs from that before."""
        last: Snapshot | None = None
        while not self._stopped.is_set():
            self._due.clear()
            now = self._now(last)
            if last is None or now.settled or now != last._replace(settled=()):
                self.snapshots.put(now)
                self._told()
            last = now
            self._due.wait(_LIVE_POLL_SECONDS if self._live else _POLL_SECONDS)
            self._stopped.wait(_SETTLE_SECONDS)

    def hear(self) -> None:
        """Say when to look, as the gate's live events have it."""
        while not self._stopped.is_set():
            try:
                gate = running_gate(self._config)
                if gate is not None:
                    self._listen(gate)
            except (Problem, OSError, http.client.HTTPException):
                self._live = False  # there is the clock
            self._live = False
            self._due.set()
            self._stopped.wait(_POLL_SECONDS)

    def _now(self, last: Snapshot | None) -> Snapshot:
        last = last or Snapshot()
        gate = None
        try:
            gate = running_gate(self._config)
            with self._asked(gate) as lists:
                waits, frozen, total = _pages(lists)
                watched = {one.id for one in waits}
                gone = [one for one in last.waiting if one.id not in watched]
                found = lists.became(gone) if gone else {}
        except Problem as problem:  # it may be back in a moment
            return last._replace(settled=(), gate=gate is not None, live=False, fault=problem)
        still = {name for name, one in found.items() if one.state == "pending"}
        settled = tuple(found.get(one.id, one) for one in gone if one.id not in still)
        return Snapshot(waits, settled, frozen, gate is not None, live=self._live, total=total)

    @contextlib.contextmanager
    def _asked(self, gate: RunningGate | None) -> Iterator[_Lists]:
        if gate is not None:
            yield _OfGate(Remote(gate.control, self._issuer()))
            return
        if not recorded(self._config):
            yield _Nothing()
            return
        engine = records(self._config)
        try:
            yield _OfStore(SqlApprovals(engine))
        finally:
            engine.dispose()

    def _issuer(self) -> TokenAuthority:
        if self._authority is None:
            self._authority = authority_of(self._config)
        return self._authority

    def _listen(self, gate: RunningGate) -> None:
        """Until the stream of events ends, which it does when the token is over."""
        minted = self._issuer().mint(
            PrincipalKind.OPERATOR, local_operator(), ttl=TOKEN_SECONDS, roles=("viewer",)
        )
        place = urlsplit(gate.control)
        connection = http.client.HTTPConnection(
            place.hostname or "", place.port, timeout=_SILENCE_SECONDS
        )
        headers = {"authorization": f"Bearer {minted.token}", "accept": "text/event-stream"}
        try:
            connection.request("GET", "/api/v1/live?kind=approval", headers=headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                return
            self._live = True
            self._due.set()
            while (line := answer.readline(65536)) and not self._stopped.is_set():
                if line.startswith(b"data:"):
                    self._due.set()
        finally:
            connection.close()


class _Lists(Protocol):
    """Who knows what waits: a page of it, and by id what others are now, as far as it knows."""

    def page(self, cursor: str) -> ApprovalList: ...

    def became(self, gone: Collection[ApprovalView]) -> dict[str, ApprovalView]: ...


class _OfGate:
    def __init__(self, gate: Remote) -> None:
        self._gate = gate

    def page(self, cursor: str) -> ApprovalList:
        return self._gate.waiting(cursor, MOST)

    def became(self, gone: Collection[ApprovalView]) -> dict[str, ApprovalView]:
        """The list has every state, but not what nobody decided in time."""
        found: dict[str, ApprovalView] = {}
        left = sorted(gone, key=_key)
        while left:
            made, name = _key(left[-1])
            page = self._gate.asked(cursor_of(made, f"{name}0"), MOST)  # from this very one on
            found |= {one.id: one for one in page.approvals}
            end = _key(page.approvals[-1]) if page.following and page.approvals else (0.0, "")
            left = [one for one in left[:-1] if _key(one) < end]
        now = {one.id: found.get(one.id) or _as_of_now(one) for one in gone}
        return {name: one for name, one in now.items() if name in found or one.state == "expired"}


class _OfStore:
    def __init__(self, store: SqlApprovals) -> None:
        self._store = store

    def page(self, cursor: str) -> ApprovalList:
        found = self._store.page(Wanted(), cursor, MOST, time.time())
        views = [ApprovalView.of(one) for one in found.approvals]
        return ApprovalList(
            approvals=views,
            frozen=list(self._store.frozen()),
            following=found.following,
            waiting=self._store.waiting(time.time()),
        )

    def became(self, gone: Collection[ApprovalView]) -> dict[str, ApprovalView]:
        found = filter(None, (self._store.get(one.id) for one in gone))
        return {one.id: _as_of_now(ApprovalView.of(one)) for one in found}


class _Nothing:
    def page(self, cursor: str) -> ApprovalList:
        del cursor
        return ApprovalList(approvals=[], frozen=[])

    def became(self, gone: Collection[ApprovalView]) -> dict[str, ApprovalView]:
        del gone
        return {}


def _pages(lists: _Lists) -> tuple[tuple[ApprovalView, ...], tuple[str, ...], int]:
    """What waits, the oldest first, who may not ask, and how many wait in all."""
    found: list[ApprovalView] = []
    page = lists.page("")
    while page.following and len(found) < _MOST - MOST:
        found += page.approvals
        page = lists.page(page.following)
    found += page.approvals
    total = max(page.waiting, len(found)) if page.following else len(found)
    return tuple(found), tuple(page.frozen), total


def _key(one: ApprovalView) -> tuple[float, str]:
    """What the gate's list is ordered by."""
    return one.created_at, one.id


def _as_of_now(one: ApprovalView) -> ApprovalView:
    """The same, expired if it was open until its time was over, recorded or not."""
    if one.state in LIVE and one.expires_at <= time.time():
        return one.model_copy(update={"state": "expired"})
    return one

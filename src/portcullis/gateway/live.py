"""What is connected and what runs, so that whoever is cut off loses it at once.

Containment is consulted on every request, result and chunk all the same. This is for what waits:
a silent upstream, an idle connection, a caller that is gone. A run is ended by cancelling its task
with the Problem as the cancellation's message; ``cuttable`` and ``ended`` make a Problem of it
again where the record is written and the answer made.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from typing import Any, Final, Protocol

import structlog

from portcullis.core.call import Context
from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.core.feed import Swept
from portcullis.core.ports import Clock, KillFeed
from portcullis.core.principal import Principal, PrincipalKind

log = structlog.get_logger(__name__)

GRACE: Final = 0.1
"""Seconds in which a run that was cut off may still tell its caller why."""
LEFT: Final = "PC5014"
STALE: Final = "PC4002"
SOON: Final = 0.004
"""Seconds after which idle connections follow: what runs is told first, at all the gateways that
share the processors; idle connections can do nothing."""
RETIRE: Final = 0.75
"""The part of a certificate's life after which an answer is the last of its connection."""


class Held(Protocol):
    """What ``Live`` asks of ``identity.trust.Trust``."""

    def holds(self, peer: Peer) -> bool:
        """Whether the authority that vouched for it is still trusted."""
        ...


class Connection:
    """One client's connection. ``principal`` is whose certificate it was made with, if known."""

    __slots__ = ("_abort", "gone", "peer", "principal", "run")

    def __init__(self, abort: Callable[[], None], peer: Peer | None = None) -> None:
        self._abort = abort
        self.peer = peer
        self.principal: Principal | None = None
        self.run: Run | None = None
        self.gone = False

    def abort(self) -> None:
        """Close the socket at once, whatever waits in it."""
        if not self.gone:
            self._abort()

    def lost(self) -> None:
        """The socket is closed: what runs for its caller ends."""
        self.gone = True
        if self.run is not None:
            self.run.stop(left())


class Run:
    """One call that runs. ``stop`` ends it, once: who is cut off is not cancelled again."""

    __slots__ = ("_stop", "connection", "context")

    def __init__(
        self, context: Context, stop: Callable[[Problem], object], connection: Connection | None
    ) -> None:
        self.context = context
        self.connection = connection
        self._stop: Callable[[Problem], object] | None = stop

    def stop(self, problem: Problem) -> bool:
        """End it for this reason; False when it was ended before."""
        stop, self._stop = self._stop, None
        if stop is not None:
            stop(problem)
        return stop is not None

    def ends_by(self, stop: Callable[[Problem], object]) -> Callable[[Problem], object] | None:
        """End it in this way from now on; how it would have been ended, None if it was already."""
        before = self._stop
        if before is not None:
            self._stop = stop
        return before

    def over(self) -> None:
        """It has ended: what serves the next one is not stopped in its place."""
        self._stop = None


_running: ContextVar[Run | None] = ContextVar("running", default=None)


class _Among:
    """Keeps a run among the others while it lasts; a class, because every call enters one."""

    __slots__ = ("_before", "_run", "_runs")

    def __init__(self, runs: set[Run], run: Run) -> None:
        self._runs = runs
        self._run = run

    def __enter__(self) -> None:
        self._runs.add(self._run)
        self._before: Token[Run | None] = _running.set(self._run)

    def __exit__(self, *_: object) -> None:
        run = self._run
        _running.reset(self._before)
        self._runs.discard(run)
        run.over()
        if run.connection is not None:
            run.connection.run = None


def current_run() -> Run | None:
    """What runs for a caller in this task, or in the one that began it."""
    return _running.get()


class Live:
    """The connections and runs of one process. Use it from one event loop.

    ``trust_domain`` is ours: a certificate of it names its principal. One of another domain is
    known by the first request that was admitted on its connection.
    """

    def __init__(self, feed: KillFeed, trust: Held, trust_domain: str, clock: Clock) -> None:
        self._feed = feed
        self._clock = clock
        self._trust = trust
        self._trust_domain = trust_domain
        self._connections: set[Connection] = set()
        self._runs: set[Run] = set()
        self._swept = Swept()

    def swept(self) -> Swept:
        """How many runs and connections ``sweep`` has ended so far."""
        return self._swept

    def connect(self, connection: Connection) -> None:
        """Keep a connection that a certificate was shown on.

        Raises Problem PC4001 for who is cut off. What was cut before is refused here, what is cut
        later is swept.
        """
        peer = connection.peer
        if peer is None:
            return
        named = peer.id.principal() if peer.id.trust_domain == self._trust_domain else None
        if named is not None:
            connection.principal = _holder(peer, *named)
        problem = self._against(connection)
        if problem is not None:
            raise problem
        self._connections.add(connection)

    def disconnect(self, connection: Connection) -> None:
        """The connection is closed."""
        self._connections.discard(connection)

    def check(self, connection: Connection) -> None:
        """Raise Problem PC2022 when the certificate has expired while its connection was open."""
        peer = connection.peer
        if peer is not None and self._clock.now() >= peer.expires_at:
            raise Problem("PC2022", "the certificate expired while the connection was open")

    def retired(self, connection: Connection) -> bool:
        """Whether the next answer on it is the last: the client should have a new SVID by now."""
        peer = connection.peer
        if peer is None:
            return False
        life = peer.expires_at - peer.issued_at
        return self._clock.now() >= peer.issued_at + RETIRE * life

    def lasts(self, connection: Connection) -> float:
        """For how many seconds it may stay open without a request: as long as its certificate.

        To close it earlier would meet requests that are on their way.
        """
        peer = connection.peer
        return math.inf if peer is None else peer.expires_at - self._clock.now()

    def running(
        self, context: Context, connection: Connection | None
    ) -> AbstractContextManager[None]:
        """Keep the current task, which serves a request, within reach of a cut; enter it at once.

        Raises Problem PC5014 when the caller has left already.
        """
        task = asyncio.current_task()

        def stop(problem: Problem) -> None:
            if task is not None:
                task.cancel(problem)

        run = Run(context, stop, connection)
        if connection is not None:
            if connection.gone:
                raise left()
            connection.run = run
            if connection.peer is not None and connection.principal is None:
                principal = context.principal
                connection.principal = _holder(connection.peer, principal.kind, principal.id)
        return _Among(self._runs, run)

    def holding(
        self, context: Context, stop: Callable[[Problem], None]
    ) -> AbstractContextManager[None]:
        """Keep something else that runs for a caller within reach of a cut."""
        return _Among(self._runs, Run(context, stop, None))

    def sweep(self) -> None:
        """End what belongs to whoever the feed now cuts off or whose authority is trusted no more.

        While the feed is stale every run ends: who is cut off is not known then. Runs are cancelled
        at once, idle connections are closed ``SOON`` and the connections of runs after ``GRACE``.
        Everybody else is left alone. Call it after every change of either, on the loop.
        """
        began = self._clock.monotonic()
        idle: list[Connection] = []
        stopped, last = self._stop_runs()
        judged: dict[tuple[str, ...], Problem | None] = {}
        for connection in tuple(self._connections):
            shown = _shown(connection)
            if shown not in judged:
                judged[shown] = self._against(connection)
            problem = judged[shown]
            if problem is None:
                continue
            if connection.run is None:
                idle.append(connection)
            else:
                stopped += connection.run.stop(problem)
                last.append(connection)
        ended = len({*map(id, idle), *map(id, last)})
        self._swept = Swept(self._swept.runs + stopped, self._swept.connections + ended)
        loop = asyncio.get_running_loop()
        for connections, seconds in ((idle, SOON), (last, GRACE)):
            if connections:
                loop.call_later(seconds, self._close, connections, began)

    def _stop_runs(self) -> tuple[int, list[Connection]]:
        """End the runs of who is cut off: how many it were, and what connections they came by."""
        stopped = 0
        last: list[Connection] = []
        stale = self._feed.stale()
        for run in tuple(self._runs):
            context = run.context
            reason = self._feed.reason(context.principal, context.session)
            if reason is not None:
                stopped += run.stop(Problem("PC4001", reason))
                if run.connection is not None:
                    last.append(run.connection)
            elif stale:
                stopped += run.stop(Problem(STALE, "the gate lost touch with its kill feed"))
        return stopped, last

    def _close(self, connections: list[Connection], since: float) -> None:
        for connection in connections:
            connection.abort()
        took = self._clock.monotonic() - since
        log.info("connections_cut", count=len(connections), milliseconds=round(took * 1000, 2))

    def _against(self, connection: Connection) -> Problem | None:
        """Why a connection may not stay."""
        peer, principal = connection.peer, connection.principal
        if peer is not None and not self._trust.holds(peer):
            return Problem("PC2021", "the certificate's authority is trusted no more")
        reason = None if principal is None else self._feed.reason(principal, None)
        return None if reason is None else Problem("PC4001", reason)


def left() -> Problem:
    """What ends the call of a caller that went away."""
    return Problem(LEFT, "the client went away")


def ended(error: asyncio.CancelledError) -> Problem | None:
    """Why ``Live`` cancelled the current task, which thereby goes on; None for any other cancel.

    Call it once for each cancellation, where the task is to answer or record the Problem.
    """
    problem = error.args[0] if error.args else None
    if not isinstance(problem, Problem):
        return None
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
    return problem


class _Cuttable:
    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, asyncio.CancelledError):
            problem = ended(error)
            if problem is not None:
                raise problem from None


_CUTTABLE: Final = _Cuttable()


def cuttable() -> AbstractContextManager[None]:
    """Raise the Problem that the block was cut with, in place of its cancellation."""
    return _CUTTABLE


async def settled(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait for tasks that were cancelled. A cut meanwhile keeps its reason (gather's would not)."""
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # somebody has seen it


async def quietly(sending: Awaitable[None]) -> None:
    """Send the last of an answer; a client that is not there to read it loses only that."""
    try:
        with cuttable():
            await sending
    except Problem as problem:
        log.info("answer_not_read", code=problem.code)


def _shown(connection: Connection) -> tuple[str, ...]:
    """What a connection is judged by: texts alone, which are compared at once."""
    peer, who = connection.peer, connection.principal
    shown = ("",) if peer is None else (peer.thumbprint, peer.serial, peer.anchor)
    return shown if who is None else (*shown, who.kind, who.id)


def _holder(peer: Peer, kind: PrincipalKind, name: str) -> Principal:
    """The principal of a certificate, as the feed can name it."""
    return Principal(
        kind=kind,
        id=name,
        credential=f"svid:{peer.serial}",
        expires_at=peer.expires_at,
        svid=peer.serial,
        issued_at=peer.issued_at,
    )

"""The breakers at work: what opens, tries and closes them, and who is told.

Everything here is told of calls as they are decided and end; the checks ask what may go. What
opens a breaker acts in this process at once; its record and the others' knowledge follow.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, TypeAlias

import structlog

from portcullis.config.breakers import AgentBreaker, UpstreamBreaker
from portcullis.config.breakers import Breakers as Settings
from portcullis.core.alarm import Alarm
from portcullis.core.breaker import TOLD, Breaker, Key, State
from portcullis.core.breaker_ports import BreakerBook
from portcullis.core.call import Action, Call, Context, Result, RiskClass, Route
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.verdict import Allow, Deny
from portcullis.oversight.breakers import (
    AgentWindow,
    Came,
    UpstreamWindow,
    against_agent,
    of_agent,
    of_upstream,
)

log = structlog.get_logger(__name__)

Record: TypeAlias = Callable[[str, Mapping[str, Any]], None]
"""Puts an event of this gate's on record: its method and parameters. Raises Problem PC6001."""

_PROBES: Final = 4096
"""Most probes under way that are remembered: calls that were cancelled tell nobody."""
_AGENTS: Final = 1024
"""From so many agents on, those of whom nothing is counted any more are forgotten."""
_CODES: Final = {"agent": "PC5023", "upstream": "PC5022"}


class Breakers:
    """The breakers of one gateway. An ``Observer`` of its calls; use it from one event loop.

    ``trip`` and ``spent`` are for whoever counts something else about an agent.
    """

    def __init__(
        self,
        book: BreakerBook,
        settings: Settings,
        *,
        alarm: Alarm,
        record: Record,
        clock: Clock,
        gateway: str,
    ) -> None:
        self._book = book
        self._settings = settings
        self._alarm = alarm
        self._record = record
        self._clock = clock
        self._gateway = gateway
        self._agents: dict[str, AgentWindow] = {}
        self._upstreams: dict[str, UpstreamWindow] = {}
        self._probes: OrderedDict[str, tuple[Key, ...]] = OrderedDict()
        self._trying: set[Key] = set()
        self._closed: dict[Key, tuple[int, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        book.subscribe(self._changed)

    @property
    def quiet(self) -> bool:
        """Whether all are closed, so that nothing else need be asked."""
        return self._book.quiet

    def agents(self, call: Call, context: Context) -> tuple[Key, ...]:
        """The breakers of who calls, and of those on whose behalf; () for what ends a session."""
        if _ends(call):
            return ()
        principal = context.principal
        names = (principal.id, *principal.chain)
        return tuple(Key(scope="agent", subject=name) for name in names)

    def upstreams(self, call: Call, context: Context) -> tuple[Key, ...]:
        """The breakers of where a call goes: everybody's, and the caller's own; () for nowhere."""
        if not _goes_up(call):
            return ()
        agent = context.principal.id
        return tuple(
            Key(scope="upstream", subject=call.server, gateway=self._gateway, agent=one)
            for one in ("", agent)
        )

    def refusal(self, keys: Iterable[Key]) -> Deny | None:
        """Why a call may not even try: O(1). None where none is open, or its time is over."""
        for key in keys:
            found = self._book.get(key)
            if found is not None and self._clock.now() < found.until:
                return self._deny(found)
        return None

    def held(self, keys: Iterable[Key], call: Call, risk: RiskClass) -> None:
        """Raise Problem for an effect while one is open: nobody is asked about it then."""
        for key in keys:
            found = self._book.get(key)
            if found is not None and not _harmless(call, risk):
                raise self._problem(found)

    async def going(self, keys: Iterable[Key], call: Call, risk: RiskClass) -> None:
        """A call is about to go: where a breaker is not closed, it is the probe, or a Problem.

        An effect never is: whether one that went wrong has happened, nobody would know.
        """
        for key in keys:
            found = self._book.get(key)
            if found is None:
                continue
            if not _harmless(call, risk):
                raise self._problem(found)
            now = self._clock.now()
            if await self._book.probe(key, now, now + self._of(key).probe_seconds):
                self._probes[call.id] = (*self._probes.pop(call.id, ()), key)
                if len(self._probes) > _PROBES:
                    self._probes.popitem(last=False)
                self._tell(State.HALF_OPEN, key, {"call": call.id})
            elif self._book.get(key) is not None:
                raise self._problem(self._book.get(key) or found)

    def decided(self, call: Call, context: Context, verdict: Allow | Deny) -> None:
        """See Observer: denials are counted, and a probe that did not go is given up."""
        if isinstance(verdict, Allow):
            return
        for key in self._probes.pop(call.id, ()):
            self._later(self._ended(key, Came.NOTHING))
        if not self._settings.agent.enabled or call.looked_up_for or not against_agent(verdict):
            return
        now, agent = self._clock.now(), context.principal.id
        key = Key(scope="agent", subject=agent)
        reason = self._of_agent(agent).denied(now)
        found = self._book.get(key)
        if found is None:
            if reason:
                self._open(key, reason)
        elif found.until <= now and key not in self._trying:
            self._trying.add(key)  # it may try, and this is what it tries
            self._later(self._tried(key))

    def finished(
        self, call: Call, context: Context, result: Result | None, problem: Deny | None
    ) -> None:
        """See Observer: what became of the call is counted, or ends its probes."""
        now, agent = self._clock.now(), context.principal.id
        upstream, own = of_upstream(result, problem), of_agent(result, problem)
        for key in self._probes.pop(call.id, ()):
            self._later(self._ended(key, own if key.scope == "agent" else upstream))
        closed = self.quiet or self._none(self.upstreams(call, context))
        if self._settings.upstream.enabled and closed and _goes_up(call):
            self._count_upstream(call, agent, now, upstream, result)
        counts = self._settings.agent.enabled and not call.looked_up_for
        if counts and own is not Came.NOTHING:
            key = Key(scope="agent", subject=agent)
            if self._none((key,)):
                bad = own is Came.BAD
                reason = self._of_agent(agent).ended(now, bad=bad)
                if bad and reason:
                    self._open(key, reason)

    def trip(self, agent: str, reason: str) -> None:
        """Open an agent's breaker, for a ``reason`` without content."""
        self._open(Key(scope="agent", subject=agent), reason)

    def spent(self, agent: str, micros: int, at: float) -> None:
        """A call of an agent's cost so many millionths of the currency."""
        if self._settings.agent.enabled:
            reason = self._of_agent(agent).spent(at, micros)
            if reason:
                self.trip(agent, reason)

    async def settled(self) -> None:
        """Wait for what was begun: for the end, and for tests."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _count_upstream(
        self, call: Call, agent: str, now: float, came: Came, result: Result | None
    ) -> None:
        if came is Came.NOTHING:
            return
        window = self._upstreams.get(call.server)
        if window is None:
            window = self._upstreams[call.server] = UpstreamWindow(self._settings.upstream)
        waited = result.waited if result is not None else 0.0
        trip = window.add(agent, now, failed=came is Came.BAD, waited=waited)
        if trip is not None:
            self._open(
                Key(
                    scope="upstream",
                    subject=call.server,
                    gateway=self._gateway,
                    agent=trip.agent,
                ),
                trip.reason,
            )

    def _none(self, keys: Iterable[Key]) -> bool:
        """Whether these are closed: of an open one, only probes count."""
        return all(self._book.get(key) is None for key in keys)

    def _of_agent(self, agent: str) -> AgentWindow:
        found = self._agents.get(agent)
        if found is None:
            if len(self._agents) >= _AGENTS:
                now = self._clock.now()
                kept = {name: one for name, one in self._agents.items() if not one.idle(now)}
                self._agents = kept
            found = self._agents[agent] = AgentWindow(self._settings.agent)
        return found

    def _of(self, key: Key) -> AgentBreaker | UpstreamBreaker:
        return self._settings.agent if key.scope == "agent" else self._settings.upstream

    def _open(self, key: Key, reason: str) -> None:
        if self._book.get(key) is None:
            self._later(self._opened(key, reason))

    async def _opened(self, key: Key, reason: str) -> None:
        breaker = self._as_open(key, reason, times=self._times(key))
        try:
            new = await self._book.open(breaker)
        except Problem as problem:  # it acts here all the same
            log.warning("breaker_not_durable", breaker=key.name, code=problem.code)
            new = True
        if new:
            seconds = round(breaker.until - breaker.since, 1)
            self._tell(State.OPEN, key, {"reason": reason, "seconds": seconds})
            self._alarm.raised(TOLD[State.OPEN], key.name, reason)

    async def _tried(self, key: Key) -> None:
        """What was denied was the probe."""
        now = self._clock.now()
        try:
            if await self._book.probe(key, now, now + self._of(key).probe_seconds):
                await self._ended(key, Came.BAD)
        finally:
            self._trying.discard(key)

    async def _ended(self, key: Key, came: Came) -> None:
        """A probe has ended."""
        found = self._book.get(key)
        if found is None or found.state is not State.HALF_OPEN:
            return
        if came is Came.NOTHING:
            await self._book.release(key, self._clock.now())
        elif came is Came.GOOD:
            if await self._book.close(key):
                if key.scope == "agent":
                    self._closed[key] = found.times, self._clock.now()
                self._tell(State.CLOSED, key, {"reason": "the probe went well"})
        else:
            again = self._as_open(key, found.reason, times=found.times + 1)
            if await self._book.failed(again):
                seconds = round(again.until - again.since, 1)
                said = {"reason": "the probe failed", "seconds": seconds}
                self._tell(State.OPEN, key, said | {"times": again.times})

    def _times(self, key: Key) -> int:
        """How often it will have opened: an agent's that closed just now by its probe opens again.

        Just now is for as long as it was open last, or whoever reads in between would never be
        stopped for longer.
        """
        times, at = self._closed.pop(key, (0, 0.0))
        return times + 1 if self._clock.now() - at <= self._seconds(key, times) else 1

    def _seconds(self, key: Key, times: int) -> float:
        """For how long it is open, the so manieth time."""
        settings = self._of(key)
        return min(settings.open_seconds * 2.0 ** min(times - 1, 30), settings.longest_seconds)

    def _as_open(self, key: Key, reason: str, *, times: int) -> Breaker:
        now, seconds = self._clock.now(), self._seconds(key, times)
        return Breaker(
            key=key, state=State.OPEN, reason=reason, since=now, until=now + seconds, times=times
        )

    def _tell(self, state: State, key: Key, said: Mapping[str, Any]) -> None:
        try:
            self._record(TOLD[state], {"breaker": key.name, **said})
        except Problem as problem:
            log.critical("event_lost", code=problem.code)

    def _changed(self, key: Key) -> None:
        """Closed, here or elsewhere: what was counted is of a time that is over."""
        if self._book.get(key) is not None:
            return
        self._closed.pop(key, None)
        if key.scope == "agent":
            self._agents.pop(key.subject, None)
        elif key.gateway == self._gateway and key.subject in self._upstreams:
            self._upstreams[key.subject].forget(key.agent)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(self._done(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _done(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Problem as problem:
            log.warning("breaker_not_changed", code=problem.code)
        except Exception:
            log.exception("breaker_failed")

    def _deny(self, breaker: Breaker) -> Deny:
        seconds = max(1, math.ceil(breaker.until - self._clock.now()))
        code = _CODES[breaker.key.scope]
        return Deny(code=code, reason=self._said(breaker, seconds), retry_after=seconds)

    def _problem(self, breaker: Breaker) -> Problem:
        denied = self._deny(breaker)
        problem = Problem(denied.code, denied.reason)
        problem.retry_after = denied.retry_after
        return problem

    def _said(self, breaker: Breaker, seconds: int) -> str:
        """No other agent's name stands in it, nor what others did."""
        what = "this agent's breaker"
        if breaker.key.scope == "upstream":
            what = f"the breaker of {breaker.key.subject}"
        if self._clock.now() < breaker.until:
            when = f"one call tries in {seconds} s"
            if breaker.state is State.HALF_OPEN:
                when = "one call is trying"
        else:
            when = "a read tries next"
        own = breaker.key.scope == "agent" or breaker.key.agent
        why = f" ({breaker.reason})" if own else ""
        return f"{what} is open{why}; {when}"


def _goes_up(call: Call) -> bool:
    """Whether a call is for an upstream, of which something is to be learnt."""
    within = call.route is Route.GUARD or call.action is Action.SERVER_REQUEST
    return bool(call.server) and not within and not _ends(call)


def _ends(call: Call) -> bool:
    """Whether a call is the end of an MCP session, which may always end."""
    return call.action is Action.PROTOCOL and call.name == "end"


def _harmless(call: Call, risk: RiskClass) -> bool:
    """Whether a call may be a probe: it only reads, or asks a model."""
    return risk is RiskClass.READ or call.action is Action.MODEL

"""Learning what is usual, beside a running gate; and the levels that every gateway goes by.

The one process that rules the deployment reads all its logs, in a thread of its own, off every
call's way. What it says is in the database, which all gateways follow.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Engine

from portcullis.audit.export.source import Position, Source, event_of
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.background import background
from portcullis.bootstrap.records import records
from portcullis.checks.unusual import Catalogue as Meanings
from portcullis.checks.unusual import Unusual
from portcullis.config import Config
from portcullis.config.places import Role, logs_of
from portcullis.control.behaviour import thresholds_of
from portcullis.control.services import Services
from portcullis.core.alarm import Alarm
from portcullis.core.behaviour import LEVELS, RiskLevel, Standing
from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.core.ports import Clock
from portcullis.gateway.records import changed
from portcullis.oversight.behaviour.learner import Bounds, Learner
from portcullis.store.behaviour import FollowedLevels, SqlBehaviour

_BATCH: Final = 64
"""Most entries of one log that are learned from at once: the line's thread waits no longer."""
_START_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 0.25
_REST: Final = 4.0
"""How many times as long as a step took the next one waits: calls go first."""
_KEEP_SECONDS: Final = 30.0
_FAULT_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)

Notice = Callable[[str, Mapping[str, Any]], None]


def unusual(config: Config, levels: FollowedLevels, meanings: Meanings) -> tuple[Unusual, ...]:
    """The check that holds what agents of a high risk would change; none where it is off."""
    hold_at = config.behaviour.hold_at
    if hold_at == "never":
        return ()
    return (Unusual(levels, levels, meanings, RiskLevel(hold_at)),)


@contextlib.asynccontextmanager
async def behaving(
    config: Config,
    services: Services,
    registry: CollectorRegistry,
    alarm: Alarm,
    role_of: Callable[[str], str | None],
) -> AsyncIterator[FollowedLevels]:
    """The levels, followed beside the block; in the process that rules, learned beside it too."""
    engine = records(config)
    try:
        levels = FollowedLevels(engine, services.clock, thresholds_of(config.behaviour))
        levels.refresh()
        async with background(levels.watch()):
            if not Role.of(services.gateway.rpartition("/")[2]).rules:
                yield levels
                return

            def notice(method: str, said: Mapping[str, Any]) -> None:
                services.recorder.enqueue(changed(services.gateway, services.clock, method, said))

            learning = Learning(config, engine, role_of, services.clock, notice, alarm)
            _figures(registry, learning)
            thread = _Thread(learning)
            try:
                yield levels
            finally:
                thread.close()
    finally:
        engine.dispose()


class Learning:
    """Reads all logs onwards and has them learned from. Blocks; of one thread only."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        role_of: Callable[[str], str | None],
        clock: Clock,
        notice: Notice,
        alarm: Alarm,
    ) -> None:
        self._config = config
        self._store = SqlBehaviour(engine)
        self._clock = clock
        self._notice = notice
        self._alarm = alarm
        bounds = config.behaviour.bounds
        self.learner = Learner(
            thresholds_of(config.behaviour),
            role_of,
            Bounds(
                calls=bounds.calls,
                refusals=bounds.refusals,
                effects=bounds.effects,
                result_bytes=bounds.result_bytes,
            ),
        )
        self._sources: dict[str, Source] = {}
        self._next: dict[str, int] = {}
        self._places: dict[str, Position] = {}
        self._written: dict[str, tuple[float, str]] = {}
        self._unkept: set[str] = set()
        self._levels: dict[str, RiskLevel] = {}
        self._kept_at = clock.monotonic()
        self.lag = 0

    def begin(self) -> None:
        """Go on from what was kept."""
        profiles, self._places = self._store.profiles()
        self.learner.profiles = {one.agent: one for one in profiles}
        self.learner.review_roles()
        for profile in profiles:
            level = self.learner.level(profile.agent, self._clock.now())
            if level is not RiskLevel.NORMAL:
                self._levels[profile.agent] = level

    def step(self) -> int:
        """Learn from the next entries of each log, in order of time; how many there were.

        Raises what the database raises. A log that cannot be read is passed over this time.
        """
        decided = self._adopt()
        events: list[Event] = []
        count = self.lag = 0
        for name in logs_of(self._config):
            try:
                count += self._read(name, events)
            except Problem as problem:
                log.warning("behaviour_not_learned", log=name, fault=problem.code)
        events.sort(key=lambda one: one.time)
        for event in events:
            self.learner.observe(event)
        self._unkept |= self.learner.changed
        self._say(self.learner.changed)
        self.learner.changed = set()
        if decided or self._clock.monotonic() - self._kept_at > _KEEP_SECONDS:
            self.keep()
        return count

    def keep(self) -> None:
        """Write all profiles that changed, and up to where they know the logs."""
        self._kept_at = self._clock.monotonic()
        if not self._unkept:
            return
        learner = self.learner
        some = {
            agent: (learner.standing(profile), profile)
            for agent in self._unkept
            if (profile := learner.profiles.get(agent)) is not None
        }
        places = {name: self._sources[name].position(at) for name, at in self._next.items()}
        self._store.keep_all(some, places)
        for agent, (standing, _) in some.items():
            self._written[agent] = _shown(standing)
        self._unkept = set()

    def _adopt(self) -> bool:
        """Do what humans said since; whether there was anything."""
        found = False
        for agent, (phase, turn) in self._store.words().items():
            profile = self.learner.profiles.get(agent)
            if profile is not None and turn > profile.turn:
                self.learner.decided(agent, phase, turn)
                found = True
        return found

    def _read(self, name: str, events: list[Event]) -> int:
        source = self._sources.get(name)
        if source is None:
            directory = logs_of(self._config)[name]
            source = Source(directory, own_verifier(directory))
            source.refresh()
            place = self._places.get(name, Position())
            self._next[name] = place.next if source.holds(place) else 0
            self._sources[name] = source
        else:
            source.refresh()
        taken = source.read(self._next[name], _BATCH)
        for _, entry in taken:
            with contextlib.suppress(Problem):  # a pruned one is empty
                events.append(event_of(entry))
        self._next[name] += len(taken)
        self.lag += source.size - self._next[name]
        return len(taken)

    def _say(self, agents: set[str]) -> None:
        """Write scores that are others now; record and raise levels."""
        standings = []
        for agent in agents:
            standing = self.learner.standing(self.learner.profiles[agent])
            if self._written.get(agent) != _shown(standing):
                self._written[agent] = _shown(standing)
                standings.append(standing)
        if standings:
            self._store.keep(standings)
        now = self._clock.now()
        for agent in agents | self._levels.keys():
            level = self.learner.level(agent, now)
            before = self._levels.get(agent, RiskLevel.NORMAL)
            if level is not before:
                self._levels[agent] = level
                if level is RiskLevel.NORMAL:
                    del self._levels[agent]
                self._changed(agent, before, level)

    def _changed(self, agent: str, before: RiskLevel, level: RiskLevel) -> None:
        standing = self.learner.standing(self.learner.profiles[agent])
        kinds = list(dict.fromkeys(one.kind.value for one in standing.reasons))
        said = {
            "agent": agent,
            "level": level.value,
            "before": before.value,
            "score": round(standing.score, 1),
            "kinds": kinds,
        }
        self._notice("behaviour.level", said)
        if LEVELS[level] > LEVELS[before] and level in {RiskLevel.HIGH, RiskLevel.CRITICAL}:
            reason = f"its risk is {level}: {', '.join(kinds)}"
            self._alarm.raised(f"behaviour.{level}", f"agent:{agent}", reason)


def _shown(standing: Standing) -> tuple[float, str]:
    return standing.score, standing.phase.value


class _Thread:
    """Takes steps until it is closed, and keeps what it has."""

    def __init__(self, learning: Learning) -> None:
        self._learning = learning
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="behaviour", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the step that is being taken."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        begun, said = False, ""
        wait = _START_SECONDS
        while not self._end.wait(wait):
            try:
                if not begun:
                    self._learning.begin()
                    begun = True
                started = time.perf_counter()
                count = self._learning.step()
                took = min(1.0, time.perf_counter() - started)
                wait = _REST * took if count else _IDLE_SECONDS
                said = ""
            except Exception as error:  # noqa: BLE001 - it goes on when it can
                fault = error.code if isinstance(error, Problem) else type(error).__name__
                if fault != said:
                    log.warning("behaviour_failing", fault=fault)
                    said = fault
                wait = _FAULT_SECONDS
        if begun:
            try:
                self._learning.keep()
            except Exception as error:  # noqa: BLE001 - it is learned again from the log
                log.warning("behaviour_not_kept", fault=type(error).__name__)


def _figures(registry: CollectorRegistry, learning: Learning) -> None:
    """What /metrics shows."""
    lag = Gauge(
        "portcullis_behaviour_lag_entries",
        "Entries of the logs that were not learned from yet.",
        registry=registry,
    )
    lag.set_function(lambda: float(learning.lag))
    agents = Gauge("portcullis_behaviour_agents", "Agents that have a baseline.", registry=registry)
    agents.set_function(lambda: float(len(learning.learner.profiles)))

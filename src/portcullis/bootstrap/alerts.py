"""Alerts beside a running gate: the logs held against the rules, and what is raised told of.

The one process that rules the deployment reads all its logs, in a thread of its own and off every
call's way. An event is looked at when its log has signed it. What its rules remember outlives it,
and what is raised is written down once, also when it dies in between. The same thread has others
told of what nobody takes on. What a log cannot say (that it cannot be written), every process
writes down itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from portcullis.bootstrap.alarm import LoggedAlarm
from portcullis.bootstrap.alerts_rules import Rules
from portcullis.bootstrap.alerts_watching import Watching
from portcullis.bootstrap.background import background
from portcullis.bootstrap.incidents import by_alert
from portcullis.bootstrap.records import records
from portcullis.bootstrap.secrets import baited
from portcullis.config import Config
from portcullis.config.places import Role
from portcullis.control.services import Services
from portcullis.core.alert import (
    ENDED,
    ESCALATED,
    RAISED,
    REREAD,
    Alert,
    Found,
    Level,
    Raised,
    State,
    Step,
    Words,
)
from portcullis.core.errors import Problem
from portcullis.gateway.records import changed, new_id
from portcullis.oversight.alerts.builtin import builtin
from portcullis.store.alerts import SqlAlerts

_LOOK_SECONDS: Final = 0.25
_KEPT_SECONDS: Final = 90 * 86_400.0
_FORGET_EVERY: Final = 3600.0
_MOST: Final = 256
LOG_FAULT: Final = "log-fault"
"""The built-in rule about logs that cannot be written or are not what was signed."""
_BY_RULES: Final = frozenset({"breaker.open", "behaviour.high", "behaviour.critical", "quarantine"})
"""Alarms whose event in the log raises an alert of its own."""

log = structlog.get_logger(__name__)


class Alerts:
    """What raises alerts in one process, and who wants to know at once.

    Implements ``core.alarm.Alarm``: an alarm is logged and counted, and where no event in the log
    tells of it, because no rule is about such or because the log takes nothing, it is an alert.
    ``steps`` are who else is told of what nobody took on; ``opens`` is told of each new alert.
    """

    def __init__(
        self,
        store: SqlAlerts,
        services: Services,
        registry: CollectorRegistry,
        steps: Sequence[Step] = (),
        opens: Callable[[Alert], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._services = services
        self._steps = steps
        self._opens = opens
        self._logged = LoggedAlarm(registry)
        self._count = Counter(
            "portcullis_alerts_raised",
            "Alerts that this process raised.",
            ["level"],
            registry=registry,
        )
        self._direct: deque[Raised] = deque(maxlen=_MOST)
        self._wakers: list[Callable[[], object]] = []
        self._broken = ""

    def raised(self, kind: str, subject: str, reason: str) -> None:
        """See Alarm."""
        self._logged.raised(kind, subject, reason)
        if kind in _BY_RULES and not self._services.recorder.failure:
            return
        words = Words(title=f"Alarm: {kind}", kept=True)
        self._direct.append(self._own(f"alarm-{kind.replace('.', '-')}", words, subject))

    def subscribe(self, wake: Callable[[], object]) -> None:
        """Have ``wake`` called, on whichever thread, when there is a new alert."""
        self._wakers.append(wake)

    def put(self, found: Iterable[Found], places: dict[str, int]) -> None:
        """Write down what was found, record what is new or over, tell of it. Blocks."""
        for alert in self._store.put(tuple(found), places):
            if alert.state is State.RESOLVED:
                self._record(ENDED, alert, reason=alert.reason)
                continue
            self._count.labels(alert.level.value).inc()
            self._record(RAISED, alert)
            self._opens(alert)
        self._wake()

    def tend(self, caught_up: bool) -> None:  # noqa: FBT001 - the one thing that it is told
        """Have others told of what nobody took on; end what was quiet, if logs were read. Blocks.

        It is recorded before it takes effect.
        """
        done = 0
        for _ in self._steps:
            for alert in self._store.unheeded(self._steps):
                number = alert.escalated + 1
                told = self._steps[alert.escalated].told(alert.level)
                if told:
                    self._record(ESCALATED, alert, step=number, channels=list(told))
                done += self._store.escalate(alert.id, number, told=bool(told)) is not None
        for alert in self._store.quiet() if caught_up else ():
            reason = f"quiet for {alert.quiet:.0f} seconds"
            self._record(ENDED, alert, reason=reason)
            done += self._store.end(alert.id, reason) is not None
        if done:
            self._wake()

    def reread(self, said: dict[str, object], problem: Problem | None) -> None:
        """Record which rules are in force now, or why others are not."""
        services = self._services
        event = changed(services.gateway, services.clock, REREAD, said)
        if problem is not None:
            event = msgspec.structs.replace(event, verdict="deny", code=problem.code)
        try:
            services.recorder.enqueue(event)
        except Problem as lost:
            log.critical("event_lost", code=lost.code, method=REREAD)

    def _wake(self) -> None:
        for wake in self._wakers:
            wake()

    async def run(self) -> None:
        """Write down what no event tells of, for ever."""
        said = ""
        while True:
            self._look()
            some = [self._direct.popleft() for _ in range(len(self._direct))]
            if some:
                try:
                    await asyncio.to_thread(self.put, some, {})
                    said = ""
                except Exception as error:  # noqa: BLE001 - it is tried again
                    self._direct.extendleft(reversed(some))
                    if type(error).__name__ != said:
                        said = type(error).__name__
                        log.warning("alert_not_kept", fault=said)
            await asyncio.sleep(_LOOK_SECONDS)

    def _look(self) -> None:
        """Whether our own log takes anything; it is said once."""
        failure = self._services.recorder.failure
        if failure and not self._broken:
            rule = next(one for one in builtin() if one.name == LOG_FAULT)
            self._direct.append(self._own(LOG_FAULT, rule.words, "", Level.CRITICAL))
        self._broken = failure

    def _own(self, rule: str, words: Words, about: str, level: Level = Level.HIGH) -> Raised:
        services = self._services
        group = {"subject": about} if about else {"gateway": services.gateway}
        return Raised(
            rule=rule, level=level, words=words, group=group, at=services.clock.now(), events=()
        )

    def _record(self, method: str, alert: Alert, **more: object) -> None:
        services = self._services
        said = {"alert": alert.id, "rule": alert.rule, "level": alert.level.value} | more
        try:
            services.recorder.enqueue(changed(services.gateway, services.clock, method, said))
        except Problem as problem:
            log.critical("event_lost", code=problem.code, alert=alert.id)


@contextlib.asynccontextmanager
async def alerting(
    config: Config, services: Services, registry: CollectorRegistry
) -> AsyncIterator[Alerts]:
    """Raise alerts beside the block.

    Raises Problem PC7002 when the configured rules cannot be read.
    """
    role = Role.of(services.gateway.rpartition("/")[2])
    engine = records(config)
    try:
        gather = config.alerts.gather_minutes * 60.0
        store = SqlAlerts(engine, services.clock, new_id, gather)
        told = (by_alert(services), baited(services))

        def opened(alert: Alert) -> None:
            for one in told:
                one(alert)

        alerts = Alerts(store, services, registry, _steps(config), opened)
        rules = Rules(config.alerts.rules, alerts.reread) if role.rules else None
        async with background(alerts.run()):
            if rules is None:
                yield alerts
                return
            watching = Watching(config, store, rules, services.clock, alerts.put, alerts.tend)
            watching.begin()
            _figures(registry, watching)
            thread = _Thread(watching)
            try:
                async with background(_forgetting(store, services)):
                    yield alerts
            finally:
                await asyncio.to_thread(thread.close)
    finally:
        engine.dispose()


def _steps(config: Config) -> tuple[Step, ...]:
    return tuple(
        Step(after=one.seconds, tell={name: Level(level) for name, level in one.tell.items()})
        for one in config.alerts.escalate
    )


async def _forgetting(store: SqlAlerts, services: Services) -> None:
    """Drop what is long over, every hour, for ever."""
    while True:
        try:
            await asyncio.to_thread(store.forget, services.clock.now() - _KEPT_SECONDS)
        except Exception as error:  # noqa: BLE001 - it is tried again
            log.warning("alerts_not_forgotten", fault=type(error).__name__)
        await asyncio.sleep(_FORGET_EVERY)


class _Thread:
    """Takes steps until it is closed, and keeps what is remembered."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the step that is being taken."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        said, wait = "", 0.0
        while not self._end.wait(wait):
            try:
                wait, said = self._watching.step(), ""
            except Exception as error:  # noqa: BLE001 - it goes on when it can
                fault = error.code if isinstance(error, Problem) else type(error).__name__
                if fault != said:
                    log.warning("alerts_failing", fault=fault)
                    said = fault
                wait = 1.0
        try:
            self._watching.keep()
        except Exception as error:  # noqa: BLE001 - it is read again from the logs
            log.warning("alerts_not_kept", fault=type(error).__name__)


def _figures(registry: CollectorRegistry, watching: Watching) -> None:
    """What /metrics shows."""
    lag = Gauge(
        "portcullis_alerts_lag_entries",
        "Entries of the logs that were not held against the rules yet.",
        registry=registry,
    )
    lag.set_function(lambda: float(watching.lag))
    unseen = Gauge(
        "portcullis_alerts_open", "Alerts that nobody has acknowledged.", registry=registry
    )
    unseen.set_function(lambda: float(watching.open))

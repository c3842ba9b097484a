"""What a running gate says of its log's witnesses: events and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from portcullis.audit.feeder import Feeder
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.gateway.records import changed

log = structlog.get_logger(__name__)


def watch_witnesses(services: Services, registry: CollectorRegistry) -> None:
    """Have the log hold when the quorum is lost and when it is back, and show figures of it."""
    feeder, recorder = services.witnesses, services.recorder
    if feeder is None:
        return

    def tell(lost: bool, absent: str) -> None:  # noqa: FBT001 - the feeder's callback
        method = "witness.quorum_lost" if lost else "witness.quorum_back"
        said = {"absent": absent} if absent else {}
        try:
            recorder.enqueue(changed(services.gateway, services.clock, method, said))
        except Problem as problem:
            log.critical("event_lost", code=problem.code, method=method)

    feeder.watch(tell)
    registry.register(_Figures(feeder, services.clock))


class _Figures(Collector):
    """Read at each scrape. The names of witnesses are those of the policy file."""

    def __init__(self, feeder: Feeder, clock: Clock) -> None:
        self._feeder = feeder
        self._clock = clock

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The figures of now; an age is infinite where there was nothing."""
        yield GaugeMetricFamily(
            "portcullis_audit_witness_age_seconds",
            "Since a quorum of witnesses last vouched for the log.",
            self._feeder.age(),
        )
        yield GaugeMetricFamily(
            "portcullis_audit_witness_quorum",
            "Whether the newest heads find a quorum.",
            0 if self._feeder.lost else 1,
        )
        up = GaugeMetricFamily(
            "portcullis_audit_witness_up", "Whether it cosigns.", labels=["witness"]
        )
        age = GaugeMetricFamily(
            "portcullis_audit_witness_cosigned_age_seconds",
            "Since its last cosignature.",
            labels=["witness"],
        )
        for state in self._feeder.states():
            up.add_metric([state.name], 0 if state.reason else 1)
            since = math.inf if state.time is None else max(0.0, self._clock.now() - state.time)
            age.add_metric([state.name], since)
        yield up
        yield age

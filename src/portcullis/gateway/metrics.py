"""The gate's own figures for Prometheus. Labels are ours and few; never names from requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from portcullis.core.call import Call
from portcullis.core.errors import Problem
from portcullis.core.inspection import Channel
from portcullis.core.verdict import Allow, Deny, Finding
from portcullis.gateway.outcome import PENDING

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

_VERDICTS = {"": "allow", PENDING: "hold"}


class Metrics:
    """Counters and a histogram, registered once per gate."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter(
            "portcullis_decisions",
            "Calls decided.",
            ["route", "verdict", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "portcullis_decision_seconds",
            "From decoded call to recorded decision, where nobody was asked.",
            ["route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._withheld = Counter(
            "portcullis_results_withheld",
            "Results not passed on.",
            ["route", "code"],
            registry=registry,
        )
        self._failed = Counter(
            "portcullis_calls_failed",
            "Allowed calls without a good result.",
            ["route", "code"],
            registry=registry,
        )
        self._refused = Counter(
            "portcullis_requests_refused",
            "Requests that never became a call.",
            ["route", "code"],
            registry=registry,
        )
        self._findings = Counter(
            "portcullis_findings",
            "What inspection saw, and what was done about it.",
            ["entity", "channel", "treatment"],
            registry=registry,
        )
        self._in_flight = Gauge(
            "portcullis_calls_in_flight", "Requests on the hot routes.", registry=registry
        )
        self._guarded = Gauge(
            "portcullis_guard_calls",
            "Calls of the guard API that run in agents' programs.",
            registry=registry,
        )
        self._egress = Gauge(
            "portcullis_egress_connections",
            "Tunnels and requests of egress that run.",
            registry=registry,
        )
        self._children: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def watch_in_flight(self, count: Callable[[], float]) -> None:
        """Where to read, at each scrape, how many requests are running."""
        self._in_flight.set_function(count)

    def watch_guarded(self, count: Callable[[], float]) -> None:
        """Where to read, at each scrape, how many calls run in agents' own programs."""
        self._guarded.set_function(count)

    def watch_egress(self, count: Callable[[], float]) -> None:
        """Where to read, at each scrape, how many tunnels and requests of egress run."""
        self._egress.set_function(count)

    def decided(self, call: Call, verdict: Allow | Deny, seconds: float) -> None:
        """Count a decision and the time it took, the record's durability included."""
        code = verdict.code if isinstance(verdict, Deny) else ""
        found = self._children.get((call.route, code))
        if found is None:  # looking children up by label costs more than counting
            found = (
                self._decisions.labels(call.route, _VERDICTS.get(code, "deny"), code),
                self._seconds.labels(call.route),
            )
            self._children[call.route, code] = found
        found[0].inc()
        if not verdict.approval:  # else it waited for people, not for us
            found[1].observe(seconds)

    def withheld(self, call: Call, denied: Deny) -> None:
        """Count a result that was not passed on."""
        self._withheld.labels(call.route, denied.code).inc()

    def found(self, channel: Channel, findings: Iterable[Finding]) -> None:
        """Count what was found in content that went this way."""
        for finding in findings:
            self._findings.labels(finding.type, channel, finding.treatment).inc()

    def failed(self, call: Call, problem: Problem) -> None:
        """Count an allowed call without a good result."""
        self._failed.labels(call.route, problem.code).inc()

    def refused(self, route: str, problem: Problem) -> None:
        """Count a refused request."""
        self._refused.labels(route, problem.code).inc()

"""What is raised for people on duty: a line on standard error, and a figure."""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter

log = structlog.get_logger(__name__)


class LoggedAlarm:
    """Implements ``core.alarm.Alarm``; one for each registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._raised = Counter(
            "portcullis_alarms",
            "What somebody on duty should know at once.",
            ["kind"],
            registry=registry,
        )

    def raised(self, kind: str, subject: str, reason: str) -> None:
        """See Alarm."""
        self._raised.labels(kind).inc()
        log.warning("alarm", kind=kind, subject=subject, reason=reason)

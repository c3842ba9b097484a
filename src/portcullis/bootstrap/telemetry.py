"""Traces and figures: from the configuration to who draws, delivers and may read them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter

from portcullis.audit.export.target import Batch
from portcullis.audit.export.thread import ExportThread
from portcullis.audit.export.web import WebTarget
from portcullis.bootstrap.exporters import trusting
from portcullis.bootstrap.secret_sources import used_by
from portcullis.config import Config
from portcullis.config.places import Role
from portcullis.control.metrics_api import Scraper, nobody, scraping
from portcullis.control.services import Services
from portcullis.core.ports import SecretSource
from portcullis.execution.spans import Fate, Spans
from portcullis.gateway.tracing import Tracer

_SECONDS = 10.0
"""The longest that one delivery may take."""


def tracing(
    stack: contextlib.AsyncExitStack,
    config: Config,
    services: Services,
    secrets: SecretSource,
    registry: CollectorRegistry,
) -> Tracer | None:
    """Who draws the requests that are traced, if any are; the stack ends their delivery.

    Raises Problem PC7001 when the file of authorities cannot be used.
    """
    section = config.telemetry.traces
    if section is None or not Role.of(services.gateway.rpartition("/")[2]).enforces:
        return None
    counter = Counter(
        "portcullis_spans", "Spans of traced requests, by their fate.", ["fate"], registry=registry
    )
    children = {fate: counter.labels(fate) for fate in Fate}
    target = WebTarget(
        section.endpoint,
        headers=_headers(section.headers, used_by(secrets, "telemetry.traces")),
        tls=trusting("telemetry.traces", section.ca),
        partial=True,
        seconds=_SECONDS,
    )
    spans = Spans(
        target,
        services.gateway,
        services.version,
        queue=section.queue,
        count=lambda fate, many: children[fate].inc(many),
    )
    thread = ExportThread((spans,), name="traces")
    stack.push_async_callback(asyncio.to_thread, thread.close)
    return Tracer(section.ratio, spans.put, services.clock, passed_on=section.propagate)


def scraper(config: Config, secrets: SecretSource) -> Scraper:
    """Who may read the figures besides operators, by the configuration."""
    section = config.telemetry.metrics
    if section is None:
        return nobody
    return scraping(used_by(secrets, "telemetry.metrics"), section.token)


def _headers(
    references: Mapping[str, str], secrets: SecretSource
) -> Callable[[Batch], Mapping[str, str]]:
    """The configured headers, resolved anew for each batch."""
    return lambda _: {name: secrets.resolve(one).reveal() for name, one in references.items()}

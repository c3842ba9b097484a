"""Exporters of one log: from the configuration to what runs, and its figures."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from portcullis.audit.export.cursor import Cursor, DeadLetters
from portcullis.audit.export.deliver import Exporter
from portcullis.audit.export.formats import Format, format_of
from portcullis.audit.export.source import Source
from portcullis.audit.export.stream import FileTarget, SyslogTarget
from portcullis.audit.export.target import Target
from portcullis.audit.export.thread import ExportThread
from portcullis.audit.export.web import WebTarget, bearer, gzipped, signed
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.floor import EXPORT
from portcullis.bootstrap.secret_sources import used_by
from portcullis.config import Config
from portcullis.config.exporters import (
    AnyExporter,
    FileExporter,
    OpaExporter,
    OtlpExporter,
    SyslogExporter,
    WebhookExporter,
)
from portcullis.config.places import audit_directory
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, SecretSource
from portcullis.gateway.records import changed


def exporters(
    config: Config,
    log: str,
    *,
    gateway: str,
    version: str,
    secrets: SecretSource,
    clock: Clock,
    notice: Callable[[str, dict[str, str]], None],
    attempts: int | None = None,
) -> dict[str, Exporter]:
    """The configured exporters of the log called ``log``, by name; see ``Exporter``.

    Raises Problem PC7001 when a file of authorities cannot be used, PC7005 when there is no log.
    """
    directory, folder = audit_directory(config, log), config.state / EXPORT / log
    if not config.audit.exporters:
        return {}
    verifier = own_verifier(directory)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = {}
    for section in config.audit.exporters:
        theirs = used_by(secrets, f"exporters.{section.name}")
        target, form = _target(section, theirs, clock, gateway, version)
        made[section.name] = Exporter(
            section.name,
            Source(directory, verifier),
            target,
            form,
            cursor=Cursor(folder, section.name),
            dead=DeadLetters(folder, section.name),
            clock=clock,
            notice=notice,
            types=frozenset(section.types),
            behind_seconds=section.behind_seconds,
            attempts=attempts,
        )
    return made


def run_exporters(
    stack: contextlib.AsyncExitStack,
    config: Config,
    services: Services,
    secrets: SecretSource,
    registry: CollectorRegistry,
) -> None:
    """Deliver the log of ``services`` in a thread of its own until the stack is closed."""
    recorder, clock, gateway = services.recorder, services.clock, services.gateway

    def notice(method: str, parameters: dict[str, str]) -> None:
        recorder.enqueue(changed(gateway, clock, method, parameters))

    made = exporters(
        config,
        gateway.rpartition("/")[2],
        gateway=gateway,
        version=services.version,
        secrets=secrets,
        clock=clock,
        notice=notice,
    )
    if made:
        _figures(registry, made, clock)
        thread = ExportThread(tuple(made.values()))
        stack.push_async_callback(asyncio.to_thread, thread.close)


def _target(
    section: AnyExporter, secrets: SecretSource, clock: Clock, gateway: str, version: str
) -> tuple[Target, Format]:
    match section:
        case WebhookExporter(url=url, secret=secret):
            headers = signed(_resolved(secrets, secret), clock)
            tls = _tls(section.name, section.ca)
            return WebTarget(url, headers=headers, tls=tls), format_of(section.format, version)
        case OtlpExporter(url=url, secret=token):
            headers = bearer(_resolved(secrets, token) if token else None)
            tls = _tls(section.name, section.ca)
            target = WebTarget(url, headers=headers, tls=tls, partial=True)
            return target, format_of("otlp", version, gateway)
        case OpaExporter(url=url, secret=token):
            headers = gzipped(bearer(_resolved(secrets, token) if token else None))
            tls = _tls(section.name, section.ca)
            return WebTarget(url, headers=headers, tls=tls), format_of("opa", version)
        case SyslogExporter(address=address):
            host, _, port = address.rpartition(":")
            secure = _tls(section.name, section.ca) if section.tls else None
            syslog = SyslogTarget(host.strip("[]"), int(port), tls=secure)
            return syslog, format_of("syslog", version)
        case FileExporter(path=path, rotate_bytes=most, keep=keep):
            return FileTarget(path, rotate_bytes=most, keep=keep), format_of(
                section.format, version
            )


def _resolved(secrets: SecretSource, reference: str) -> Callable[[], str]:
    return lambda: secrets.resolve(reference).reveal()


def _tls(name: str, authorities: Path | None) -> ssl.SSLContext:
    return trusting(f"audit.exporters: {name}", authorities)


def trusting(place: str, authorities: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer against ``authorities`` alone, or the system's.

    Raises Problem PC7001, which names the ``place`` in the configuration.
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as error:
        detail = f"{place}: ca: {error.strerror or 'no certificate in it'}"
        raise Problem("PC7001", detail) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _figures(registry: CollectorRegistry, made: dict[str, Exporter], clock: Clock) -> None:
    """What /metrics shows of each exporter, read at each scrape."""
    shown: tuple[tuple[str, str, Callable[[Exporter], float]], ...] = (
        ("lag_entries", "Entries not yet delivered.", lambda one: one.state.lag_entries),
        (
            "lag_seconds",
            "How long the first of them has waited.",
            lambda one: one.state.lag_seconds(clock.now()),
        ),
        ("delivered", "Events acknowledged.", lambda one: one.state.delivered),
        ("dead_letters", "Events given up.", lambda one: one.state.dead),
        ("failures", "Attempts that failed.", lambda one: one.state.failures),
        ("behind", "1 while it is behind.", lambda one: one.state.behind),
        ("damaged", "1 while the log is not what was signed.", lambda one: one.state.damaged),
    )
    for name, about, read in shown:
        gauge = Gauge(f"portcullis_audit_export_{name}", about, ["exporter"], registry=registry)
        for exporter in made.values():
            gauge.labels(exporter.name).set_function(_reading(read, exporter))


def _reading(read: Callable[[Exporter], Any], exporter: Exporter) -> Callable[[], float]:
    return lambda: float(read(exporter))

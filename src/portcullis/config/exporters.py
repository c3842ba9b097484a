"""The section ``audit.exporters``: who gets the log's events, in which form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from portcullis.config.common import SECRET, Name, Section, Url
from portcullis.core.event import EventType

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _guarded(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        msg = "https, or http to loopback (127.0.0.1, [::1], localhost)"
        raise ValueError(msg)
    return url


def _reached(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:  # noqa: PLR2004 - a port
        msg = "expected host:port"
        raise ValueError(msg)
    return address


class _Exporter(Section):
    """``types`` are the event types that are sent, all by default.

    After ``behind_seconds`` of an event's waiting the log itself says that the exporter is
    behind. ``ca`` is a file (PEM) with the only authorities that its TLS trusts; without it the
    system's are.
    """

    name: Name
    types: tuple[EventType, ...] = ()
    behind_seconds: float = Field(default=300, gt=0)


class WebhookExporter(_Exporter):
    """POST of JSON lines, signed (Standard Webhooks) under ``secret``."""

    kind: Literal["webhook"]
    url: Annotated[Url, AfterValidator(_guarded)]
    format: Literal["json", "ocsf"] = "json"
    secret: str = Field(pattern=SECRET)
    ca: Path | None = None


class OtlpExporter(_Exporter):
    """OTLP/HTTP with protobuf; ``url`` is whole, such as ``https://host:4318/v1/logs``.

    ``secret`` is a bearer token.
    """

    kind: Literal["otlp"]
    url: Annotated[Url, AfterValidator(_guarded)]
    secret: str | None = Field(default=None, pattern=SECRET)
    ca: Path | None = None


class SyslogExporter(_Exporter):
    """CEF in syslog over TLS (RFC 5425). Without ``tls``, to loopback only."""

    kind: Literal["syslog"]
    address: Annotated[str, AfterValidator(_reached)]
    tls: bool = True
    ca: Path | None = None

    def model_post_init(self, context: object, /) -> None:
        """Nothing leaves the machine in clear."""
        del context
        if not self.tls and self.address.rpartition(":")[0].strip("[]") not in _LOOPBACK:
            msg = "without tls, only to loopback (127.0.0.1, [::1], localhost)"
            raise ValueError(msg)


class FileExporter(_Exporter):
    """Lines in a file; ``keep`` older ones stay when it has reached ``rotate_bytes``."""

    kind: Literal["file"]
    path: Path
    format: Literal["json", "ocsf", "cef"] = "json"
    rotate_bytes: int = Field(default=100 * 2**20, ge=4096)
    keep: int = Field(default=5, ge=1, le=1000)


AnyExporter = Annotated[
    WebhookExporter | OtlpExporter | SyslogExporter | FileExporter, Field(discriminator="kind")
]


def each_once(exporters: tuple[AnyExporter, ...]) -> tuple[AnyExporter, ...]:
    """The same exporters, or ValueError when two have one name."""
    names = [one.name for one in exporters]
    if len(set(names)) < len(names):
        msg = "two exporters have the same name"
        raise ValueError(msg)
    return exporters


Exporters = Annotated[tuple[AnyExporter, ...], AfterValidator(each_once)]

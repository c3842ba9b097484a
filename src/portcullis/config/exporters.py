"""The section ``audit.exporters``: who gets the log's events, in which form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from portcullis.config.common import SECRET, Guarded, HostPort, Name, Section, local
from portcullis.core.event import EventType

_DECISIONS: Final = (EventType.DECISION, EventType.TOOL_CALL, EventType.LLM_CALL)


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
    url: Guarded
    format: Literal["json", "ocsf"] = "json"
    secret: str = Field(pattern=SECRET)
    ca: Path | None = None


class OtlpExporter(_Exporter):
    """OTLP/HTTP with protobuf; ``url`` is whole, such as ``https://host:4318/v1/logs``.

    ``secret`` is a bearer token.
    """

    kind: Literal["otlp"]
    url: Guarded
    secret: str | None = Field(default=None, pattern=SECRET)
    ca: Path | None = None


class OpaExporter(_Exporter):
    """Decisions as OPA reports them: POST of a JSON array in gzip; ``secret`` is a bearer token."""

    kind: Literal["opa"]
    url: Guarded
    secret: str | None = Field(default=None, pattern=SECRET)
    ca: Path | None = None
    types: tuple[EventType, ...] = _DECISIONS

    def model_post_init(self, context: object, /) -> None:
        """Nothing but decisions."""
        del context
        if not self.types or not set(self.types) <= set(_DECISIONS):
            msg = f"types are of {', '.join(_DECISIONS)}"
            raise ValueError(msg)


class SyslogExporter(_Exporter):
    """CEF in syslog over TLS (RFC 5425). Without ``tls``, to loopback only."""

    kind: Literal["syslog"]
    address: HostPort
    tls: bool = True
    ca: Path | None = None

    def model_post_init(self, context: object, /) -> None:
        """Nothing leaves the machine in clear."""
        del context
        if not self.tls and not local(self.address):
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
    WebhookExporter | OtlpExporter | OpaExporter | SyslogExporter | FileExporter,
    Field(discriminator="kind"),
]


def each_once(exporters: tuple[AnyExporter, ...]) -> tuple[AnyExporter, ...]:
    """The same exporters, or ValueError when two have one name."""
    names = [one.name for one in exporters]
    if len(set(names)) < len(names):
        msg = "two exporters have the same name"
        raise ValueError(msg)
    return exporters


Exporters = Annotated[tuple[AnyExporter, ...], AfterValidator(each_once)]

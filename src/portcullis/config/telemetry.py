"""The section ``telemetry``: who is told how long requests take, and who reads the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from portcullis.config.common import SECRET, Guarded, Section

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
Reference = Annotated[str, Field(pattern=SECRET)]


class Traces(Section):
    """Spans of ``ratio`` of the requests (0 to 1), to an OTLP/HTTP collector.

    ``endpoint`` is whole, such as ``https://host:4318/v1/traces``. ``headers`` are sent with each
    batch: the value of each is a reference. ``ca`` is a file (PEM) with the only authorities that
    its TLS trusts; without it the system's are. ``queue`` spans wait at most: what comes beyond is
    dropped and counted. ``propagate``: upstreams are told of the trace (``traceparent``).
    """

    endpoint: Guarded
    ratio: float = Field(default=0.01, ge=0, le=1)
    headers: dict[HeaderName, Reference] = Field(default_factory=dict)
    ca: Path | None = None
    queue: int = Field(default=8192, ge=256)
    propagate: bool = False


class Metrics(Section):
    """Who may read ``/metrics`` of the control plane, besides operators, and nothing else.

    ``token`` is a reference to a text of at least 20 characters, which a scraper shows as bearer.
    """

    token: Reference


class Telemetry(Section):
    """Nobody is told unless there are ``traces``; nobody but operators sees ``metrics``."""

    traces: Traces | None = None
    metrics: Metrics | None = None

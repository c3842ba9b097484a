"""The reference of the figures at ``/metrics``, from the registry of a running gate."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from reference import heading, row, table

_KINDS = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}


def page(registry: CollectorRegistry) -> str:
    """One row a figure."""
    lines = heading("Metrics", "the registry of a running gate")
    lines += [
        "`GET /metrics` on the control plane, in Prometheus' text format, for operators: see",
        "[the APIs](../api.md). Labels hold our own names and codes, never names from requests.",
        "Figures of exporters and replicas are there where such are configured.",
        "",
        *table("name", "kind", "labels", "what"),
        *(row(*one) for one in sorted(map(_row, collectors(registry)))),
    ]
    return "\n".join(lines) + "\n"


def collectors(registry: CollectorRegistry) -> set[MetricWrapperBase]:
    """Every figure of a registry, those included that have no value yet."""
    return set(registry._collector_to_names)  # noqa: SLF001 - it tells only those with a value


def _row(metric: MetricWrapperBase) -> tuple[str, str, str, str]:
    kind = _KINDS[type(metric)]
    name = metric._name + ("_total" if kind == "counter" else "")  # noqa: SLF001 - as above
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001 - as above
    return f"`{name}`", kind, labels, metric._documentation  # noqa: SLF001 - as above

"""Figures of several processes on one page: each gateway writes its own, control reads them.

A file and no socket: whoever scrapes waits for nobody, and a gateway that hangs is seen by the age
of what it wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from portcullis.bootstrap.background import background
from portcullis.config import Config
from portcullis.config.places import CONTROL, gateway_figures
from portcullis.identity.private import read_private, write_private

WRITE_SECONDS: Final = 5.0
OLD_SECONDS: Final = 30.0
"""What is older is a gateway's that does not run any more, or hangs."""
_MISSED_SECONDS: Final = 7 * 86_400.0
"""So long one is missed that broke off."""
LABEL: Final = "gateway"
"""Which process a figure is of; the control plane's own are ``control``."""

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def showing(config: Config, name: str, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Write a gateway's figures every few seconds beside the block; none are left at its end."""
    place = gateway_figures(config, name)
    try:
        async with background(_write(place, registry)):
            yield
    finally:
        place.unlink(missing_ok=True)


async def _write(place: Path, registry: CollectorRegistry) -> None:
    while True:
        try:
            await asyncio.to_thread(write_private, place, generate_latest(registry))
        except Exception as error:  # noqa: BLE001 - figures are no reason to stop
            log.warning("figures_not_written", fault=type(error).__name__)
        await asyncio.sleep(WRITE_SECONDS)


async def together(config: Config, own: CollectorRegistry) -> bytes:
    """The control plane's figures and those of its gateways, each with the label ``gateway``."""
    return await asyncio.to_thread(_page, config, generate_latest(own))


def _page(config: Config, own: bytes) -> bytes:
    pages = {CONTROL: own} | dict(_pages(config))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(pages))
    missing = missing_gauge(registry)
    for place, age in _places(config):
        if age < _MISSED_SECONDS:
            missing.labels(place.stem).set(age >= OLD_SECONDS)
    return generate_latest(registry)


def shown_lately(config: Config, name: str) -> bool:
    """Whether a gateway, of this host or another one, has shown figures within the last while."""
    try:
        return time.time() - gateway_figures(config, name).stat().st_mtime < OLD_SECONDS
    except OSError:
        return False


def missing_gauge(registry: CollectorRegistry) -> Gauge:
    """The figure of gateways that broke off; one that ended as it was asked to is not shown."""
    return Gauge(
        "portcullis_gateway_missing",
        "1 while a gateway is missing that was not asked to end, for a week at most.",
        [LABEL],
        registry=registry,
    )


def _pages(config: Config) -> Iterator[tuple[str, bytes]]:
    for place, age in _places(config):
        with contextlib.suppress(Exception):  # another user's, or gone meanwhile: none of ours
            if age < OLD_SECONDS:
                yield place.stem, read_private(place) or b""


def _places(config: Config) -> Iterator[tuple[Path, float]]:
    """Where gateways' figures lie, and how many seconds old they are.

    None are left of one that ended as it was asked to.
    """
    for place in sorted(gateway_figures(config, "x").parent.glob("*.prom")):
        with contextlib.suppress(OSError):
            yield place, time.time() - place.stat().st_mtime


class _Merged(Collector):
    def __init__(self, pages: Mapping[str, bytes]) -> None:
        self._pages = pages

    def collect(self) -> Iterable[Metric]:
        """One family for all processes that have it."""
        families: dict[str, Metric] = {}
        for process, page in self._pages.items():
            for found in text_string_to_metric_families(page.decode()):
                known = Metric(found.name, found.documentation, found.type)
                family = families.setdefault(found.name, known)
                for sample in found.samples:
                    labels = sample.labels | {LABEL: process}
                    family.add_sample(sample.name, labels, sample.value, sample.timestamp)
        return families.values()

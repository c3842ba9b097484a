"""What ``portcullis doctor`` says of secrets: whether each can be read, and what rotates which."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from portcullis.bootstrap import keys_of
from portcullis.bootstrap.secret_sources import Sources, sources_of
from portcullis.cli.doctor_finding import Finding
from portcullis.config import Config
from portcullis.control.metrics_api import credential
from portcullis.core.errors import Problem
from portcullis.core.secret import Secret
from portcullis.identity.keymanager import KEYS
from portcullis.identity.sealing import Envelope
from portcullis.inspection.honeytokens import Honeytokens
from portcullis.review.incident_access import configured


@contextlib.contextmanager
def opened(config: Config) -> Iterator[Sources]:
    """Every source of secrets; what a server lends is given back at the end.

    Before the first start there is no key, and what is sealed does not open.
    """
    sealer = None
    if (config.state / KEYS).is_dir():
        with contextlib.suppress(Problem):  # which is told by itself
            sealer = Envelope(keys_of(config, create=False))
    sources = sources_of(config, os.environ, sealer)
    try:
        yield sources
    finally:
        sources.close()


def secrets(config: Config, sources: Sources) -> Iterator[Finding]:
    """What is injected, scrapes figures or is a honeytoken, and what a schedule names."""
    told = {one.credential for one in config.models.values()}
    told |= {one.credential for one in config.mcp.values()}
    for one in configured(config):
        if one.reference not in told:
            told.add(one.reference)
            yield _read(f"secret of {one.upstream}", one.reference, sources)
    if config.telemetry.metrics is not None:
        yield _scraper(config.telemetry.metrics.token, sources)
    for known in config.secrets.known:
        if known.honeytoken:
            yield _read("honeytoken", known.reference, sources, bait=True)
        scheme = known.reference.partition(":")[0]
        if known.rotate_every_hours is not None:
            found = f"every {known.rotate_every_hours:g} hours"
            do = f"Name a program under incidents.rotation.{scheme}."
            yield Finding(f"rotation of {known.reference}", scheme in sources.hooks, found, do)


def _scraper(reference: str, sources: Sources) -> Finding:
    what = "token of telemetry.metrics"
    try:
        credential(sources.registry, reference)
    except Problem as problem:
        return Finding(what, ok=False, found=problem.detail, do=problem.hint)
    return Finding(what, ok=True, found=reference)


def _read(what: str, reference: str, sources: Sources, *, bait: bool = False) -> Finding:
    try:
        value: Secret = sources.registry.resolve(reference)
        if bait:
            Honeytokens(bytes(32), (), {reference: value})
    except Problem as problem:
        return Finding(what, ok=False, found=problem.detail, do=problem.hint)
    return Finding(what, ok=True, found=reference)

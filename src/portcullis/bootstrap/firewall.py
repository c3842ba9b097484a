"""The firewall of a gate: what inspects, put together from what ships and the configuration."""

from __future__ import annotations

from portcullis.checks.inspect import Inspect, Means
from portcullis.checks.planted import Planted
from portcullis.checks.restore import Restore
from portcullis.checks.rules import RuleBook
from portcullis.config import Config
from portcullis.control.services import Services
from portcullis.core.ports import Inventory, PolicyDecisionPoint
from portcullis.execution.extract.extractor import LimitedExtractor
from portcullis.identity.keys import derived, issuer_key
from portcullis.inspection.build import build
from portcullis.inspection.canary import Canaries
from portcullis.store.vaults import LocalVaults

CACHE = "cache"
"""Below the state directory: compiled rules."""


def canaries_of(config: Config, services: Services) -> Canaries:
    """The canaries of this deployment."""
    return Canaries(_key(config, services, "canaries"), config.inspection.honey)


def firewall(
    config: Config, services: Services, pdp: PolicyDecisionPoint, inventory: Inventory
) -> tuple[Restore, Inspect]:
    """The checks that look at content. Raises Problem PC7014 or PC7015 for a faulty rule or model.

    Their secrets are made of the issuer's key, so that canaries and envelopes stay what they are
    over restarts and on every process of a deployment. Placeholders live in this process alone.
    """
    settings = config.inspection
    canaries = canaries_of(config, services)
    cache = config.state / CACHE
    cache.mkdir(mode=0o700, exist_ok=True)
    built = build(
        settings.packs, settings.without, settings.dictionaries, cache=cache, canaries=canaries
    )
    vaults = LocalVaults(services.clock)
    means = Means(
        pdp=pdp,
        book=RuleBook(pdp, built.entities),
        inspector=built.inspector,
        patterns=built.patterns,
        scorers=built.injection,
        canaries=canaries,
        extractor=LimitedExtractor(settings.extraction),
        vaults=vaults,
        inventory=inventory,
        planted=Planted(_key(config, services, "envelopes"), canaries),
        commit=services.recorder.commitment,
    )
    return Restore(vaults, inventory), Inspect(means)


def _key(config: Config, services: Services, purpose: str) -> bytes:
    return derived(issuer_key(config.state / "keys", services.sealer), purpose)

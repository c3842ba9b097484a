"""The firewall of a gate: what inspects, put together from what ships and the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from typing import Final, NamedTuple, Protocol

import structlog

from portcullis.bootstrap.keys import keys_of
from portcullis.checks.inspect import Inspect, Means
from portcullis.checks.planted import Planted
from portcullis.checks.restore import Restore
from portcullis.checks.rules import RuleBook, Rules
from portcullis.checks.suspicious import NAMES
from portcullis.config import Config
from portcullis.config.inspection import Inspection
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.inspection import Channel
from portcullis.core.inspection_ports import Vaults
from portcullis.core.ports import Inventory, PolicyDecisionPoint, Sealer
from portcullis.core.session_ports import SessionState
from portcullis.execution.extract.extractor import LimitedExtractor
from portcullis.identity.keys import derived, issuer_key
from portcullis.identity.sealing import Envelope
from portcullis.inspection.build import Built, build, own_cache, rules_of
from portcullis.inspection.canary import Canaries
from portcullis.inspection.honeytokens import Honeytokens
from portcullis.inspection.injection.onnx import OnnxClassifier
from portcullis.inspection.ner import installed
from portcullis.policy.engine import CompiledPolicy
from portcullis.store.vaults import LocalVaults

CACHE = "cache"
"""Below the state directory: compiled rules, where the user has no cache folder of his own."""
_LOOK_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class Detectors(NamedTuple):
    """What finds things in texts: the rules and the injection detector, and the canaries."""

    built: Built
    canaries: Canaries


def canaries_of(config: Config, services: Services) -> Canaries:
    """The canaries of this deployment, and its honeytokens.

    Raises Problem PC5007 for a honeytoken that cannot be read: its use would not be seen.
    """
    key, parts = _key(config, services.sealer, "canaries"), services.secret_parts
    bait = config.secrets.honeytokens()
    if not bait or parts is None:
        return Canaries(key, config.inspection.honey)
    tokens = {reference: parts.broker.bait(reference) for reference in bait}
    return Honeytokens(key, config.inspection.honey, tokens)


def honey(config: Config, name: str) -> str:
    """The canary of a honey record, for a command; the key is made when there is none.

    Raises Problem PC7004 for a name that is not configured: its leak would name no record.
    """
    if name not in config.inspection.honey:
        hint = "List it in the configuration, and restart the gate."
        raise Problem("PC7004", f"inspection.honey does not name {name!r}", hint=hint)
    return Canaries(_key(config, Envelope(keys_of(config)), "canaries")).honey(name)


def detectors(config: Config, services: Services) -> Detectors:
    """What finds. Raises Problem PC7014 or PC7015 for a faulty rule or model."""
    settings = config.inspection
    canaries = canaries_of(config, services)
    onnx = OnnxClassifier(settings.onnx) if settings.onnx else None
    cache = own_cache() or config.state / CACHE  # what takes seconds is done once for all gates
    cache.mkdir(mode=0o700, exist_ok=True)
    built = build(
        settings.packs,
        settings.without,
        settings.dictionaries,
        cache=cache,
        canaries=canaries,
        onnx=onnx,
    )
    return Detectors(built, canaries)


def findable(settings: Inspection) -> frozenset[str] | None:
    """The entities that the rules of a configuration find; nothing is compiled for it.

    None where a recogniser is installed: it may find entities that no rule names. Raises Problem
    PC7014 for a faulty rule.
    """
    if installed():
        return None
    rules = rules_of(settings.packs, settings.without, settings.dictionaries)
    return frozenset(rule.entity for rule in rules)


def known(policy: CompiledPolicy, entities: Collection[str] | None) -> None:
    """Refuse a policy that names what nothing finds: Problem PC7002. See ``findable``."""
    for entity, place in policy.entities.items():
        if entities is not None and entity not in entities:
            near = ", ".join(get_close_matches(entity, entities))
            hint = f"Did you mean {near}?" if near else "docs/inspection.md lists them."
            raise Problem("PC7002", f"{place}: no rule finds {entity}", hint=hint)
    for tool, arguments in policy.tolerated.items():
        for argument, rules in arguments.items():
            unknown = sorted(rules - NAMES)
            if unknown:
                where = f"tools.{tool}.arguments.{argument}.tolerate"
                raise Problem(
                    "PC7002",
                    f"{where}: no rule is named {unknown[0]}",
                    hint=f"Rules: {', '.join(sorted(NAMES))}.",
                )


def warm(policy: CompiledPolicy, built: Built) -> None:
    """Prepare what the streams of each role need: the better part of a second, in a thread."""
    for profile in policy.profiles:
        wanted = Rules((profile,), built.entities).wanted(Channel.FROM_MODEL)
        if wanted:
            built.patterns.only(wanted).stream()


def firewall(
    found: Detectors,
    config: Config,
    services: Services,
    pdp: PolicyDecisionPoint,
    inventory: Inventory,
    vaults: Vaults,
    commit: Callable[[str, bytes], str],
) -> tuple[Restore, Inspect]:
    """The checks that look at content; ``commit`` makes the digests that stand for values.

    Their secrets are made of the issuer's key, so that canaries and envelopes stay what they are
    over restarts and on every process of a deployment. ``vaults`` has the sessions' placeholders.
    """
    built, canaries = found
    book = RuleBook(pdp, built.entities)
    means = Means(
        pdp=pdp,
        book=book,
        inspector=built.inspector,
        patterns=built.patterns,
        scorers=built.injection,
        canaries=canaries,
        extractor=LimitedExtractor(config.inspection.extraction),
        vaults=vaults,
        passing=LocalVaults(services.clock, vaults=1024, size=16 * 2**20, idle_seconds=3600),
        inventory=inventory,
        planted=Planted(_key(config, services.sealer, "envelopes"), canaries),
        commit=commit,
    )
    return Restore(vaults, inventory, book), Inspect(means)


class Keeper(Protocol):
    """Something that keeps what belongs to sessions in memory."""

    def end(self, is_open: Callable[[str], bool]) -> None: ...  # noqa: D102 - see above


async def ending(keepers: Iterable[Keeper], sessions: SessionState) -> None:
    """Settle ends and have forgotten what belonged to those sessions, every second, for ever."""
    said = ""
    while True:
        try:
            await sessions.settle()
            said = ""
        except Exception as error:  # noqa: BLE001 - nothing ends it but the gate's end
            fault = error.code if isinstance(error, Problem) else type(error).__name__
            if fault != said:
                log.warning("sessions_not_settled", fault=fault)
                said = fault
        for keeper in keepers:
            keeper.end(sessions.is_open)
        await asyncio.sleep(_LOOK_SECONDS)


def _key(config: Config, sealer: Sealer, purpose: str) -> bytes:
    return derived(issuer_key(config.state / "keys", sealer), purpose)

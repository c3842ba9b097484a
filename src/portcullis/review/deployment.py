"""What of configuration, policy and catalogue is evidence: read when evidence is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from portcullis.catalogue.schema import fault
from portcullis.config import Config
from portcullis.config.boxed import NONE
from portcullis.config.identity import FileKeys
from portcullis.config.tools import profiles
from portcullis.core.errors import Problem
from portcullis.core.inspection import Category, Channel, Profile, Source, Treatment
from portcullis.core.inspection_ports import Pin, Sighting
from portcullis.core.names import HIDDEN, made_of_words
from portcullis.policy.grammar import parse
from portcullis.policy.inspection import profile
from portcullis.policy.source import SourceFile, read
from portcullis.review.facts import named

_PERSONAL: Final = (Category.PERSONAL, Category.FINANCIAL, Category.IDENTITY, Category.HEALTH)


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment's settings as evidence. No secret is among them, and no reference to one.

    ``servers`` are the names of MCP servers and toolsets, ``models`` of model endpoints, ``plain``
    those that are reached without TLS beyond this machine; ``boxed`` are the servers and tools that
    the gate starts in a box, with its profile (``mcp.files: strict``), ``unboxed`` those that it
    starts without one; ``replicas`` are the stores that the log
    is shipped to. ``granted`` are the tools that policy names for some role. ``passing`` says which
    kinds of content some role's policy lets pass: ``personal:to_model``, ``secret:to_tool``,
    ``injection:document``, ``canaries``. ``policy_fault`` is why the policy cannot be read; empty
    when it can. ``pinned`` maps each tool that is pinned to whether an operator approved it,
    ``changed`` each that is described otherwise by its server to the time when that was seen.
    """

    trust_domain: str
    servers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    boxed: tuple[str, ...] = ()
    unboxed: tuple[str, ...] = ()
    tokens_bound: bool = True
    token_seconds: int = 0
    certificate_seconds: int = 0
    key_manager: str = ""
    key_beside_data: bool = False
    rules_switched_off: tuple[str, ...] = ()
    checkpoint_seconds: float = 0.0
    timestamp_authorities: tuple[str, ...] = ()
    replicas: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()
    policy_fault: str = ""
    pinned: dict[str, bool] = {}
    changed: dict[str, datetime] = {}


def deployment(config: Config, pins: Sequence[Pin], sightings: Sequence[Sighting]) -> Deployment:
    """Read the settings; of the policy what its folder says now. Blocks."""
    upstreams = {**{name: one.url for name, one in config.models.items()}}
    upstreams |= {name: one.url for name, one in config.mcp.items() if one.url is not None}
    commands = {name: one for name, one in config.mcp.items() if one.command is not None}
    started = dict(profiles(commands, config.tools))
    keys = config.keys
    return Deployment(
        trust_domain=config.trust_domain,
        servers=tuple(sorted([*config.mcp, *config.guard, *config.tools])),
        models=tuple(sorted(config.models)),
        plain=tuple(sorted(name for name, url in upstreams.items() if _in_the_open(url))),
        boxed=tuple(sorted(f"{name}: {box}" for name, box in started.items() if box != NONE)),
        unboxed=tuple(sorted(name for name, box in started.items() if box == NONE)),
        tokens_bound=config.tokens.bearer == "never",
        token_seconds=config.tokens.ttl_seconds,
        certificate_seconds=config.identity.svid_ttl_seconds,
        key_manager=keys.kind,
        key_beside_data=isinstance(keys, FileKeys)
        and (keys.path is None or keys.path.resolve().is_relative_to(config.state.resolve())),
        rules_switched_off=tuple(sorted(config.inspection.without)),
        checkpoint_seconds=config.audit.checkpoint_seconds,
        timestamp_authorities=tuple(one.name for one in config.audit.timestamps.authorities),
        replicas=tuple(one.name for one in config.audit.replicate),
        pinned={_tool(pin): bool(pin.approved_by) for pin in pins},
        changed={_tool(one): datetime.fromtimestamp(one.seen_at, UTC) for one in sightings},
        **msgspec.structs.asdict(_policy(config.policy)),
    )


class _Said(msgspec.Struct, frozen=True):
    """What a policy says that is evidence; the fields of ``Deployment``."""

    agents: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()
    policy_fault: str = ""


def _policy(folder: Path) -> _Said:
    try:
        return _read(read(folder))
    except Problem as problem:
        return _Said(policy_fault=problem.entry.title)


@lru_cache(maxsize=1)  # a policy is asked every minute and rarely changes
def _read(files: tuple[SourceFile, ...]) -> _Said:
    try:
        policy = parse(files, fault)
    except Problem as problem:
        return _Said(policy_fault=problem.entry.title)
    profiles = [profile(policy.inspection, role.inspection) for role in policy.roles]
    return _Said(
        agents=tuple(sorted(agent.name.value for agent in policy.agents)),
        roles=tuple(sorted(role.name.value for role in policy.roles)),
        granted=tuple(
            sorted({named(t.value) for role in policy.roles for t in role.allowed_tools})
        ),
        passing=tuple(sorted({name for one in profiles for name in _passing(one)})),
    )


def _passing(said: Profile) -> set[str]:
    """What a profile lets pass, in names of ``Deployment.passing``."""
    found = {
        f"{category}:{Channel.TO_MODEL}"
        for category in _PERSONAL
        if said.treatments[Channel.TO_MODEL].get(category, Treatment.ALLOW) is Treatment.ALLOW
    }
    found |= {
        f"{Category.SECRET}:{channel}"
        for channel in Channel
        if said.treatments[channel].get(Category.SECRET, Treatment.ALLOW) is Treatment.ALLOW
    }
    found |= {
        f"injection:{source}"
        for source in (Source.TOOL, Source.DOCUMENT)
        if said.injection[source] is Treatment.ALLOW
    }
    return found if said.canaries else found | {"canaries"}


def _in_the_open(url: str) -> bool:
    """Whether an address is reached without TLS over a network."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return parts.scheme == "http" and not local


def _tool(seen: Pin | Sighting) -> str:
    """As the log names it."""
    return named(f"{seen.server}.{seen.tool if made_of_words(seen.tool) else HIDDEN}")

"""For ``portcullis doctor``: whether servers are fit for counters, feed and shared state."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator

from portcullis.bootstrap.limits import KEPT
from portcullis.cli.doctor_finding import Finding
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.execution.secrets import Secrets
from portcullis.store.redis_acl import COUNTERS, FEED, SHARED, Use, lacking
from portcullis.store.redis_address import FAULTS, Address, Client, connected, one_node, parsed
from portcullis.store.redis_health import facts, forgets, unfit
from portcullis.store.redis_script import SKEW

_SECONDS = 3.0
_CLOCKS = "Set both machines' clocks (NTP): what goes by time is refused while they differ."


def servers(config: Config, secrets: Secrets) -> Iterator[Finding]:
    """One finding for each use that the configuration makes of a server."""
    uses = (
        ("counts", COUNTERS, config.counters.url),
        ("feed server", FEED, config.feed.url),
        ("shared server", SHARED, config.shared.url),
    )
    for what, use, reference in uses:
        if reference is None:
            continue
        try:
            address = parsed(secrets.resolve(reference).reveal())
            yield asyncio.run(_looked(what, use, reference, address, config.trust_domain))
        except Problem as problem:
            yield Finding(what, ok=False, found=problem.detail, do=problem.hint)


async def _looked(what: str, use: Use, reference: str, address: Address, domain: str) -> Finding:
    make = _messages if use is FEED else _commands
    client = make(address)
    try:
        lacks = await lacking(client, use, domain)
        if lacks:
            do = f"ACL SETUSER {address.user or 'default'} {use.rule(domain)}"
            return Finding(what, ok=False, found=f"its user may not: {', '.join(lacks)}", do=do)
        said, version, do = "", "", KEPT
        if use is COUNTERS:
            said = await unfit(client) or await forgets(client)
        elif use is SHARED:
            said = await unfit(client)
        if use is not FEED:
            told = (await facts(client))[0]
            version = f", Redis {told.get('redis_version', '?')}"
            off = time.time() - float(told.get("server_time_usec", math.nan)) / 1e6
            if not said and not abs(off) <= SKEW:
                said, do = f"its clock is {-off:+.0f} seconds from the one here", _CLOCKS
    except FAULTS as error:
        do = "Start it, or correct its address, its certificate or its user: see docs/redis.md."
        found = f"{address.where} cannot be reached: {type(error).__name__}"
        return Finding(what, ok=False, found=found, do=do)
    finally:
        await client.aclose()
    good = "it keeps what is counted" if use is COUNTERS else "it does what is needed"
    return Finding(what, not said, f"{reference}: {said or good + version}", do if said else "")


def _commands(address: Address) -> Client:
    return connected(address, seconds=_SECONDS, decode=True)


def _messages(address: Address) -> Client:
    return one_node(address, 0, seconds=_SECONDS)

"""``bench identity``: what it costs to know who is who, and how long it takes to end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from portcullis.bench.identity_cut import measure_cut
from portcullis.bench.identity_parts import measure_feed, measure_issue, measure_verify
from portcullis.bench.report import Report, machine, report, target

SVIDS_PER_SECOND: Final = 2000
"""X509-SVIDs for given keys, by one core."""
CACHED_US: Final = 10
"""To authenticate a request by a token that is remembered."""
REVOKE_MS: Final = 10
"""From the request to revoke an agent until none of its requests is served, and until 99 of 100
of its open connections, and of its streams, have ended."""
_PROMISED: Final = (
    "revoke_last_served_ms",
    "revoke_connections_p99_ms",
    "revoke_streams_p99_ms",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to measure: ``seconds`` for each small part, ``repeats`` revocations."""

    seconds: float = 0.5
    repeats: int = 5
    connections: int = 1000
    streams: int = 100
    folder: Path | None = None


def measure_identity(settings: Settings, say: Callable[[str], None]) -> Report:
    """Measure all of it. ``say`` hears of each step; Problem PC7007 when a process fails."""
    at = machine()
    say("issuing SVIDs")
    found = measure_issue(settings.seconds)
    say("authenticating")
    found |= measure_verify(settings.seconds)
    found |= measure_feed(settings.seconds)
    say(f"revoking agents with {settings.connections} connections each")
    found |= measure_cut(settings.connections, settings.streams, settings.repeats, settings.folder)
    targets = {
        "svid_per_s": target(found, "svid_per_s", ">=", SVIDS_PER_SECOND),
        "verify_x5t_cached_us": target(found, "verify_x5t_cached_us", "<=", CACHED_US),
    }
    targets |= {name: target(found, name, "<=", REVOKE_MS) for name in _PROMISED}
    return report("bench identity", at, found, targets)

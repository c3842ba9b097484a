"""``bench firewall``: what it costs to look at everything that goes in and out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from portcullis.bench.firewall_gate import measure_gate
from portcullis.bench.firewall_peers import measure_peers
from portcullis.bench.firewall_read import measure_parts, measure_read, measure_worst
from portcullis.bench.firewall_stream import measure_stream
from portcullis.bench.report import Report, machine, report, target

PROMISED: Final[Mapping[str, float]] = {
    "read_1k_us": 60,
    "read_10k_us": 500,
    "worst_1m_ms": 50,
    "first_token_added_ms": 2,
    "check_p99_ms": 2,
}
"""Each figure's most. The first two are the dearest kind of ordinary text, with every rule on."""

_ROUND_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to measure: ``texts`` alone, the ``gate`` alone, or (None) both.

    A cost is the cheapest of ``rounds``; ``seconds`` is for each load of the gate, which streams
    each answer ``repeats`` times. ``peers`` is the Python of an environment with the peers in it.
    """

    only: Literal["texts", "gate"] | None = None
    rounds: int = 9
    seconds: float = 3.0
    repeats: int = 7
    peers: Path | None = None
    folder: Path | None = None


def measure_firewall(settings: Settings, say: Callable[[str], None]) -> Report:
    """Measure all of it. ``say`` hears of each step; Problem PC7007 when a process fails."""
    at = machine()
    found: dict[str, float] = {}
    if settings.only != "gate":
        with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as cache:
            say("reading ordinary texts")
            found |= measure_read(Path(cache), _ROUND_SECONDS, settings.rounds)
            found |= measure_parts(Path(cache), _ROUND_SECONDS, settings.rounds)
            say("reading the worst of 1 MB")
            found |= measure_worst(Path(cache), min(settings.rounds, 5))
            say("reading streams")
            found |= measure_stream(Path(cache), settings.rounds)
        if settings.peers is not None:
            say("the peers read the same ordinary texts")
            found |= measure_peers(settings.peers, _ROUND_SECONDS, settings.rounds)
    if settings.only != "texts":
        say("two gates, with the firewall and without")
        found |= measure_gate(settings.seconds, settings.repeats, settings.folder)
    promises = {
        name: target(found, name, "<=", most) for name, most in PROMISED.items() if name in found
    }
    return report("bench firewall", at, found, promises)

"""What it costs to read a text: ordinary ones, by all rules and as channels have it, and the worst.

Costs are processor time of one thread, and of several rounds the cheapest: what else the machine
does makes a round dearer, never cheaper.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Final

from portcullis.bench.firewall_texts import KINDS, WORST, ordinary, worst
from portcullis.checks.rules import Rules
from portcullis.core.errors import Problem
from portcullis.core.inspection import Channel, Source, Text, Treatment
from portcullis.inspection.build import build
from portcullis.inspection.canary import Canaries
from portcullis.inspection.normalise import layers
from portcullis.inspection.reading import Wanted
from portcullis.policy.inspection import DEFAULTS

SIZES: Final = {"1k": 1000, "10k": 10_000}
_WAYS: Final = {
    "prose": (Channel.TO_MODEL, Source.DOCUMENT),
    "chat": (Channel.TO_MODEL, Source.USER),
    "tool": (Channel.FROM_TOOL, Source.TOOL),
    "document": (Channel.TO_MODEL, Source.DOCUMENT),
    "code": (Channel.FROM_MODEL, Source.MODEL),
    "log": (Channel.TO_MODEL, Source.TOOL),
}
"""Where a text of each kind comes from, and the channel that it goes."""
_SESSION: Final = "bench"


def cheapest(work: Callable[[], object], seconds: float, rounds: int) -> float:
    """Processor seconds of one call of ``work``, in the cheapest of so many rounds.

    A round repeats the call for about ``seconds``, at least once.
    """
    work()
    before = time.thread_time()
    work()
    count = max(1, int(seconds / max(time.thread_time() - before, 1e-7)))
    best = float("inf")
    for _ in range(rounds):
        before = time.thread_time()
        for _ in range(count):
            work()
        best = min(best, time.thread_time() - before)
    return best / count


def measure_read(cache: Path, seconds: float, rounds: int) -> dict[str, float]:
    """Microseconds for each kind and size, and the dearest kind of each size.

    ``read_...``: every rule and the injection model, whoever wrote the text. ``channel_...``: what
    the default profile looks for on the text's channel, its session's canaries too. ``found_...``
    is how much the rules see in it. ``cache`` is a folder for compiled databases.
    """
    every = build(cache=cache).inspector
    built = build(cache=cache, canaries=Canaries(secrets.token_bytes(32)))
    rules = Rules((DEFAULTS,), built.entities)
    found: dict[str, float] = {}
    for size, length in SIZES.items():
        for kind in KINDS:
            channel, source = _WAYS[kind]
            texts = (Text(path=(), text=ordinary(kind, length), source=source),)
            wanted = Wanted(
                entities=rules.wanted(channel),
                injection=_scored(source),
                session=_SESSION,
            )
            for name, inspector, asked in (
                ("read", every, Wanted(canaries=False)),
                ("channel", built.inspector, wanted),
            ):
                took = cheapest(partial(inspector.read, texts, asked), seconds, rounds)
                found[f"{name}_{size}_{kind}_us"] = took * 1e6
            everything = every.read(texts, Wanted(canaries=False))[0].matches
            found[f"found_{size}_{kind}"] = float(len(everything))
        for name in ("read", "channel"):
            costs = [found[f"{name}_{size}_{kind}_us"] for kind in KINDS]
            found[f"{name}_{size}_us"] = max(costs)
            found[f"{name}_{size}_mean_us"] = mean(costs)
    return found


def measure_parts(cache: Path, seconds: float, rounds: int) -> dict[str, float]:
    """``part_SIZE_PART_us``: what each detector takes by itself, the mean over all kinds."""
    canaries = Canaries(secrets.token_bytes(32))
    built = build(cache=cache)
    works: dict[str, Callable[[str], object]] = {
        "normalise": layers,
        "patterns": lambda text: built.patterns.scan([text]),
        "injection": lambda text: built.injection.score(text, Source.TOOL),
        "canaries": lambda text: canaries.find(text, _SESSION),
    }
    found = {}
    for size, length in SIZES.items():
        texts = [ordinary(kind, length) for kind in KINDS]
        for part, work in works.items():
            costs = [cheapest(partial(work, text), seconds, rounds) for text in texts]
            found[f"part_{size}_{part}_us"] = mean(costs) * 1e6
    return found


def measure_worst(cache: Path, rounds: int) -> dict[str, float]:
    """Milliseconds for 1 MB of each bad kind by every rule, as found or as refused (PC3025)."""
    inspector = build(cache=cache).inspector
    found = {}
    for kind in WORST:
        texts = (Text(path=(), text=worst(kind), source=Source.DOCUMENT),)

        def read() -> None:
            with contextlib.suppress(Problem):
                inspector.read(texts, Wanted(canaries=False))  # noqa: B023 - called at once

        found[f"worst_1m_{kind}_ms"] = cheapest(read, 0.0, rounds) * 1e3
    return found | {"worst_1m_ms": max(found.values())}


def _scored(source: Source) -> frozenset[Source]:
    allowed = DEFAULTS.injection[source] is Treatment.ALLOW
    return frozenset() if allowed else frozenset({source})

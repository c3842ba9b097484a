"""What a model's streamed answer costs for each chunk, and how much of it is held back.

The judge is the one that the gate's check hands out, with the default profile: secrets and ways
to carry data out are masked, the session's canary ends the stream.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Final

from portcullis.bench.firewall_texts import KINDS, OPENINGS, WORST, ordinary, pieces, worst
from portcullis.bench.load import percentile
from portcullis.bootstrap import SystemClock
from portcullis.catalogue.inventory import LocalInventory
from portcullis.checks.inspect import Inspect, Means
from portcullis.checks.planted import Planted
from portcullis.checks.rules import RuleBook
from portcullis.config.inspection import Extraction
from portcullis.core.call import Action, Call, Context, Route
from portcullis.core.check import Progress, StreamJudge
from portcullis.core.errors import Problem
from portcullis.core.inspection import Profile
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.verdict import Allow, Deny
from portcullis.execution.extract.extractor import LimitedExtractor
from portcullis.inspection.build import build
from portcullis.inspection.canary import Canaries
from portcullis.policy.inspection import DEFAULTS
from portcullis.store.vaults import LocalVaults

CHUNK: Final = 20
"""Characters of a chunk: what a model's API sends at once, roughly."""
_ORDINARY: Final = 4000
_WORST: Final = 40_000
_PATIENCE: Final = 2.0
"""Seconds of processor time for one stream; what they gave is the figure."""
_KEY: Final = "choices[0].delta.content"


class Streams:
    """Hands out judges of streams. ``cache`` is a folder for compiled databases."""

    def __init__(self, cache: Path) -> None:
        canaries = Canaries(secrets.token_bytes(32))
        built = build(cache=cache, canaries=canaries)
        pdp = _Defaults()
        self._check = Inspect(
            Means(
                pdp=pdp,
                book=RuleBook(pdp, built.entities),
                inspector=built.inspector,
                patterns=built.patterns,
                scorers=built.injection,
                canaries=canaries,
                extractor=LimitedExtractor(Extraction()),
                vaults=LocalVaults(SystemClock()),
                passing=LocalVaults(SystemClock()),
                inventory=LocalInventory(),
                planted=Planted(secrets.token_bytes(32), canaries),
                commit=lambda _subject, value: value.hex(),
            )
        )

    def judge(self) -> StreamJudge:
        """Who reads the next answer."""
        found = self._check.judge_stream(_CALL, _context())
        if found is None:
            raise Problem("PC7007", "nobody judges a stream")
        return found


def measure_stream(cache: Path, rounds: int) -> dict[str, float]:
    """Microseconds for a chunk, and characters that are held after it.

    ``stream_chunk_KIND_us`` is the mean over an ordinary answer, its end included, and
    ``stream_worst_KIND_us`` over a bad one; of several rounds the cheapest. Held characters are
    those that came and may not go on yet, over all ordinary kinds.
    ``stream_very_first_ms`` is the first chunk of the first stream of all, when what is needed
    is made. ``stream_first_held`` is the share of answers whose first token waits for the next.
    """
    streams = Streams(cache)
    first = pieces(ordinary(KINDS[0], CHUNK), CHUNK)
    began = _cost(streams.judge, first, 1)
    found: dict[str, float] = {"stream_very_first_ms": began / 1e3}
    held: list[int] = []
    for kind in KINDS:
        chunks = pieces(ordinary(kind, _ORDINARY), CHUNK)
        found[f"stream_chunk_{kind}_us"] = _cost(streams.judge, chunks, rounds)
        held += held_back(streams.judge(), chunks)
    found["stream_chunk_us"] = max(found[f"stream_chunk_{kind}_us"] for kind in KINDS)
    for kind in WORST:
        chunks = pieces(worst(kind, _WORST), CHUNK)
        found[f"stream_worst_{kind}_us"] = _cost(streams.judge, chunks, min(rounds, 3))
    held.sort()
    found["stream_held_mean_chars"] = mean(held)
    found["stream_held_p99_chars"] = percentile(held, 0.99)
    found["stream_held_max_chars"] = held[-1]
    firsts = [held_back(streams.judge(), tokens[:1])[0] for tokens in OPENINGS]
    found["stream_first_held"] = sum(map(bool, firsts)) / len(firsts)
    return found


def held_back(judge: StreamJudge, chunks: Sequence[str]) -> list[int]:
    """How many characters wait after each chunk. Raises Problem PC7007 when the stream ends."""
    waiting: list[int] = []
    came = 0
    for chunk in chunks:
        came += len(chunk)
        progress = judge.text(_KEY, chunk, last=False)
        if isinstance(progress, Deny):
            raise Problem("PC7007", f"an ordinary stream was ended: {progress.code}")
        waiting.append(came - progress.settled)
    return waiting


def _cost(judge: Callable[[], StreamJudge], chunks: Sequence[str], rounds: int) -> float:
    """Microseconds of processor time for a chunk, as far as the stream, or our patience, goes."""
    best = float("inf")
    for _ in range(rounds):
        one = judge()
        count = 0
        before = time.thread_time()
        for chunk in chunks:
            count += 1
            goes_on = isinstance(one.text(_KEY, chunk, last=False), Progress)
            if not goes_on or time.thread_time() - before > _PATIENCE:
                break
        else:
            one.text(_KEY, "", last=True)
        best = min(best, (time.thread_time() - before) / count)
    return best * 1e6


class _Defaults:
    """A policy that says nothing about inspection."""

    digest: Final = "sha256:bench"

    def decide(self, call: Call, context: Context) -> Allow | Deny:
        """Everything may be done."""
        del call, context
        return Allow(rule="bench")

    def visible(
        self, kind: str, server: str, names: Sequence[str], context: Context
    ) -> frozenset[str]:
        """All of them."""
        del kind, server, context
        return frozenset(names)

    def profile(self, context: Context) -> Profile:
        """What the gate does by itself."""
        del context
        return DEFAULTS

    def lasting(self, context: Context) -> bool:
        """Nothing is asked in another process."""
        del context
        return False


_CALL: Final = Call(
    id="0" * 32,
    route=Route.LLM_STREAM,
    action=Action.MODEL,
    server="bench",
    name="bench-1",
    method="POST /v1/chat/completions",
    arguments={},
    payload={},
    body=b"{}",
    stream=True,
)


def _context() -> Context:
    principal = Principal(
        kind=PrincipalKind.AGENT, id="bench", credential="bench", expires_at=time.time() + 3600
    )
    return Context(
        principal=principal, session=None, source="bench", trace_id="0" * 32, received_at=0.0
    )

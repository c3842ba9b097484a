"""How long a revocation takes: from the operator's request to the end of all that is the agent's.

The gate is ``portcullis up`` with its defaults, the connections are another process's. Each repeat
has a fresh agent with connections and streams, beside a neighbour who must not notice.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import IO, Final

import msgspec

from portcullis.bench.gate import AGENT, last_line
from portcullis.bench.identity_load import READY, Outcome, Plan
from portcullis.bench.identity_stage import Stage, staged
from portcullis.bench.load import percentile
from portcullis.client.svid import Svid
from portcullis.core.errors import Problem

ASKERS: Final = 2
KEPT_CONNECTIONS, KEPT_STREAMS = 50, 10
"""What the neighbour has open."""

_SETTLE_SECONDS: Final = 0.5
_GIVE_UP_SECONDS: Final = 10.0
_FILES: Final = 1000
"""What a process has open beside connections."""


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """One revocation, in milliseconds after its request was sent.

    ``served`` and ``content`` are when the last request was served and the last piece of a stream
    came, negative before it was sent. ``gate`` is what the gate itself took from the feed's
    change to the last idle connection.
    """

    connections: tuple[float, ...]
    streams: tuple[float, ...]
    content: float
    served: float
    answer: float
    gate: float


def measure_cut(
    connections: int, streams: int, repeats: int, folder: Path | None
) -> dict[str, float]:
    """The figures of so many revocations, by name.

    Raises Problem PC7007 when a process fails, when something of the agent outlives the cut, or
    when the neighbour notices.
    """
    files = 2 * (connections + streams + KEPT_CONNECTIONS + KEPT_STREAMS) + _FILES
    with (
        tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=folder) as name,
        staged(Path(name), files=files) as stage,
        _loading(Path(name)) as load,
    ):
        neighbour = stage.enrol(AGENT)
        runs = [
            _revoked(stage, load, f"agent-{number:03}", neighbour, connections, streams)
            for number in range(repeats)
        ]
    return figures(runs)


def figures(runs: Sequence[Cut]) -> dict[str, float]:
    """Medians of the repeats; ``max`` and ``last`` are the worst of all, ``least`` the best p99."""
    found: dict[str, float] = {}
    for what in ("connections", "streams"):
        ends = [sorted(getattr(each, what)) for each in runs]
        p99 = [percentile(each, 0.99) for each in ends]
        name = f"revoke_{what}"
        found[f"{name}_p50_ms"] = median(percentile(each, 0.5) for each in ends)
        found[f"{name}_p99_ms"] = median(p99)
        found[f"{name}_p99_least_ms"] = min(p99)
        found[f"{name}_max_ms"] = max(each[-1] for each in ends)
    found["revoke_last_served_ms"] = max(0.0, *(each.served for each in runs))
    found["revoke_last_content_ms"] = max(0.0, *(each.content for each in runs))
    found["revoke_in_gate_ms"] = median(each.gate for each in runs)
    found["revoke_answer_ms"] = median(each.answer for each in runs)
    return found


def ended(outcome: Outcome, plan: Plan, sent: float) -> tuple[tuple[float, ...], ...]:
    """When connections and streams ended, in milliseconds after ``sent``.

    Raises Problem PC7007 when one did not, or when the cut did more or less than it should.
    """
    alive = plan.connections - len(outcome.connections) + plan.streams - len(outcome.streams)
    faults = {
        f"{alive} connections or streams outlived the agent": alive != 0,
        "a stream ended without a reason": outcome.told != plan.streams,
        "the agent came back": not outcome.refused,
        "a neighbour was cut off, too": not outcome.unharmed,
        "something ended before the agent was revoked": sent
        > min((*outcome.connections, *outcome.streams), default=sent),
    }
    for fault, found in faults.items():
        if found:
            raise Problem("PC7007", f"revocation: {fault}")
    return tuple(
        tuple((at - sent) * 1000 for at in each) for each in (outcome.connections, outcome.streams)
    )


class _Load:
    """The process that holds the connections."""

    def __init__(self, child: subprocess.Popen[bytes], output: Path) -> None:
        self._child = child
        self._output = output

    def begin(self, plan: Plan) -> None:
        """Have everything opened."""
        to = self._pipe(self._child.stdin)
        with contextlib.suppress(BrokenPipeError):
            to.write(msgspec.json.encode(plan) + b"\n")
            to.flush()
        if self._line() != READY:
            raise Problem("PC7007", "the load is out of step")

    def outcome(self) -> Outcome:
        """What became of it."""
        return msgspec.json.decode(self._line(), type=Outcome)

    def _line(self) -> bytes:
        line = self._pipe(self._child.stdout).readline()
        if not line:
            said = last_line(self._output.read_bytes())
            raise Problem("PC7007", f"the connections could not be made; the last line: {said}")
        return line

    def _pipe(self, found: IO[bytes] | None) -> IO[bytes]:
        if found is None:
            raise Problem("PC9002", "the load has no pipe")
        return found


@contextlib.contextmanager
def _loading(folder: Path) -> Iterator[_Load]:
    path = folder / "load.output"
    with (
        path.open("wb") as output,
        subprocess.Popen(
            (sys.executable, "-m", "portcullis.bench.identity_load"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        ) as child,
    ):
        try:
            yield _Load(child, path)
        finally:
            child.kill()


def _revoked(
    stage: Stage, load: _Load, name: str, neighbour: Svid, connections: int, streams: int
) -> Cut:
    plan = Plan(
        port=stage.mtls,
        agent=stage.enrol(name),
        neighbour=neighbour,
        connections=connections,
        streams=streams,
        askers=ASKERS,
        kept_connections=KEPT_CONNECTIONS,
        kept_streams=KEPT_STREAMS,
        seconds=_GIVE_UP_SECONDS,
    )
    load.begin(plan)
    time.sleep(_SETTLE_SECONDS)
    sent, answered = stage.revoke(name)
    outcome = load.outcome()
    idle, streamed = ended(outcome, plan, sent)
    return Cut(
        connections=idle,
        streams=streamed,
        content=(outcome.content - sent) * 1000,
        served=(outcome.served - sent) * 1000,
        answer=(answered - sent) * 1000,
        gate=stage.cut_ms(connections),
    )

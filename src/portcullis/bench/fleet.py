"""A fleet under load: what a call costs, beside a bare proxy and gateways of others.

A cell is a number of gateways and of connections. In it all subjects take turns, kind of call by
kind of call, so that whatever else the machine does is shared; ratios are medians of neighbours in
time. Cells are kept in a file, each with the command that made it, and one that is there is not
measured again: so a long measurement can be ended and gone on with.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from portcullis import __version__
from portcullis.bench.fleet_load import Outcome, Plan
from portcullis.bench.fleet_peers import Peer
from portcullis.bench.fleet_stage import Stage, Subject, staged
from portcullis.bench.report import Machine, Report, Target, machine, report, target
from portcullis.core.errors import Problem

KINDS: Final = ("json", "sse", "tools", "mix")
PEER_CONNECTIONS: Final = 50
"""Peers that answer a few calls a second get no more: it costs them less, and takes minutes."""
LONG: Final = 300.0
"""Seconds of load from which on it is said how memory grows."""
MOST: Final[Mapping[str, float]] = {"json_ratio": 3.5, "sse_ratio": 2.5, "growth_percent": 1.0}
"""The promises: a call costs at most so many times what it costs the bare proxy; in ten minutes
memory grows by less than so much."""
LEAST: Final[Mapping[str, float]] = {
    "json_over_litellm": 20.0,
    "sse_over_litellm": 20.0,
    "tools_over_contextforge": 50.0,
}
"""The promises: at least so many times as many calls for a second of processor time."""
FLAT: Final = 1.15
"""The promise: a call costs in a fleet of any size at most so many times what it costs in one."""
_GATE: Final = "gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``seconds`` of load for a whole cell; ``rounds`` is how often all subjects take turns in it.

    ``command`` is what was typed, for the file of cells.
    """

    gateways: tuple[int, ...] = (1, 2, 4)
    connections: tuple[int, ...] = (50, 200, 1000)
    kinds: tuple[str, ...] = KINDS
    seconds: float = 60.0
    rounds: int = 5
    peers: tuple[Peer, ...] = ()
    cells: Path | None = None
    folder: Path | None = None
    command: str = ""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A measured cell, as a line of the file."""

    gateways: int
    connections: int
    kinds: tuple[str, ...]
    peers: tuple[str, ...]
    seconds: float
    command: str
    version: str
    machine: Machine
    at: str
    figures: dict[str, float]


Runs = dict[tuple[str, str], list[Outcome]]
"""Outcomes by subject and kind, one for each round."""


def measure_fleet(settings: Settings, say: Callable[[str], object] = lambda _: None) -> Report:
    """Measure the cells that are not in the file yet, and report on all that are asked for.

    Raises Problem PC7007 when a process does not answer, or a call is not answered rightly.
    """
    at = machine()
    known = {(one.gateways, one.connections): one for one in kept(settings)}
    for gateways in settings.gateways:
        for connections in settings.connections:
            if (gateways, connections) in known:
                continue
            say(f"{gateways} gateways, {connections} connections")
            cell = _cell(settings, gateways, connections, say)
            known[gateways, connections] = cell
            if settings.cells is not None:
                with settings.cells.open("ab") as file:
                    file.write(msgspec.json.encode(cell) + b"\n")
    found = {
        f"g{cell.gateways}_c{cell.connections}_{name}": figure
        for (gateways, connections), cell in sorted(known.items())
        if gateways in settings.gateways and connections in settings.connections
        for name, figure in cell.figures.items()
    }
    found |= flatness(found, settings)
    return report("bench fleet", at, found, targets(found))


def kept(settings: Settings) -> tuple[Cell, ...]:
    """The cells in the file that are as the settings ask for them.

    Raises Problem PC7004 for a file that is none of cells.
    """
    if settings.cells is None or not settings.cells.exists():
        return ()
    lines = settings.cells.read_bytes().splitlines()
    try:
        cells = [msgspec.json.decode(line, type=Cell) for line in lines]
    except msgspec.DecodeError:
        raise Problem("PC7004", f"{settings.cells} is no file of cells") from None
    peers = tuple(peer.name for peer in settings.peers)
    return tuple(
        cell
        for cell in cells
        if cell.version == __version__
        and cell.kinds == settings.kinds
        and cell.peers == peers
        and cell.seconds >= settings.seconds
    )


def targets(found: Mapping[str, float]) -> dict[str, Target]:
    """The promises about what was measured."""
    made = {}
    for name in found:
        what = name.partition("_")[2].partition("_")[2]
        if what in MOST:
            made[name] = target(dict(found), name, "<=", MOST[what])
        elif what in LEAST:
            made[name] = target(dict(found), name, ">=", LEAST[what])
        elif name.endswith("_over_one"):
            made[name] = target(dict(found), name, "<=", FLAT)
    return made


def flatness(found: Mapping[str, float], settings: Settings) -> dict[str, float]:
    """What a call costs in a fleet, over what it costs in one gateway, by connections.

    It is the cost over the bare proxy's of the same cell that is compared.
    """
    made = {}
    for connections in settings.connections:
        for kind in settings.kinds:
            one = found.get(f"g1_c{connections}_{kind}_ratio")
            for gateways in settings.gateways:
                several = found.get(f"g{gateways}_c{connections}_{kind}_ratio")
                if gateways > 1 and one and several:
                    made[f"g{gateways}_c{connections}_{kind}_over_one"] = several / one
    return made


def _cell(
    settings: Settings, gateways: int, connections: int, say: Callable[[str], object]
) -> Cell:
    at = machine()
    with (
        tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=settings.folder) as name,
        staged(Path(name), gateways=gateways, peers=settings.peers) as stage,
    ):
        runs, memory = _rounds(settings, stage, connections, say)
    return Cell(
        gateways=gateways,
        connections=connections,
        kinds=settings.kinds,
        peers=tuple(peer.name for peer in settings.peers),
        seconds=settings.seconds,
        command=settings.command,
        version=__version__,
        machine=at,
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        figures={name: round(figure, 3) for name, figure in figures(runs, memory).items()},
    )


def _rounds(
    settings: Settings, stage: Stage, connections: int, say: Callable[[str], object]
) -> tuple[Runs, list[tuple[float, float]]]:
    """All turns; and the memory of the gateways after so many seconds under load."""
    turns = [
        (subject, kind)
        for kind in settings.kinds
        for subject in stage.subjects
        if kind == "mix" or kind in subject.kinds
        if not (kind == "mix" and subject.name not in {"bare", _GATE})
    ]
    each = settings.seconds / (settings.rounds * len(turns))
    runs: Runs = defaultdict(list)
    memory: list[tuple[float, float]] = []
    loaded = 0.0
    for subject, kind in turns:  # whatever is made once is made now
        _driven(subject, kind, connections, min(each, 1.0), seed=0)
    for round_ in range(settings.rounds):
        for subject, kind in turns:
            say(f"round {round_ + 1} of {settings.rounds}: {kind}, {subject.name}")
            outcome = _driven(subject, kind, connections, each, seed=round_ + 1)
            runs[subject.name, kind].append(outcome)
            if subject.name == _GATE:
                loaded += each
                memory.append((loaded, outcome.rss_mb[_GATE]))
    return runs, memory


def _driven(subject: Subject, kind: str, connections: int, seconds: float, *, seed: int) -> Outcome:
    kinds = tuple(subject.kinds.values()) if kind == "mix" else (subject.kinds[kind],)
    peer = subject.name not in {"bare", _GATE}
    plan = Plan(
        ports=subject.ports,
        kinds=kinds,
        connections=min(connections, PEER_CONNECTIONS) if peer else connections,
        seconds=seconds,
        sessions=dict(subject.sessions),
        seed=seed,
    )
    outcome = driven(plan, f"{subject.name}, {kind}")
    if outcome.errors:
        detail = f"{subject.name}, {kind}: wrong answers, by status: {outcome.errors}"
        raise Problem("PC7007", detail)
    return outcome


def driven(plan: Plan, where: str) -> Outcome:
    """Drive a plan in a process of its own. Problem PC7007 that names ``where`` when it fails."""
    try:
        done = subprocess.run(
            (sys.executable, "-m", "portcullis.bench.fleet_load"),
            input=msgspec.json.encode(plan),
            capture_output=True,
            check=True,
            timeout=plan.seconds + 150,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise Problem("PC7007", f"{where}: the load could not be driven") from None
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    if not outcome.calls:
        raise Problem("PC7007", f"{where}: nothing was answered within {plan.seconds:g} seconds")
    return outcome


def figures(runs: Runs, memory: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The medians of all rounds, ``KIND_SUBJECT_WHAT``, and what they are to each other."""
    found: dict[str, float] = {}
    for (subject, kind), outcomes in runs.items():
        name = f"{kind}_{subject}"
        found[f"{name}_per_s"] = median(one.rate for one in outcomes)
        found[f"{name}_cpu_us"] = median(cost(one, subject) for one in outcomes)
        found[f"{name}_per_core_s"] = 1e6 / max(found[f"{name}_cpu_us"], 1.0)
        for what in sorted(outcomes[0].by_kind):
            place = f"{name}_{what}" if kind == "mix" else name
            found[f"{place}_p50_ms"] = median(one.p50_ms.get(what, 0.0) for one in outcomes)
            found[f"{place}_p99_ms"] = median(one.p99_ms.get(what, 0.0) for one in outcomes)
        found[f"{name}_load_us"] = median(one.load_us for one in outcomes)
        if subject == _GATE:
            control = (one.cpu_s["control"] / one.calls * 1e6 for one in outcomes)
            found[f"{kind}_control_cpu_us"] = median(control)
            continue
        gates = runs.get((_GATE, kind), [])
        pairs = [(cost(a, _GATE), cost(b, subject)) for a, b in zip(gates, outcomes, strict=True)]
        if subject == "bare":
            found[f"{kind}_ratio"] = median(gate / other for gate, other in pairs)
        else:
            found[f"{kind}_over_{subject}"] = median(other / gate for gate, other in pairs)
    found["rss_mb"] = memory[-1][1]
    if memory[-1][0] >= LONG:
        found["growth_percent"] = growth(memory)
    return found


def cost(outcome: Outcome, subject: str) -> float:
    """Microseconds of a subject's processor time for each of its calls."""
    return max(outcome.cpu_s[subject] / outcome.calls * 1e6, 1.0)


def growth(memory: Iterable[tuple[float, float]]) -> float:
    """By how many percent memory grows in ten minutes of load: its slope, by least squares.

    The first quarter is left out: by then everything that is made once has been made.
    """
    points = list(memory)
    points = points[len(points) // 4 :]
    middle = sum(at for at, _ in points) / len(points)
    level = sum(size for _, size in points) / len(points)
    spread = sum((at - middle) ** 2 for at, _ in points) or 1.0
    slope = sum((at - middle) * (size - level) for at, size in points) / spread
    return slope * 600 / level * 100

"""The measurement: which cells are run, in which order, and what figures they make.

The machine is shared and noisy, so the subjects take turns (direct, bare, gate, direct, ...) in
every cell, the whole is repeated, and each figure is the median of the repeats; a ratio is the
median of the ratios of neighbours in time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from portcullis.bench.disk import fdatasync_ms
from portcullis.bench.load import Outcome, Plan, percentile
from portcullis.bench.report import Report, machine, report, target
from portcullis.bench.subjects import JSON, SSE, Shape, Subject, running
from portcullis.core.errors import Problem

CPU_RATIO: Final = 2.5
"""Most processor time of a JSON call in the gate, as a multiple of the bare proxy's."""
SPARE_MS: Final = 2.0
"""What the gate's p99 may add to the bare proxy's at half its capacity, beside one fdatasync."""
PROMISED_CONNECTIONS: Final = 50
_FDATASYNC_SAMPLES: Final = 60

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to measure, and for how long.

    ``seconds`` is for each closed-loop cell; an open loop takes three times as long. ``folder`` is
    on the disk whose fdatasync counts, None for the system's temporary folder.
    """

    seconds: float = 0.8
    repeats: int = 3
    connections: tuple[int, ...] = (1, 16, 50, 200)
    shapes: tuple[Shape, ...] = (JSON, SSE)
    beside: str | None = None
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A place in the table; ``rate`` (calls/s) makes it an open loop."""

    shape: Shape
    connections: int
    rate: float | None = None


Runs = dict[tuple[str, Cell], list[Outcome]]
"""Outcomes by subject and cell, one for each repeat."""


def measure(settings: Settings, say: Say) -> Report:
    """Start everything, run all cells, end everything. ``say`` hears of each step.

    Raises Problem PC7007 when a process does not start or a call is not answered rightly.
    """
    at = machine()
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=settings.folder) as name:
        folder = Path(name)
        say("starting the upstream stub, the bare proxy and the gate")
        with running(folder, beside=settings.beside) as subjects:
            disk: list[float] = []
            runs: Runs = defaultdict(list)
            cells = [Cell(shape, n) for shape in settings.shapes for n in settings.connections]
            _rounds(settings, subjects, cells, runs, disk, folder, say)
            tested = [each for each in subjects if each.name in {"bare", "gate"}]
            half = [
                Cell(shape, PROMISED_CONNECTIONS, _half_capacity(settings, runs, shape))
                for shape in settings.shapes
            ]
            _rounds(settings, tested, half, runs, disk, folder, say)
    found = figures(runs, disk)
    targets = {}
    if JSON in settings.shapes:
        most = found["json_half_bare_p99_ms"] + found["fdatasync_p50_ms"] + SPARE_MS
        targets["p99_half_capacity_ms"] = target(found, "p99_half_capacity_ms", "<=", most)
    if "cpu_ratio_json" in found:
        targets["cpu_ratio_json"] = target(found, "cpu_ratio_json", "<=", CPU_RATIO)
    return report("bench gate", at, found, targets)


def figures(runs: Runs, disk: Iterable[float]) -> dict[str, float]:
    """The medians of all repeats, by name: ``SHAPE_cN_SUBJECT_WHAT``, ``SHAPE_half_...``."""
    found: dict[str, float] = {}
    for (subject, cell), outcomes in runs.items():
        place = _place(cell)
        name = f"{place}_{subject}"
        found[f"{name}_rps"] = median(each.rate for each in outcomes)
        found[f"{name}_p50_ms"] = median(each.p50_ms for each in outcomes)
        found[f"{name}_p99_ms"] = median(each.p99_ms for each in outcomes)
        found[f"{name}_cpu_us"] = median(each.cpu_us for each in outcomes)
        found[f"{name}_load_us"] = median(each.load_us for each in outcomes)
        if cell.rate is not None:
            found[f"{place}_offered_rps"] = cell.rate
        elif subject != "direct":
            for share in ("p50_ms", "p99_ms"):
                direct = f"{place}_direct_{share}"
                found[f"{name}_added_{share}"] = found[f"{name}_{share}"] - found[direct]
        bare = runs.get(("bare", cell))
        if bare is not None and subject not in {"direct", "bare"}:
            pairs = zip(outcomes, bare, strict=True)
            found[f"{name}_cpu_ratio"] = median(one.cpu_us / max(b.cpu_us, 1) for one, b in pairs)
    for shape in ("json", "sse"):
        promised = f"{shape}_c{PROMISED_CONNECTIONS}_gate_cpu_ratio"
        if promised in found:
            found[f"cpu_ratio_{shape}"] = found[promised]
    if "json_half_gate_p99_ms" in found:
        found["p99_half_capacity_ms"] = found["json_half_gate_p99_ms"]
    ordered = sorted(disk)
    found["fdatasync_p50_ms"] = percentile(ordered, 0.5)
    found["fdatasync_p99_ms"] = percentile(ordered, 0.99)
    return found


def _place(cell: Cell) -> str:
    return f"{cell.shape.name}_{f'c{cell.connections}' if cell.rate is None else 'half'}"


def _rounds(
    settings: Settings,
    subjects: Sequence[Subject],
    cells: Sequence[Cell],
    runs: Runs,
    disk: list[float],
    folder: Path,
    say: Say,
) -> None:
    for number in range(settings.repeats):
        for cell in cells:
            say(f"round {number + 1} of {settings.repeats}: {_place(cell)}")
            disk += fdatasync_ms(folder, _FDATASYNC_SAMPLES // settings.repeats)
            for subject in subjects:
                runs[subject.name, cell].append(_run(settings, subject, cell, seed=number))


def _half_capacity(settings: Settings, runs: Runs, shape: Shape) -> float:
    """Half of what the bare proxy served in a closed loop at the promised connections."""
    nearest = min(settings.connections, key=lambda n: abs(n - PROMISED_CONNECTIONS))
    outcomes = runs["bare", Cell(shape, nearest)]
    return median(each.rate for each in outcomes) / 2


def _run(settings: Settings, subject: Subject, cell: Cell, *, seed: int) -> Outcome:
    seconds = settings.seconds * (1 if cell.rate is None else 3)
    plan = Plan(
        port=subject.port,
        path=subject.path,
        token=subject.token,
        body=cell.shape.body,
        tail=cell.shape.tail,
        connections=cell.connections,
        seconds=seconds,
        session=subject.session,
        rate=cell.rate,
        seed=seed,
    )
    return driven(plan, f"{subject.name} at {_place(cell)}")


def driven(plan: Plan, where: str) -> Outcome:
    """Drive one cell. Problem PC7007 that names ``where`` when a call is not answered rightly."""
    try:
        done = subprocess.run(
            (sys.executable, "-m", "portcullis.bench.load"),
            input=msgspec.json.encode(plan),
            capture_output=True,
            check=True,
            timeout=plan.seconds + 30,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise Problem("PC7007", f"{where}: the load could not be driven") from None
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    if outcome.errors:
        detail = f"{where}: {outcome.errors} wrong answers"
        raise Problem("PC7007", f"{detail} (the first: status {outcome.first_error})")
    if not outcome.calls:
        raise Problem("PC7007", f"{where}: nothing was answered within {plan.seconds:g} seconds")
    return outcome


def json_driven(subject: Subject, connections: int, seconds: float, seed: int) -> Outcome:
    """Drive a closed loop of JSON answers. Problem PC7007 as ``driven``."""
    plan = Plan(
        port=subject.port,
        path=subject.path,
        token=subject.token,
        body=JSON.body,
        tail=JSON.tail,
        connections=connections,
        seconds=seconds,
        session=subject.session,
        seed=seed,
    )
    return driven(plan, subject.name)

"""What continuous evidence costs: the same gate with and without it, in turns, and the fold alone.

Both gates stand in front of one upstream stub and record everything. The one that evaluates does
so every second, sixty times as often as by default.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from portcullis.bench import gate
from portcullis.bench.load import Outcome
from portcullis.bench.measure import json_driven
from portcullis.bench.report import Report, machine, report, target
from portcullis.bench.subjects import Subject, end, free_ports, ready, spawn
from portcullis.bootstrap.evidence_logs import evidence_logs
from portcullis.config import Config, load
from portcullis.review.facts import Facts
from portcullis.review.logs import folded

CONNECTIONS: Final = 16
LOST_PERCENT: Final = 5.0
"""The promise: how much of the gate's throughput evaluating may cost."""
_PATH: Final = "/openai/v1/chat/completions"
_SECTIONS: Final = {
    "off": {"frameworks": []},
    "on": {"seconds": 1},
}


def measure_evidence(seconds: float, rounds: int, folder: Path | None) -> Report:
    """``rounds`` cells of so many seconds for each gate, in turns; the medians of pairs."""
    at = machine()
    found: dict[str, list[Outcome]] = {name: [] for name in _SECTIONS}
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=folder) as name:
        place = Path(name)
        with _running(place) as subjects:
            for number in range(rounds):
                turn = subjects if number % 2 else subjects[::-1]
                for subject in turn:
                    found[subject.name].append(json_driven(subject, CONNECTIONS, seconds, number))
        entries, took = _fold(load(place / "on" / "portcullis.yaml"))
    pairs = list(zip(found["off"], found["on"], strict=True))
    figures = {
        **{f"calls_{name}_per_s": median(one.rate for one in found[name]) for name in _SECTIONS},
        **{f"cpu_{name}_us": median(one.cpu_us for one in found[name]) for name in _SECTIONS},
        **{f"p99_{name}_ms": median(one.p99_ms for one in found[name]) for name in _SECTIONS},
        "cpu_more_percent": 100 * median(on.cpu_us / off.cpu_us - 1 for off, on in pairs),
        "lost_percent": 100 * median(1 - on.rate / off.rate for off, on in pairs),
        "fold_entries": float(entries),
        "fold_per_s": entries / took,
    }
    targets = {"lost_percent": target(figures, "lost_percent", "<=", LOST_PERCENT)}
    return report("bench evidence", at, figures, targets)


@contextlib.contextmanager
def _running(place: Path) -> Iterator[tuple[Subject, ...]]:
    """The stub and both gates. Problem PC7007 when one does not answer."""
    stub, *ports = free_ports(1 + 2 * len(_SECTIONS))
    with contextlib.ExitStack() as stack:

        def start(name: str, argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
            child = spawn(argv, stack.enter_context((place / f"{name}.output").open("w+b")))
            stack.callback(end, child)
            return child

        start("stub", (sys.executable, "-m", "portcullis.bench.stub", str(stub)))
        waiting = []
        for number, (name, section) in enumerate(_SECTIONS.items()):
            port, control = ports[2 * number : 2 * number + 2]
            (place / name).mkdir()
            config = gate.configuration(
                place / name, gate=port, control=control, upstream=f"http://127.0.0.1:{stub}"
            )
            with config.open("a") as file:
                file.write(f"evidence: {msgspec.json.encode(section).decode()}\n")
            token = gate.agent_token(config)
            child = start(name, gate.command(config))
            waiting.append((child, control, Subject(name, port, _PATH, token, child.pid)))
        for child, control, subject in waiting:
            ready(subject.name, child, control, "/readyz")
        yield tuple(subject for _, _, subject in waiting)


def _fold(config: Config) -> tuple[int, float]:
    """Fold a log from its beginning, without rests: its entries, and the seconds."""
    logs = evidence_logs(config, time.time())
    began = time.perf_counter()
    facts, _ = folded(logs, Facts(origin=logs.own.verifier.name))
    return facts.size, time.perf_counter() - began

"""What a second worker brings: one deployment of each number of workers, loaded in turns.

All stand in front of one upstream stub, record everything and have one agent. Whoever loads them
runs on the same machine, and takes its share of the processors.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from portcullis.bench import gate
from portcullis.bench.load import Outcome
from portcullis.bench.measure import json_driven
from portcullis.bench.report import Report, machine, report, target
from portcullis.bench.subjects import Subject, end, free_ports, ready, spawn
from portcullis.config import load
from portcullis.config.places import gateway_files
from portcullis.core.errors import Problem

CONNECTIONS: Final = 32
LEAST_RATIO: Final = 1.0
"""The promise: two workers serve no less than one, even where the load takes a processor too."""
_PATH: Final = "/openai/v1/chat/completions"
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``workers`` is compared with 1: ``rounds`` cells of so many ``seconds`` each, in turns."""

    workers: int = 2
    seconds: float = 2.0
    rounds: int = 5
    folder: Path | None = None


def measure_workers(settings: Settings, say: Callable[[str], object] = lambda _: None) -> Report:
    """Measure; figures are medians, the ratio that of neighbours in time.

    Raises Problem PC7007 when a process does not answer.
    """
    at = machine()
    found: dict[int, list[Outcome]] = {1: [], settings.workers: []}
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=settings.folder) as name:
        say("starting the deployments")
        with _running(Path(name), tuple(found)) as subjects:
            for round_ in range(settings.rounds):
                say(f"round {round_ + 1} of {settings.rounds}")
                order = sorted(subjects, reverse=bool(round_ % 2))
                for count in order:
                    found[count].append(
                        json_driven(subjects[count], CONNECTIONS, settings.seconds, round_)
                    )
    pairs = zip(found[1], found[settings.workers], strict=True)
    figures = {
        "workers": float(settings.workers),
        **{f"calls_{n}_per_s": median(one.rate for one in each) for n, each in found.items()},
        **{f"p50_{n}_ms": median(one.p50_ms for one in each) for n, each in found.items()},
        **{f"p99_{n}_ms": median(one.p99_ms for one in each) for n, each in found.items()},
        "ratio": median(several.rate / one.rate for one, several in pairs),
    }
    targets = {"ratio": target(figures, "ratio", ">=", LEAST_RATIO)}
    return report("bench workers", at, figures, targets)


@contextlib.contextmanager
def _running(place: Path, counts: tuple[int, ...]) -> Iterator[dict[int, Subject]]:
    """The stub, and a deployment for each number of workers."""
    stub, *ports = free_ports(1 + 2 * len(counts))
    with contextlib.ExitStack() as stack:

        def start(name: str, argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
            child = spawn(argv, stack.enter_context((place / f"{name}.output").open("w+b")))
            stack.callback(end, child)
            return child

        start("stub", (sys.executable, "-m", "portcullis.bench.stub", str(stub)))
        subjects = {}
        for number, count in enumerate(counts):
            port, control = ports[2 * number : 2 * number + 2]
            folder = place / f"workers-{count}"
            folder.mkdir()
            upstream = f"http://127.0.0.1:{stub}"
            config = gate.configuration(folder, gate=port, control=control, upstream=upstream)
            token = gate.agent_token(config)
            child = start(folder.name, (*gate.command(config), "--workers", str(count)))
            ready(folder.name, child, control, "/readyz")
            if count > 1:  # one is the control plane too, in one process
                until_all_serve(config, count)
            subjects[count] = Subject(folder.name, port, _PATH, token, child.pid)
        yield subjects


def until_all_serve(path: Path, count: int) -> None:
    """Wait until so many workers listen. Raises Problem PC7007 when they do not."""
    config, until = load(path), time.monotonic() + _PATIENCE
    while len(gateway_files(config)) < count:
        if time.monotonic() > until:
            raise Problem("PC7007", f"not all of {count} workers serve")
        time.sleep(0.05)

"""What traces cost: the same gate without them, and with every share of its requests traced.

All stand in front of one upstream stub and are loaded in turns; a collector takes the spans.
Figures are processor time, so a busy machine does not look like a slow program.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Final

import yaml

from portcullis.bench import gate
from portcullis.bench.measure import json_driven
from portcullis.bench.report import Report, machine, report, target
from portcullis.bench.subjects import Subject, end, free_ports, ready, spawn

OFF: Final = "off"
RATIOS: Final = {"0": 0.0, "1_percent": 0.01, "all": 1.0}
CONNECTIONS: Final = 32
_PATH: Final = "/openai/v1/chat/completions"
MOST_UNTRACED: Final = 1.01
"""The promise: what is not drawn costs at most a hundredth more than no traces at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``rounds`` cells of so many ``seconds`` for each gate, in turns."""

    seconds: float = 1.0
    rounds: int = 5
    folder: Path | None = None


def measure_traces(settings: Settings, say: Callable[[str], object] = lambda _: None) -> Report:
    """Measure; figures are medians, ratios those of neighbours in time.

    Raises Problem PC7007 when a process does not answer.
    """
    at = machine()
    found: dict[str, list[float]] = {name: [] for name in (OFF, *RATIOS)}
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=settings.folder) as name:
        say("starting the gates")
        with _running(Path(name)) as subjects:
            for round_ in range(settings.rounds + 1):  # the first warms them up
                say(f"round {round_} of {settings.rounds}")
                for subject in subjects if round_ % 2 else reversed(subjects):
                    outcome = json_driven(subject, CONNECTIONS, settings.seconds, round_)
                    if round_:
                        found[subject.name].append(outcome.cpu_us)
    figures = {f"traces_{name}_cpu_us": median(each) for name, each in found.items()}
    for name in RATIOS:
        pairs = zip(found[name], found[OFF], strict=True)
        figures[f"traces_{name}_ratio"] = median(one / off for one, off in pairs)
    targets = {"traces_0_ratio": target(figures, "traces_0_ratio", "<=", MOST_UNTRACED)}
    return report("bench traces", at, figures, targets)


@contextlib.contextmanager
def _running(place: Path) -> Iterator[list[Subject]]:
    """A collector, the stub, and a gate for each share."""
    stub, *ports = free_ports(1 + 2 * (1 + len(RATIOS)))
    with contextlib.ExitStack() as stack:

        def start(name: str, argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
            child = spawn(argv, stack.enter_context((place / f"{name}.output").open("w+b")))
            stack.callback(end, child)
            return child

        collector = stack.enter_context(_collector())
        start("stub", (sys.executable, "-m", "portcullis.bench.stub", str(stub)))
        subjects = []
        for name in (OFF, *RATIOS):
            port, control = ports.pop(), ports.pop()
            (folder := place / name).mkdir()
            upstream = f"http://127.0.0.1:{stub}"
            config = gate.configuration(folder, gate=port, control=control, upstream=upstream)
            if name != OFF:
                traces = {"endpoint": collector, "ratio": RATIOS[name]}
                with config.open("a", encoding="utf-8") as file:
                    file.write(yaml.safe_dump({"telemetry": {"traces": traces}}))
            token = gate.agent_token(config)
            child = start(f"gate-{name}", gate.command(config))
            ready(name, child, control, "/readyz")
            subjects.append(Subject(name, port, _PATH, token, child.pid))
        yield subjects


class _Taking(BaseHTTPRequestHandler):
    """Takes whatever comes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read it and say that it is there."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is said."""


@contextlib.contextmanager
def _collector() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Taking) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        finally:
            server.shutdown()
            thread.join(5)

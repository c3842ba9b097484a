"""A large policy that takes force in a running gate, and the calls beside it.

The gate is a gateway beside its control plane, which reviews every new policy. One client loads it
in an open loop, another asks again and again for a model that the new policy grants or takes away:
what it is answered says when the policy in force is another one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final

import yaml

from portcullis.bench import gate
from portcullis.bench.load import Outcome, Plan
from portcullis.bench.measure import driven
from portcullis.bench.policy_made import Sizes, text
from portcullis.bench.stub import MODEL
from portcullis.bench.subjects import JSON, end, free_ports, ready, spawn
from portcullis.core.errors import Problem

OTHER: Final = "bench-2"
_PATH: Final = "/openai/v1/chat/completions"
_RATE: Final = 50.0
_SECONDS: Final = 5.0
_LEAD: Final = 0.5
_PATIENCE: Final = 60.0
_BETWEEN: Final = 0.02
_GRANTED, _REFUSED = 200, 403

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Gate:
    folder: Path
    port: int
    token: str
    pid: int

    def load(self, seconds: float, seed: int) -> Outcome:
        """Calls of the model that every policy grants, in an open loop."""
        plan = Plan(
            port=self.port,
            path=_PATH,
            token=self.token,
            body=JSON.body,
            tail=JSON.tail,
            connections=8,
            seconds=seconds,
            session=self.pid,
            rate=_RATE,
            seed=seed,
        )
        return driven(plan, "the gate")

    def status(self) -> int:
        """What a call of the other model is answered."""
        link = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            body = JSON.body.replace(MODEL.encode(), OTHER.encode(), 1)
            link.request("POST", _PATH, body, headers)
            return link.getresponse().status
        finally:
            link.close()


def measure_activation(folder: Path, sizes: Sizes, rounds: int, say: Say) -> dict[str, float]:
    """Activate a policy so many times. Raises Problem PC7007 when the gate does not take it."""
    before, during, taken = [], [], []
    with _running(folder, sizes) as running:
        for number in range(rounds):
            say(f"a new policy in a running gate, {number + 1} of {rounds}")
            before.append(running.load(_SECONDS, number).p99_ms)
            granted = number % 2 == 0
            with ThreadPoolExecutor(1) as beside:
                loaded = beside.submit(running.load, _SECONDS, number)
                time.sleep(_LEAD)
                taken.append(_activate(running, sizes, granted=granted))
                during.append(loaded.result().p99_ms)
    return {
        "activation_s": median(taken),
        "gate_before_p99_ms": median(before),
        "gate_during_p99_ms": median(during),
        "gate_added_p99_ms": median(b - a for a, b in zip(before, during, strict=True)),
    }


def _activate(running: _Gate, sizes: Sizes, *, granted: bool) -> float:
    """Seconds from the signal until the new policy decides."""
    _write(running.folder, sizes, granted=granted)
    began = time.perf_counter()
    os.kill(running.pid, signal.SIGHUP)
    wanted = _GRANTED if granted else _REFUSED
    while running.status() != wanted:
        if time.perf_counter() - began > _PATIENCE:
            raise Problem("PC7007", "the gate does not take the new policy")
        time.sleep(_BETWEEN)
    return time.perf_counter() - began


def _write(folder: Path, sizes: Sizes, *, granted: bool) -> None:
    """The policy file, whole at any moment."""
    made = folder / "new.yaml"
    made.write_text(text(sizes, (MODEL, OTHER) if granted else (MODEL,)), encoding="utf-8")
    made.replace(folder / "policy" / "main.yaml")


@contextlib.contextmanager
def _running(folder: Path, sizes: Sizes) -> Iterator[_Gate]:
    with contextlib.ExitStack() as stack:
        stub, port, control = free_ports(3)
        config = gate.configuration(
            folder, gate=port, control=control, upstream=f"http://127.0.0.1:{stub}"
        )
        said = yaml.safe_load(config.read_text(encoding="utf-8"))
        said["models"]["bench"]["serves"].append(OTHER)
        said["breakers"] = {"agent": {"enabled": False}, "upstream": {"enabled": False}}
        said["counters"] = {"via": "sqlite"}
        config.write_text(yaml.safe_dump(said), encoding="utf-8")
        _write(folder, sizes, granted=False)
        token = gate.agent_token(config)

        def start(name: str, argv: tuple[str, ...], where: int, path: str) -> int:
            output = stack.enter_context((folder / f"{name}.output").open("w+b"))
            child = spawn(argv, output)
            stack.callback(end, child)
            ready(name, child, where, path)
            return child.pid

        start("upstream", (sys.executable, "-m", "portcullis.bench.stub", str(stub)), stub, "/")
        start("control", gate.program("control", "-c", str(config)), control, "/readyz")
        listen = ("--name", "gate-1", "--listen", f"gate=127.0.0.1:{port}")
        argv = gate.program("gateway", *listen, "-c", str(config))
        yield _Gate(folder, port, token, start("gate", argv, port, "/readyz"))

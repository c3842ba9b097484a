"""What the firewall adds inside of a running gate: to the first token, and to each call.

Two gates are ``portcullis up`` with the same policy, but that ``open`` has every treatment set to
allow. Their upstream is a model that streams at a steady pace.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

import msgspec
import yaml

from portcullis.bench import gate
from portcullis.bench.firewall_texts import OPENINGS, ordinary, records
from portcullis.bench.firewall_timed import COMMAND, Inspected
from portcullis.bench.load import Plan, percentile
from portcullis.bench.measure import driven
from portcullis.bench.stub import MODEL
from portcullis.bench.subjects import Subject, end, free_ports, ready, spawn
from portcullis.core.errors import Problem
from portcullis.core.inspection import Category, Channel, Source

CONNECTIONS: Final = 50
ROUNDS: Final = 3
"""Open loops, one after the other."""
_PATH: Final = "/openai/v1/chat/completions"
_OK: Final = 200
_OPEN: Final = {
    **{channel.value: {category.value: "allow" for category in Category} for channel in Channel},
    "injection": {source.value: "allow" for source in Source},
    "opaque": {channel.value: "allow" for channel in Channel},
    "envelope": "off",
    "canaries": False,
}


def measure_gate(seconds: float, repeats: int, folder: Path | None) -> dict[str, float]:
    """The figures of both gates. Each answer is streamed ``repeats`` times by each of them.

    ``seconds`` is an open loop's, of which there are ``ROUNDS``. Raises Problem PC7007 when a
    process does not start or a call is not answered rightly.
    """
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=folder) as name:
        place = Path(name)
        with _running(place) as (opened, closed):
            found = _first_tokens(opened, closed, repeats)
            loads, windows = _loaded(closed, seconds)
        inspected = msgspec.json.decode((place / _TIMES).read_bytes(), type=Inspected)
    return found | loads | check_figures(inspected, windows)


def check_figures(inspected: Inspected, windows: Sequence[tuple[float, float]]) -> dict[str, float]:
    """What the check took of each call that began within a window (CLOCK_MONOTONIC).

    ``check_p99_ms`` is that of the quietest window: what else runs only adds. Raises Problem
    PC7007 when there was no call in a window.
    """
    spent = [
        sorted(one.clock for one in inspected.calls.values() if begin <= one.began < end)
        for begin, end in windows
    ]
    if not all(spent):
        raise Problem("PC7007", "no call was inspected")
    p99 = [percentile(each, 0.99) for each in spent]
    worked = sorted(
        one.processor
        for one in inspected.calls.values()
        if windows[0][0] <= one.began < windows[-1][1]
    )
    return {
        "check_p50_ms": min(percentile(each, 0.5) for each in spent) * 1e3,
        "check_p99_ms": min(p99) * 1e3,
        "check_p99_worst_ms": max(p99) * 1e3,
        "check_processor_p50_ms": percentile(worked, 0.5) * 1e3,
        "check_processor_p99_ms": percentile(worked, 0.99) * 1e3,
        "check_calls": float(sum(map(len, spent))),
    }


def token_figures(
    opened: Sequence[Sequence[float]], closed: Sequence[Sequence[float]]
) -> dict[str, float]:
    """Milliseconds to the first token: for each answer, the times that each gate took.

    Of an answer's repeats the quickest counts; ``added`` is the mean over all answers, and what
    the slowest has to wait.
    """
    without, within = ([min(each) * 1e3 for each in gate] for gate in (opened, closed))
    added = [c - o for o, c in zip(without, within, strict=True)]
    return {
        "first_token_open_ms": mean(without),
        "first_token_gate_ms": mean(within),
        "first_token_added_ms": mean(added),
        "first_token_added_p50_ms": median(added),
        "first_token_added_max_ms": max(added),
    }


def body(**more: Any) -> bytes:
    """A request as agents make them: a question, and 1 KB of a tool's result to answer it by."""
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "find", "arguments": '{"order": "A-17"}'},
    }
    return msgspec.json.encode(
        {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": "You help customers of a shop."},
                {"role": "user", "content": ordinary("chat", 1000)},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": records(5)},
            ],
            "max_tokens": 200,
            **more,
        }
    )


_TIMES: Final = "times.json"


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[tuple[Subject, Subject]]:
    """Start the model, the gate that allows all and the gate with the defaults."""
    with contextlib.ExitStack() as stack:
        (stub,) = free_ports(1)

        def start(name: str, argv: Sequence[str], port: int, path: str) -> int:
            output = stack.enter_context((folder / f"{name}.output").open("w+b"))
            child = spawn(argv, output)
            stack.callback(end, child)
            ready(name, child, port, path)
            return child.pid

        start("model", (sys.executable, "-m", f"{__package__}.firewall_stub", str(stub)), stub, "/")
        found = []
        for name in ("open", "gate"):
            place = folder / name
            place.mkdir()
            port, control = free_ports(2)
            config = gate.configuration(
                place, gate=port, control=control, upstream=f"http://127.0.0.1:{stub}"
            )
            argv = gate.command(config)
            if name == "open":
                inspect_nothing(place / "policy" / "main.yaml")
            else:
                argv = (*COMMAND, str(folder / _TIMES), "up", "-c", str(config))
            token = gate.agent_token(config)
            pid = start(name, argv, control, "/readyz")
            found.append(Subject(name, port, _PATH, token, pid))
        yield found[0], found[1]


def inspect_nothing(policy: Path) -> None:
    """Let a policy file allow whatever inspection would find."""
    rules = yaml.safe_load(policy.read_text())
    policy.write_text(yaml.safe_dump({**rules, "inspection": _OPEN}, sort_keys=False))


def _first_tokens(opened: Subject, closed: Subject, repeats: int) -> dict[str, float]:
    """Both gates stream the same answers in turns, over a connection each."""
    links = [HTTPConnection("127.0.0.1", one.port, timeout=10) for one in (opened, closed)]
    gates = list(zip(links, (opened, closed), strict=True))
    taken: dict[str, list[list[float]]] = {
        one.name: [[] for _ in OPENINGS] for one in (opened, closed)
    }
    try:
        for turn in range(repeats + 1):
            for number in range(len(OPENINGS)):
                request = body(stream=True, seed=number)
                for link, subject in gates if turn % 2 else reversed(gates):
                    took = first_token(link, subject.token, request)
                    if turn:  # in the first nothing is warm
                        taken[subject.name][number].append(took)
    except (OSError, HTTPException) as error:
        raise Problem("PC7007", f"a stream broke off: {type(error).__name__}") from None
    finally:
        for link in links:
            link.close()
    return token_figures(taken[opened.name], taken[closed.name])


def first_token(link: HTTPConnection, token: str, request: bytes) -> float:
    """Seconds from a request to the first token of its answer, which is read to its end."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    began = time.perf_counter()
    link.request("POST", _PATH, request, headers)
    answer = link.getresponse()
    took = None
    last = b""
    for line in answer:
        if took is None and b'"content":"' in line and b'"content":""' not in line:
            took = time.perf_counter() - began
        last = line.strip() or last
    if answer.status != _OK or took is None or last != b"data: [DONE]":
        raise Problem("PC7007", f"a stream was not answered rightly: HTTP {answer.status}")
    return took


def _loaded(subject: Subject, seconds: float) -> tuple[dict[str, float], list[tuple[float, float]]]:
    """What the gate can serve at 50 connections, and when it served half of that."""

    def run(rate: float | None, seed: int) -> float:
        plan = Plan(
            port=subject.port,
            path=subject.path,
            token=subject.token,
            body=body(),
            tail=b"}",
            connections=CONNECTIONS,
            seconds=seconds,
            session=subject.session,
            rate=rate,
            seed=seed,
        )
        return driven(plan, subject.name).rate

    capacity = run(None, 0)
    windows, served = [], []
    for seed in range(ROUNDS):
        begin = time.monotonic()
        served.append(run(capacity / 2, seed))
        windows.append((begin, time.monotonic()))
    return {"check_capacity_rps": capacity, "check_served_rps": mean(served)}, windows

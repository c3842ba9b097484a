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
from portcullis.bench.firewall_texts import OPENINGS, ordinary
from portcullis.bench.firewall_timed import COMMAND, Inspected
from portcullis.bench.load import Plan, percentile
from portcullis.bench.measure import driven
from portcullis.bench.stub import MODEL
from portcullis.bench.subjects import Subject, end, free_ports, ready, spawn
from portcullis.core.errors import Problem
from portcullis.core.inspection import Category, Channel, Source

CONNECTIONS: Final = 50
_PATH: Final = "/openai/v1/chat/completions"
_OK: Final = 200
_OPEN: Final = {
    **{channel.value: {category.value: "allow" for category in Category} for channel in Channel},
    "injection": {source.value: "allow" for source in Source},
    "opaque": {channel.value: "allow" for channel in Channel},
    "envelope": "off",
    "canaries": False,
}


def measure_gate(seconds: float, answers: int, folder: Path | None) -> dict[str, float]:
    """The figures of both gates. ``answers`` are streamed by each, ``seconds`` is an open loop's.

    Raises Problem PC7007 when a process does not start or a call is not answered rightly.
    """
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=folder) as name:
        place = Path(name)
        with _running(place) as (opened, closed):
            found = _first_tokens(opened, closed, answers)
            loads, window = _loaded(closed, seconds)
        inspected = msgspec.json.decode((place / _TIMES).read_bytes(), type=Inspected)
    return found | loads | check_figures(inspected, window)


def check_figures(inspected: Inspected, window: tuple[float, float]) -> dict[str, float]:
    """What the check took of each call that began within the window (CLOCK_MONOTONIC).

    Raises Problem PC7007 when there was none.
    """
    begin, until = window
    spent = sorted(took for began, took in inspected.calls.values() if begin <= began < until)
    if not spent:
        raise Problem("PC7007", "no call was inspected")
    return {
        "check_p50_ms": percentile(spent, 0.5) * 1e3,
        "check_p99_ms": percentile(spent, 0.99) * 1e3,
        "check_max_ms": spent[-1] * 1e3,
        "check_calls": float(len(spent)),
    }


def token_figures(opened: Sequence[float], closed: Sequence[float]) -> dict[str, float]:
    """Milliseconds to the first token, of the same answers by both gates, one by one."""
    added = sorted((c - o) * 1e3 for o, c in zip(opened, closed, strict=True))
    return {
        "first_token_open_p50_ms": median(opened) * 1e3,
        "first_token_gate_p50_ms": median(closed) * 1e3,
        "first_token_added_ms": median(added),
        "first_token_added_mean_ms": mean(added),
        "first_token_added_p90_ms": percentile(added, 0.9),
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
                {"role": "tool", "tool_call_id": "call_1", "content": ordinary("tool", 1000)},
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


def _first_tokens(opened: Subject, closed: Subject, answers: int) -> dict[str, float]:
    """Both gates stream the same answers in turns, over a connection each."""
    taken: dict[str, list[float]] = {opened.name: [], closed.name: []}
    links = [(HTTPConnection("127.0.0.1", one.port, timeout=10), one) for one in (opened, closed)]
    try:
        for number in range(answers + len(OPENINGS)):
            for link, subject in links if number % 2 else reversed(links):
                took = first_token(link, subject.token, body(stream=True, seed=number))
                if number >= len(OPENINGS):  # before that, nothing is warm
                    taken[subject.name].append(took)
    except (OSError, HTTPException) as error:
        raise Problem("PC7007", f"a stream broke off: {type(error).__name__}") from None
    finally:
        for link, _ in links:
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


def _loaded(subject: Subject, seconds: float) -> tuple[dict[str, float], tuple[float, float]]:
    """What the gate can serve at 50 connections, and when it served half of that."""

    def run(rate: float | None, seconds: float) -> float:
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
        )
        outcome = driven(plan, subject.name)
        return outcome.calls / outcome.seconds

    capacity = run(None, min(seconds, 2.0))
    begin = time.monotonic()
    served = run(capacity / 2, seconds)
    figures = {"check_capacity_rps": capacity, "check_served_rps": served}
    return figures, (begin, time.monotonic())

"""The policy's decision, alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from portcullis.bench.gate import AGENT, policy
from portcullis.bench.load import percentile
from portcullis.bench.report import Report, machine, report
from portcullis.catalogue.schema import fault
from portcullis.core.call import Action, Call, Context, Route
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.verdict import Allow
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp, load


def measure_policy(seconds: float) -> Report:
    """Decisions of one thread on the policy of the gate's benchmark, a tool call each.

    None is remembered: what is measured is the engine.
    """
    at = machine()
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as name:
        (Path(name) / "main.yaml").write_text(yaml.safe_dump(policy()))
        engine = RegorusEngine()
        began = time.perf_counter()
        pdp = RegoPdp(load(Path(name), fragment=fault, engine=engine), engine, remember=0)
        compiled = time.perf_counter() - began
    call, context = _call(), _context()
    if not isinstance(pdp.decide(call, context), Allow):
        raise Problem("PC7007", "the policy denies the call that is measured")
    taken = _repeat(lambda: pdp.decide(call, context), seconds)
    figures = {
        "compile_ms": compiled * 1000,
        "decisions_per_s": len(taken) / sum(taken),
        "decision_p50_us": percentile(taken, 0.5) * 1e6,
        "decision_p99_us": percentile(taken, 0.99) * 1e6,
    }
    return report("bench policy", at, figures, {})


def _repeat(step: Callable[[], object], seconds: float) -> list[float]:
    taken = []
    end = time.perf_counter() + seconds
    while (before := time.perf_counter()) < end:
        step()
        taken.append(time.perf_counter() - before)
    return sorted(taken)


def _call() -> Call:
    return Call(
        id="0" * 32,
        route=Route.MCP_HTTP,
        action=Action.TOOL,
        server="desk",
        name="search_records_0_0",
        method="tools/call",
        arguments={"limit": 10, "text": "late orders"},
        payload={},
        body=b"{}",
    )


def _context() -> Context:
    principal = Principal(
        kind=PrincipalKind.AGENT, id=AGENT, credential="bench", expires_at=time.time() + 3600
    )
    return Context(
        principal=principal, session=None, source="bench", trace_id="0" * 32, received_at=0.0
    )

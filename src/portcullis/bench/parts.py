"""The two parts of the line that cost most, each alone: the policy's decision and the log."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml

from portcullis.audit.log import AuditLog, open_log
from portcullis.audit.verify import own_verifier, verify
from portcullis.bench.disk import fdatasync_ms
from portcullis.bench.gate import AGENT, policy
from portcullis.bench.load import percentile
from portcullis.bench.report import Report, machine, report
from portcullis.catalogue.schema import fault
from portcullis.core.call import Action, Call, Context, Route
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.verdict import Allow
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp, load

_WRITERS: Final = (1, 50)


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


def measure_audit(seconds: float, folder: Path | None) -> Report:
    """Events made durable, one after the other and by 50 at once; the disk's own time beside it.

    Then the log that they made is verified by one process.
    """
    at = machine()
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=folder) as name:
        place = Path(name)
        disk = sorted(fdatasync_ms(place, 60))
        figures = {
            "fdatasync_p50_ms": percentile(disk, 0.5),
            "fdatasync_p99_ms": percentile(disk, 0.99),
        }
        sealer = Envelope(FileKeyManager(place / "master.key", create=True))
        with open_log(place / "log", place / "keys", "bench.local/gate", sealer=sealer) as log:
            for writers in _WRITERS:
                taken, took = asyncio.run(_write(log, writers, seconds))
                figures[f"durable_c{writers}_per_s"] = len(taken) / took
                figures[f"durable_c{writers}_p50_ms"] = percentile(taken, 0.5) * 1000
                figures[f"durable_c{writers}_p99_ms"] = percentile(taken, 0.99) * 1000
        figures["verified_per_s_and_core"] = _verified(place / "log")
    return report("bench audit", at, figures, {})


def _verified(directory: Path) -> float:
    """Entries verified in a second; Problem PC7007 when they are not sound."""
    began = time.perf_counter()
    found = verify(directory, own_verifier(directory))
    if not found.ok:
        raise Problem("PC7007", f"the log does not verify: {found.reasons[0]}")
    return found.size / (time.perf_counter() - began)


async def _write(log: AuditLog, writers: int, seconds: float) -> tuple[list[float], float]:
    taken: list[float] = []
    began = time.perf_counter()

    async def write() -> None:
        while (before := time.perf_counter()) < began + seconds:
            await log.durable(_event())
            taken.append(time.perf_counter() - before)

    await asyncio.gather(*(write() for _ in range(writers)))
    return sorted(taken), time.perf_counter() - began


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


def _event() -> Event:
    return Event(
        v=1,
        id="0" * 32,
        time=datetime.now(UTC),
        type=EventType.TOOL_CALL,
        gateway="gate",
        trace_id="0" * 32,
        principal_kind="agent",
        principal=AGENT,
        credential="bench",
        source="127.0.0.1:5000",
        route=Route.MCP_HTTP,
        action=Action.TOOL,
        server="desk",
        name="search_records_0_0",
        commitments={"request": "hmac-sha256:" + "0" * 64},
        request_bytes=1000,
        risk="read",
        verdict="allow",
        rule="roles.role_0.permissions[0] read:records_0_0 @ main.yaml:300",
        policy="sha256:" + "0" * 64,
    )

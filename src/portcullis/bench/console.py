"""How long operators wait: every page and list of a gate that has seen much, and live events."""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final
from urllib.parse import quote

from portcullis.bench import gate
from portcullis.bench.console_fill import Filled, Sizes, fill
from portcullis.bench.console_standing import LIMITS
from portcullis.bench.report import Report, machine, report, target
from portcullis.bench.subjects import end, free_ports, ready, spawn
from portcullis.bootstrap import authority_of
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.identity.tokens import CONSOLE

PAGE_MS: Final = 200.0
"""The promise: no page takes longer, at the 99th percentile."""
LIVE_MS: Final = 50.0
"""The promise: an event is with who watches so soon, at the median."""
_TOKEN_SECONDS: Final = 3600
_TIMEOUT: Final = 30.0
_OK: Final = 200
_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """``repeats`` of each page, and so many live events."""

    sizes: Sizes = field(default_factory=Sizes)
    repeats: int = 50
    events: int = 100
    folder: Path | None = None


def measure_console(settings: Settings, say: Callable[[str], None]) -> Report:
    """Fill a state directory, start a gate on it, and be an operator."""
    at = machine()
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-", dir=settings.folder) as name:
        place = Path(name)
        control, other, upstream = free_ports(3)
        path = gate.configuration(
            place, gate=other, control=control, upstream=f"http://127.0.0.1:{upstream}"
        )
        (place / "policy" / "limits.yaml").write_text(LIMITS)
        config = load(path)
        say("filling")
        began = time.perf_counter()
        filled = fill(config, settings.sizes)
        figures = {"fill_s": time.perf_counter() - began}
        mint = partial(
            authority_of(config).mint,
            PrincipalKind.OPERATOR,
            "local-bench",
            ttl=_TOKEN_SECONDS,
            roles=("admin",),
        )
        tokens = {"api": mint().token, "html": mint(audience=CONSOLE).token}
        with _running(place, path, control):
            for kind, paths in _paths(filled).items():
                for page in paths:
                    say(f"{kind} {page}")
                    figures |= _timed(control, tokens[kind], kind, page, paths[page], settings)
            say("live")
            figures |= _live(control, tokens["api"], settings.events)
    slowest = max(value for figure, value in figures.items() if figure.endswith("_p99_ms"))
    figures["page_p99_ms"] = slowest
    targets = {
        "page_p99_ms": target(figures, "page_p99_ms", "<=", PAGE_MS),
        "live_p50_ms": target(figures, "live_p50_ms", "<=", LIVE_MS),
    }
    return report("bench console", at, figures, targets)


def _paths(filled: Filled) -> dict[str, dict[str, str]]:
    """What is asked for, by what answers it; of the lists, the middle too."""
    waiting, seen = quote(filled.approvals_cursor), quote(filled.events_cursor)
    api = {
        "approvals": "/api/v1/approvals?state=pending&limit=50",
        "approvals_deep": f"/api/v1/approvals?state=pending&limit=50&cursor={waiting}",
        "approvals_filtered": "/api/v1/approvals?state=pending&agent=agent-0007&risk=delete",
        "approvals_rare": "/api/v1/approvals?state=pending&server=server-1&name=tool-2",
        "approvals_all": "/api/v1/approvals?limit=200",
        "decisions": "/api/v1/decisions?limit=50",
        "decisions_deep": f"/api/v1/decisions?limit=200&cursor={seen}",
        "decisions_agent": "/api/v1/decisions?agent=agent-0007&verdict=deny",
        "decisions_session": f"/api/v1/decisions?session={filled.session}&risk=external",
        "decisions_tool": f"/api/v1/decisions?tool=server-1.tool-8&code=PC3002&cursor={seen}",
        "decisions_none": "/api/v1/decisions?verdict=hold&risk=delete",
        "agents": "/api/v1/agents?limit=200",
        "agents_named": "/api/v1/agents?name=agent-09&state=active",
        "sessions": "/api/v1/sessions?limit=200",
        "behaviour": "/api/v1/behaviour",
        "limits": "/api/v1/limits?limit=200",
        "alerts": "/api/v1/alerts?limit=100",
        "incidents": "/api/v1/incidents?limit=100",
    }
    html = {
        "inbox": "/",
        "inbox_filtered": "/?risk=delete",
        "approval": f"/approvals/{filled.approval}",
        "live": "/live",
        "decisions": "/decisions",
        "decisions_deep": f"/decisions?verdict=deny&cursor={seen}",
        "agents": "/agents",
        "agents_by_risk": "/agents?sort=risk",
        "agents_risky": "/agents?level=elevated&state=active",
        "agent": "/agents/agent-0007",
        "agent_week": "/agents/agent-0007?span=7d",
        "sessions": "/sessions",
        "limits": "/limits",
        "limits_agent": "/limits?agent=agent-0999",
        "breakers": "/breakers",
        "containment": "/containment",
        "alerts": "/alerts",
        "alerts_filtered": "/alerts?state=all&level=high&rule=rule-7",
        "alert": f"/alerts/{filled.alert}",
        "silences": "/silences",
        "incidents": "/incidents",
        "incident": f"/incidents/{filled.incident}",
        "incident_timeline": f"/incidents/{filled.incident}/timeline",
    }
    return {"api": api, "html": html}


@contextmanager
def _running(place: Path, config: Path, control: int) -> Iterator[None]:
    with (place / "gate.output").open("w+b") as output:
        child: subprocess.Popen[bytes] = spawn(gate.command(config), output)
        try:
            ready("gate", child, control, "/readyz")
            yield
        finally:
            end(child)


def _headers(token: str, kind: str) -> dict[str, str]:
    """A program shows its token, a browser its cookie."""
    if kind == "api":
        return {"authorization": f"Bearer {token}"}
    return {"cookie": f"portcullis={token}", "accept": "text/html", "sec-fetch-site": "same-origin"}


def _timed(
    port: int, token: str, kind: str, page: str, path: str, settings: Settings
) -> dict[str, float]:
    """Ask for a page, again and again. Problem PC7007 when it is refused."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    headers, found = _headers(token, kind), []
    try:
        for _ in range(settings.repeats):
            began = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            found.append((time.perf_counter() - began) * 1000)
            if answer.status != _OK:
                raise Problem("PC7007", f"{kind} {page}: status {answer.status}")
    finally:
        connection.close()
    name = f"{kind}_{page}"
    return {f"{name}_p50_ms": median(found), f"{name}_p99_ms": _p99(found)}


def _live(port: int, token: str, count: int) -> dict[str, float]:
    """From when something is decided, by the event's own time, until who watches has it."""
    found: list[float] = []
    over = threading.Event()
    watching = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    watching.request("GET", "/api/v1/live?kind=principal", headers=_headers(token, "api"))
    stream = watching.getresponse()
    stream.readline()

    def watch() -> None:
        while len(found) < count:
            line = stream.readline()
            if line.startswith(b"data: "):
                event: dict[str, Any] = json.loads(line[6:])
                found.append((time.time() - event["at"]) * 1000)
        over.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    acting = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    for number in range(count):
        path = f"/api/v1/principals/agent/agent-{number % 10:04}/rotate"
        acting.request("POST", path, headers=_headers(token, "api"))
        acting.getresponse().read()
    if not over.wait(_TIMEOUT):
        raise Problem("PC7007", f"{len(found)} of {count} events were seen")
    acting.close()
    watching.close()
    return {"live_p50_ms": median(found), "live_slowest_ms": max(found)}


def _p99(values: list[float]) -> float:
    return quantiles(values, n=_PERCENT, method="inclusive")[-1]

"""How late an alert is when somebody floods the log before it: at rest, by one, by many."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry

from portcullis.bench.report import Report, machine, report, target
from portcullis.bootstrap import GATE, founded
from portcullis.bootstrap.alerts import alerting
from portcullis.config import Config
from portcullis.control.services import Services
from portcullis.core.alert import Wanted
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.gateway.records import new_id

AT_REST_MS: Final = 1000.0
FLOODED_MS: Final = 3000.0
"""Most between that somebody is cut off and that the alert stands; with 20 000 events before it."""
_LONGEST_SECONDS: Final = 120.0
_RULE: Final = "cut-off"


def measure_alerts(count: int, folder: Path | None, say: Callable[[str], None]) -> Report:
    """Log ``count`` refused calls as fast as the log takes them, and then that somebody is cut off.

    The flood is by one agent in one session, and then by as many principals, in as many sessions
    and from as many addresses, as there are calls.
    """
    found, here = dict[str, float](), machine()
    for name, flood in (
        ("at_rest", iter(())),
        ("one", _flood(count, many=False)),
        ("many", _flood(count, many=True)),
    ):
        say(f"the flood: {name}")
        with tempfile.TemporaryDirectory(dir=folder) as state:
            logged, late = asyncio.run(_late(Path(state), flood))
        found |= {f"{name}_logged_ms": logged, f"{name}_late_ms": late}
    del found["at_rest_logged_ms"]
    promised = {"at_rest_late_ms": AT_REST_MS}
    if count == 20_000:  # noqa: PLR2004 - what is promised
        promised |= {"one_late_ms": FLOODED_MS, "many_late_ms": FLOODED_MS}
    targets = {name: target(found, name, "<=", most) for name, most in promised.items()}
    return report("bench alerts", here, found | {"events": float(count)}, targets)


async def _late(state: Path, flood: Iterator[Event]) -> tuple[float, float]:
    """In how many milliseconds the flood was logged, and how late the alert after it was."""
    config = Config(trust_domain="bench.local", state=state)
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    with ExitStack() as stack:
        services = founded(stack, config, GATE)
        async with alerting(config, services, CollectorRegistry()) as alerts:
            alerts.subscribe(lambda: loop.call_soon_threadsafe(woken.set))
            began = time.perf_counter()
            for event in flood:
                await _log(services, event)
            await _log(services, _event(EventType.ADMIN, method="kills.kill", name="agent:bench"))
            cut = time.perf_counter()
            async with asyncio.timeout(_LONGEST_SECONDS):
                while not await asyncio.to_thread(_there, services):
                    await woken.wait()
                    woken.clear()
            return (cut - began) * 1000, (time.perf_counter() - cut) * 1000


def _there(services: Services) -> bool:
    parts = services.alert_parts
    return parts is not None and bool(parts.store.page(Wanted(rule=_RULE), "", 1))


async def _log(services: Services, event: Event) -> None:
    """Have it taken, as soon as there is room."""
    while True:
        try:
            services.recorder.enqueue(event)
        except Problem:
            await asyncio.sleep(0.001)
        else:
            return


def _flood(count: int, *, many: bool) -> Iterator[Event]:
    for number in range(count):
        who = number if many else 0
        yield _event(
            EventType.TOOL_CALL,
            principal=f"agent-{who}",
            session=f"session-{who}",
            credential=f"credential-{who}",
            source=f"10.{who >> 16 & 255}.{who >> 8 & 255}.{who & 255}:9",
            server="crm",
            name=f"tool_{number}",
            verdict="deny",
            code="PC3060" if number % 2 else "PC3001",
        )


def _event(kind: EventType, **said: str) -> Event:
    made = Event(
        v=1,
        id=new_id(),
        time=datetime.now(UTC),
        type=kind,
        gateway="bench.local/gate",
        verdict="allow",
    )
    return msgspec.structs.replace(made, **said)

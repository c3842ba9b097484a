"""What stands against agents after a long time: risk, cuts, breakers, alerts, incidents, money."""

from __future__ import annotations

import asyncio
import itertools
from typing import Final

from sqlalchemy import Engine, insert

from portcullis.bootstrap.keys import SystemClock
from portcullis.bootstrap.limits import COUNTS
from portcullis.config import Config
from portcullis.core.alert import Level, Raised, Words
from portcullis.core.behaviour import Kind, Phase, Reason, Standing
from portcullis.core.incident import (
    Access,
    Credential,
    Done,
    Finding,
    Incident,
    Judged,
    Step,
    Subject,
)
from portcullis.core.incident import Phase as Phases
from portcullis.core.limits import Amount, Want, Window, span
from portcullis.store.alerts import SqlAlerts
from portcullis.store.behaviour import SqlBehaviour
from portcullis.store.counters_sqlite import SharedCounter
from portcullis.store.incidents import SqlIncidents
from portcullis.store.tables import BREAKERS, CUTS, ISOLATIONS

LIMITS: Final = """version: 1
limits:
  house: {cost: 20 USD/month, burn: 10}
  tools: {for: {tool: "*"}, rows: 100000/hour}
"""
"""The limits that agents have used; nobody reaches them."""
_WHY: Final = "mails customers' data to a stranger"
_BY: Final = "operator:bench"
_MANY: Final = 200
_DAY: Final = 86_400.0


def stand(engine: Engine, config: Config, agents: int, now: float) -> tuple[str, str]:
    """Write it all: a standing and two budgets for each agent, and some of everything else.

    Nobody of the registered agents is cut off. Returns the ids of an incident and of an alert.
    """
    SqlBehaviour(engine).keep([_standing(number, now) for number in range(agents)])
    with engine.begin() as connection:
        cut = {"reason": _WHY, "made_by": "bench"}
        gone = [{"value": f"gone-{n:04}", "made_at": now - n, **cut} for n in range(_MANY)]
        connection.execute(insert(CUTS), [{"scope": "agent", **one} for one in gone])
        connection.execute(insert(ISOLATIONS), [{"scope": "session", **one} for one in gone])
        connection.execute(insert(BREAKERS), [_breaker(n, now) for n in range(_MANY)])
    ids = itertools.count(1)
    alerts = SqlAlerts(engine, SystemClock(), lambda: f"alert-{next(ids):06}", 3600.0)
    raised = alerts.put([_raised(number, now) for number in range(agents)], {})
    store, incidents = SqlIncidents(engine), [_incident(n, now) for n in range(_MANY)]
    for one in incidents:
        store.open(one)
    asyncio.run(_spent(config, agents, now))
    return incidents[-1].id, raised[-1].id


def _standing(number: int, now: float) -> Standing:
    reasons = tuple(
        Reason(kind=kind, subject="crm.export", seen="9", usual="1", weight=9.0, at=now)
        for kind in list(Kind)[: number % 6]
    )
    return Standing(
        agent=f"agent-{number:04}",
        phase=Phase.LOCKED,
        score=float(number % 59),
        scored_at=now,
        reasons=reasons,
        first=now - 30 * _DAY,
        last=now,
        events=10_000,
        days=30,
    )


def _breaker(number: int, now: float) -> dict[str, object]:
    return {
        "scope": "upstream",
        "subject": f"server-{number}",
        "gateway": "elsewhere",
        "agent": "",
        "state": "open",
        "reason": "9 of its last 10 calls failed",
        "since": now - number,
        "until": now + _DAY,
        "times": 1,
    }


def _raised(number: int, now: float) -> Raised:
    return Raised(
        rule=f"rule-{number % 97}",
        level=list(Level)[number % 5],
        words=Words(title="Many refused calls of one agent", advice="Look at them."),
        group={"principal": f"agent-{number:04}"},
        at=now - number,
        events=(f"{number:032x}",),
        count=number + 1,
    )


def _incident(number: int, now: float) -> Incident:
    """One of somebody who is gone, in the middle of its re-audit."""
    access = Access(reference="file:key", source="file", upstream="crm", why="its role is granted")
    findings = tuple(
        Judged(
            finding=Finding(
                id=str(one),
                kind="denied",
                log="gate",
                first=one,
                last=one + 9,
                first_at=now - 99,
                last_at=now - 9,
                text="crm.export: was refused, 10 times",
                name="crm.export",
                code="PC3002",
                count=10,
            )
        )
        for one in range(_MANY)
    )
    done = [Step.CONTAIN, Step.REVOKE, Step.ROTATE, Step.REAUDIT]
    return Incident(
        id=f"incident-{number:06}",
        subject=Subject(agent=f"gone-{number:04}"),
        playbook="hostile-agent",
        opened_at=now - number,
        by=_BY,
        reason=_WHY,
        since=now - 30 * _DAY,
        until=now,
        phase=Phases.ROTATED,
        steps=tuple(
            Done(step=one, at=now, by=_BY, reason=_WHY, ended_at=now * (one is not done[-1]))
            for one in done
        ),
        credentials=(Credential(access=access, by=_BY, reason="by hand", at=now),),
        findings=findings,
    )


async def _spent(config: Config, agents: int, now: float) -> None:
    """Two counts for each agent, and what it spends by the hour."""
    counter = SharedCounter(config.state / COUNTS, SystemClock())
    _, month = span(Window.MONTH, now)
    hour, end = span(Window.HOUR, now)
    wants: list[Want] = []
    for number in range(agents):
        owner = f"agent=agent-{number:04}"
        wants += [
            Amount(f"house|cost.month|{owner}|1", 5_000_000, 20_000_000, month),
            Amount(f"house|burn.hour|{owner}|{int(hour)}", 5_000, 20_000_000, end + 3600),
            Amount(f"tools|rows.hour|{owner}|1", 10, 100_000, end + 3600),
        ]
    await counter.reserve("bench", wants, hold=60.0)
    await counter.close()

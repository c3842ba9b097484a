"""A state directory as it is after a long time: what waits, who there is, and what happened."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, insert, text

from portcullis.bench.console_standing import stand
from portcullis.bootstrap import GATE, founded
from portcullis.bootstrap.records import records
from portcullis.config import Config
from portcullis.core.approval import Approval, Shown, State
from portcullis.core.call import RiskClass
from portcullis.core.cursor import cursor_of
from portcullis.core.lifecycle import State as Life
from portcullis.core.ports import Sealer
from portcullis.core.principal import PrincipalKind, Session
from portcullis.oversight.sealing import seal
from portcullis.store.sealed import session_purpose
from portcullis.store.tables import (
    APPROVALS,
    AUDIT_EVENTS,
    AUDIT_POSITIONS,
    PRINCIPALS,
    SESSIONS,
)

LOG: Final = "bench"
"""The log that the events are said to be of."""
_DAY: Final = 86_400.0
_RISKS: Final = tuple(RiskClass)
_EVENTS: Final = """
INSERT INTO audit_events
WITH RECURSIVE made(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM made WHERE n + 1 < :count)
SELECT :log, n, :now - (:count - n) * 0.05,
    CASE n % 2 WHEN 0 THEN 'tool_call' ELSE 'tool_result' END,
    printf('agent-%04d', (n / 2 * 7919) % :agents),
    printf('session-%04d', (n / 2 * 104729) % :sessions),
    '', '', '', 'tool', 'tools/call', printf('server-%d', n % 5), printf('tool-%d', (n / 2) % 40),
    CASE (n / 2 * 31) % 50 WHEN 0 THEN 'delete' WHEN 1 THEN 'external' ELSE 'read' END,
    CASE WHEN n % 2 = 1 THEN 'allow' WHEN (n / 2 * 17) % 20 = 0 THEN 'deny' ELSE 'allow' END,
    CASE WHEN n % 2 = 0 AND (n / 2 * 17) % 20 = 0 THEN 'PC3002' ELSE '' END,
    printf('%032x', n), ''
FROM made
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is."""

    approvals: int = 10_000
    agents: int = 1_000
    sessions: int = 1_000
    events: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Filled:
    """Where to look: one approval, one session, and the cursors of the middle of the lists.

    ``incident`` and ``alert`` are the ids of one each.
    """

    approval: str
    session: str
    approvals_cursor: str
    events_cursor: str
    incident: str
    alert: str


def fill(config: Config, sizes: Sizes) -> Filled:
    """Write it all below the state directory of ``config``. Blocks, for some ten seconds."""
    now = time.time()
    with contextlib.ExitStack() as stack:
        sealer = founded(stack, config, GATE).sealer
        engine = records(config)
        stack.callback(engine.dispose)
        waiting = [_approval(number, sizes, now) for number in range(sizes.approvals)]
        with engine.begin() as connection:
            connection.execute(insert(PRINCIPALS), [_agent(n, now) for n in range(sizes.agents)])
            connection.execute(
                insert(SESSIONS), [_session(n, sizes, sealer, now) for n in range(sizes.sessions)]
            )
            connection.execute(insert(APPROVALS), [_row(one, sealer) for one in waiting])
        _events(engine, sizes, now)
        incident, alert = stand(engine, config, sizes.agents, now)
    middle = waiting[len(waiting) // 2]
    half = sizes.events // 2
    return Filled(
        approval=middle.id,
        session=middle.session,
        approvals_cursor=cursor_of(middle.created_at, middle.id),
        events_cursor=cursor_of(now - (sizes.events - half) * 0.05, LOG, half),
        incident=incident,
        alert=alert,
    )


def _agent(number: int, now: float) -> dict[str, Any]:
    return {
        "kind": PrincipalKind.AGENT.value,
        "id": f"agent-{number:04}",
        "owner": "bench",
        "state": Life.ACTIVE.value,
        "roles": [],
        "created_at": now - _DAY,
        "purpose": "stands in a long list",
        "review_at": now + 30 * _DAY,
        "spiffe_id": "",
        "rotated_at": 0.0,
        "users": [],
    }


def _session(number: int, sizes: Sizes, sealer: Sealer, now: float) -> dict[str, Any]:
    session = Session(
        id=f"session-{number:04}",
        agent=f"agent-{number % sizes.agents:04}",
        application="helpdesk",
        user=f"user-{number}",
        prompt="Where is my order?",
        subject={"customer_id": f"C-{number}"},
        grant=None,
        opened_at=now - number,
        expires_at=now + _DAY,
    )
    document = sealer.seal(msgspec.msgpack.encode(session), session_purpose(session.id))
    return {"id": session.id, "expires_at": session.expires_at, "document": document}


def _approval(number: int, sizes: Sizes, now: float) -> Approval:
    return Approval(
        id=f"{number * 7919 % 1_000_003:032x}",
        state=State.PENDING,
        binding=f"{number:064x}",
        agent=f"agent-{number % sizes.agents:04}",
        session=f"session-{number % sizes.sessions:04}",
        action="tool",
        server=f"server-{number % 5}",
        name=f"tool-{number % 40}",
        risk=_RISKS[number * 31 % 4],
        created_at=now - 3000.0 + number * 0.25,
        expires_at=now + _DAY,
    )


def _row(approval: Approval, sealer: Sealer) -> dict[str, Any]:
    shown = Shown(
        agents=(approval.agent,),
        application="helpdesk",
        user="ada",
        prompts=("Where is my order?",),
        subject={},
        grant=None,
        bounds={},
        called=approval.name,
        method="tools/call",
        arguments={"to": "ada@customer.example", "body": "Your parcel is late. " * 40},
        request={},
        reason="a value has no source",
        rule="",
        questions=("Is this address right?",),
        recent=(),
    )
    row = msgspec.to_builtins(approval)
    return {**row, "chain": "", "sealed": seal(sealer, approval.id, shown)}


def _events(engine: Engine, sizes: Sizes, now: float) -> None:
    """All at once, and the indexes afterwards: that takes a tenth of the time."""
    indexes = sorted(AUDIT_EVENTS.indexes, key=lambda index: str(index.name))
    with engine.begin() as connection:
        for index in indexes:
            index.drop(connection)
        _insert(connection, sizes, now)
        for index in indexes:
            index.create(connection)
        position = {"log": LOG, "next": sizes.events, "root": ""}
        connection.execute(insert(AUDIT_POSITIONS).values(position))


def _insert(connection: Connection, sizes: Sizes, now: float) -> None:
    values = {
        "log": LOG,
        "count": sizes.events,
        "now": now,
        "agents": sizes.agents,
        "sessions": sizes.sessions,
    }
    connection.execute(text(_EVENTS), values)

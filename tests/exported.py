"""Events of every kind that leaves the log, for tests of what is made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from portcullis.core.event import Event, EventType, ResultSummary

START = datetime(2030, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


def event(number: int = 0, **fields: Any) -> Event:
    given = {
        "type": EventType.TOOL_CALL,
        "principal_kind": "agent",
        "principal": "agent-1",
        "credential": "svid:01",
        "session": "session-1",
        "source": "10.1.2.3:4567",
        "route": "mcp-http",
        "action": "tool",
        "method": "tools/call",
        "server": "orders",
        "name": "search",
        "risk": "read",
        "verdict": "allow",
        "trace_id": TRACE,
        "policy": "sha256:aa",
        "parameters": {"limit": 5},
        "commitments": {"user": "hmac-sha256:01", "subject": "hmac-sha256:02"},
        **fields,
    }
    time = START + timedelta(seconds=number)
    return Event(v=1, id=f"{number:032x}", time=time, gateway="example.org/gate", **given)


def bare(kind: EventType, **fields: Any) -> Event:
    """As little as an event can hold."""
    return Event(v=1, id="e", time=START, type=kind, gateway="gw", **fields)


def kinds() -> list[Event]:
    """One of everything: each class, each verdict, each shape of a field."""
    outside = {"risk": "", "action": "", "server": "", "name": "", "session": "", "trace_id": ""}
    return [
        event(0),
        event(1, type=EventType.TOOL_RESULT, risk="", decision="0" * 32, verdict="allow",
              result=ResultSummary(bytes=12, chunks=2)),
        event(2, verdict="deny", code="PC3001", reason="not allowed", risk="delete"),
        event(3, findings=("EMAIL:mask@params.arguments.to", "EMAIL:mask@params.arguments.cc",
                           "IBAN@result"), check="inspect"),
        event(4, verdict="deny", code="PC3020", findings=("CANARY:block@arguments.q",)),
        event(5, type=EventType.LLM_CALL, action="model", method="chat", server="openai",
              name="gpt-x", route="llm-json", risk="external"),
        event(6, type=EventType.LLM_RESULT, action="model", server="openai", name="gpt-x",
              route="llm-json", risk="", input_tokens=10, output_tokens=20, cost="0.01",
              result=ResultSummary(bytes=9, finish="stop")),
        event(7, type=EventType.IDENTITY, method="svid.issue", source="uid:1000 pid:7", **outside),
        event(8, type=EventType.IDENTITY, method="svid.renew", **outside),
        event(9, type=EventType.IDENTITY, method="login", verdict="deny", code="PC2070", **outside),
        event(10, type=EventType.ADMIN, method="sessions.open", principal_kind="application",
              principal="helpdesk", **(outside | {"session": "s-2"})),
        event(11, type=EventType.ADMIN, method="sessions.close", **outside),
        event(12, type=EventType.ADMIN, method="principals.create", principal_kind="operator",
              **outside),
        event(13, type=EventType.ADMIN, method="catalogue.suspect", code="PC3027", **outside),
        event(14, type=EventType.ERROR, verdict="deny", code="PC2002", principal="",
              principal_kind="", source="[::1]:99", **outside),
        event(15, type=EventType.ERROR, verdict="error", code="PC5001", risk="modify"),
        *(bare(kind) for kind in EventType),
    ]  # fmt: skip


def entry(one: Event) -> bytes:
    return msgspec.json.encode(one)

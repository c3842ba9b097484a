"""If these fail, OPA's tools cannot read our decisions, or read what the log does not say."""

import gzip
import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec

from portcullis.core.event import Event, EventType
from portcullis.wire.opa_log import decision, joined

EVENT = Event(
    v=1,
    id="0a" * 16,
    time=datetime(2026, 11, 22, 20, 0, 1, 5000, tzinfo=timezone(timedelta(hours=1))),
    type=EventType.TOOL_CALL,
    gateway="example.org/gate",
    trace_id="1" * 32,
    principal_kind="agent",
    principal="support-1",
    session="s-1",
    source="127.0.0.1:9",
    route="mcp-http",
    action="tool",
    server="orders",
    name="search",
    parameters={"limit": 3},
    commitments={"request": "hmac-sha256:aa", "arguments.a/b~c": "hmac-sha256:bb"},
    risk="read",
    verdict="deny",
    code="PC3012",
    rule="tools.orders.search @ p.yaml:3",
    reason="limit breaks its bound maximum",
    policy="sha256:cc",
)


def test_a_decision_has_the_fields_of_the_schema_and_nothing_that_the_leaf_has_not():
    made = decision(EVENT, "1.0")
    assert made == {
        "labels": {"id": "example.org/gate", "app": "portcullis", "version": "1.0"},
        "decision_id": EVENT.id,
        "trace_id": "1" * 32,
        "bundles": {"portcullis": {"revision": "sha256:cc"}},
        "path": "portcullis/decision",
        "input": {
            "action": "tool",
            "server": "orders",
            "name": "search",
            "arguments": {"limit": 3},
            "features": [],
            "principal": {"kind": "agent", "id": "support-1"},
            "session": "s-1",
            "route": "mcp-http",
        },
        "result": {
            "allow": False,
            "code": "PC3012",
            "reason": "limit breaks its bound maximum",
            "risk": "read",
            "rule": "tools.orders.search @ p.yaml:3",
        },
        "requested_by": "127.0.0.1:9",
        "timestamp": "2026-11-22T19:00:01.005000Z",
        "erased": ["/input/arguments/a~1b~0c"],
    }
    assert "hmac" not in json.dumps(made)


def test_what_waits_for_a_human_is_not_allowed():
    for verdict, allow in (("allow", True), ("hold", False), ("deny", False)):
        event = msgspec.structs.replace(EVENT, verdict=verdict, time=datetime.now(UTC))
        assert decision(event, "1")["result"]["allow"] is allow


def test_a_delivery_is_an_array_in_gzip_and_the_same_bytes_again():
    one, two = (json.dumps({"n": n}).encode() for n in (1, 2))
    assert json.loads(gzip.decompress(joined([one, two]))) == [{"n": 1}, {"n": 2}]
    assert joined([one]) == joined([one])

"""What a tool server says before its answer is kept as it was let through, or not at all."""

import json

import pytest

from portcullis.core.inspection import Treatment
from portcullis.core.verdict import PASS, Deny, Finding, Transform
from portcullis.gateway.mcp_stream import MAX_FINDINGS
from portcullis.gateway.records import Records

pytestmark = pytest.mark.anyio
CALL = {"name": "read_order", "arguments": {}}


class Kept:
    """A ``Contents`` that remembers what came of calls."""

    results = True

    def __init__(self):
        self.fields = {}

    def keep(self, event, subject, fields):
        assert event.commitments.keys() >= fields.keys()
        self.fields |= fields


class Memory:
    async def proposed(self, key, names, digest):
        return None


@pytest.fixture
def kept(gate):
    contents = Kept()
    gate.pipeline.records = Records(
        "gate", gate.journal, Memory(), gate.policy, gate.clock, contents
    )
    return contents


def told(gate, monkeypatch, treatment, count=1):
    """The server says something ``count`` times, in which something is found."""
    message = {"jsonrpc": "2.0", "method": "notifications/message"}
    says = message | {"params": {"level": "info", "data": "secret"}}
    gate.script["tools/call"] = [*[says] * count, {"result": {"content": []}}]

    def judge_result(call, context, result, facts):
        del context, facts
        if call.method != "notifications/message":
            return PASS
        found = Finding(type="API_KEY", where="params.data", treatment=treatment)
        if treatment is Treatment.BLOCK:
            return Deny(code="PC3021", reason="no", findings=(found,))
        new = "***" if treatment is Treatment.MASK else "secret"
        return Transform(payload=result.payload | {"data": new}, findings=(found,))

    monkeypatch.setattr(type(gate.policy), "judge_result", staticmethod(judge_result))


async def test_messages_are_kept_as_they_were_masked(gate, kept, monkeypatch):
    told(gate, monkeypatch, Treatment.MASK, 2)
    await gate.modern("tools/call", CALL)
    messages = json.loads(kept.fields["messages"])
    assert [message["params"]["data"] for message in messages] == ["***", "***"]
    (result,) = [event for event in gate.journal.events if event.type == "tool_result"]
    assert result.commitments.keys() == {"messages", "result"}


@pytest.mark.parametrize("treatment", [Treatment.ALLOW, Treatment.BLOCK])
async def test_what_passed_as_it_was_or_was_dropped_leaves_nothing(
    gate, kept, monkeypatch, treatment
):
    told(gate, monkeypatch, treatment)
    await gate.modern("tools/call", CALL)
    assert not kept.fields.keys() & {"messages", "result"}


async def test_where_more_was_found_than_is_known_no_message_is_kept(gate, kept, monkeypatch):
    told(gate, monkeypatch, Treatment.MASK, MAX_FINDINGS + 1)
    await gate.modern("tools/call", CALL)
    assert "messages" not in kept.fields

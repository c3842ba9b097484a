"""If these fail, a caller decides what is traced, or writes into what is."""

from __future__ import annotations

import random

import pytest

from portcullis.core.call import Action, Call, Route, ToolSpec
from portcullis.core.errors import Problem
from portcullis.core.trace import MAX_SPANS, Parent, Trace, parent_of, part
from portcullis.core.verdict import PASS, Deny, Finding, Hold, Transform
from portcullis.gateway.http import Request
from portcullis.gateway.tracing import Tracer, asking, checking, judged, told

THEIRS = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = f"00-{THEIRS}-00f067aa0ba902b7-01"


class Clock:
    def now(self) -> float:
        return 4_000_000_000.0

    def monotonic(self) -> float:
        return 0.0


def request(*headers, method="POST"):
    scope = {"method": method, "path": "/x", "client": None, "headers": list(headers)}
    return Request(scope, None, None)


def drawing(ratio, **options):
    kept: list[Trace] = []
    draw = random.Random(7).random
    return Tracer(ratio, kept.append, Clock(), draw=draw, **options), kept


def call(**changes):
    fields = {
        "id": "e", "route": Route.MCP_HTTP, "action": Action.TOOL, "server": "orders",
        "name": "said-by-the-agent", "method": "tools/call", "arguments": {}, "payload": {},
        "body": b"",
    }  # fmt: skip
    return Call(**(fields | changes))


@pytest.mark.parametrize(
    ("ratio", "least", "most"), [(0, 0, 0), (0.01, 70, 130), (1, 10**4, 10**4)]
)
def test_the_ratio_holds_whatever_the_caller_asks_for(ratio, least, most):
    tracer, _ = drawing(ratio)
    asked = request((b"traceparent", SAMPLED.encode()))
    found = [tracer.begin(asked, "mcp") for _ in range(10_000)]
    assert least <= sum(one is not None for one in found) <= most


def test_a_callers_trace_is_linked_to_and_never_joined():
    tracer, kept = drawing(1)
    asked = request((b"traceparent", SAMPLED.encode()))
    trace = tracer.begin(asked, "openai")
    assert trace.id != THEIRS
    assert trace.link == Parent(THEIRS, "00f067aa0ba902b7")
    tracer.end(trace, 503)
    assert kept == [trace]
    assert trace.root.code == "503"
    alone = request()
    assert tracer.begin(alone, "openai").id == alone.trace_id


def test_a_parent_that_names_no_span_chooses_no_id():
    tracer, _ = drawing(1)
    asked = request((b"traceparent", f"00-{THEIRS}-{'0' * 16}-01".encode()))
    trace = tracer.begin(asked, "openai")
    assert THEIRS not in {trace.id, asked.trace_id}
    assert trace.link is None


def test_nothing_of_a_callers_is_a_name():
    tracer, _ = drawing(1)
    trace = tracer.begin(request(method="SECRET"), "a-secret-path")
    assert trace.root.name == "_OTHER"
    assert "http.route" not in trace.root.attributes
    unknown = asking(trace, call())
    assert unknown.name == "tools/call"
    assert "said-by-the-agent" not in str(unknown.attributes)
    listed = asking(trace, call(tool=ToolSpec(name="search", input_schema={})))
    assert listed.name == "tools/call search"
    model = {"action": Action.MODEL, "method": "POST /v1/chat/completions"}
    assert asking(trace, call(**model)).name == "chat"
    assert asking(trace, call(**model), literal=True).name == "chat said-by-the-agent"


def test_a_check_says_its_verdict_its_code_and_how_much_it_found():
    trace = Trace("1" * 32, "x", lambda: 1)
    finding = Finding(type="IBAN", where="a secret place")
    for verdict, word, code, count in (
        (PASS, "pass", "", None),
        (Deny(code="PC3001", reason="a secret"), "deny", "PC3001", None),
        (Hold(reason="a secret", findings=(finding,)), "hold", "", 1),
        (Transform(payload="a secret", findings=(finding, finding)), "transform", "", 2),
    ):
        span = checking(trace, "request", "inspect")
        judged(span, verdict)
        assert span.code == code
        assert span.attributes["portcullis.verdict"] == word
        assert span.attributes.get("portcullis.findings") == count
        assert "secret" not in str(span.attributes)


def test_a_fault_in_a_part_stands_in_its_span():
    trace = Trace("1" * 32, "x", lambda: 1)
    with pytest.raises(ZeroDivisionError), part(trace, "record"):
        _ = 1 / 0
    assert trace.spans[1].code == "ZeroDivisionError"
    with pytest.raises(Problem), part(trace, "record"):
        raise Problem("PC6001", "a detail")
    assert trace.spans[2].code == "PC6001"
    with part(None, "record") as nothing:
        assert nothing is None


def test_a_trace_has_an_end_and_a_most():
    trace = Trace("1" * 32, "x", iter(range(1, 10_000)).__next__)
    for _ in range(2 * MAX_SPANS):
        trace.begin("part")
    assert len(trace.spans) == MAX_SPANS
    trace.end()
    assert trace.spans[1].code == "unfinished"
    assert not trace.root.code
    assert trace.root.ended == max(one.ended for one in trace.spans)
    trace.spans.clear()
    trace.begin("too late")
    assert not trace.spans


def test_an_upstream_learns_of_a_trace_only_where_it_is_to():
    quiet, telling = (Trace("1" * 32, "x", lambda: 1, passed_on=on) for on in (False, True))
    assert told(quiet, quiet.root) == told(None, None) == []
    assert told(telling, telling.root) == [("traceparent", f"00-{'1' * 32}-{telling.root.id}-01")]


@pytest.mark.parametrize(
    "text", ["", "00-x", SAMPLED[:-1], f"00-{THEIRS}-{'0' * 16}-01", f"ff{SAMPLED[2:]}"]
)
def test_what_is_no_trace_parent_is_no_link(text):
    assert parent_of(text) is None

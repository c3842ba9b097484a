"""If these fail, an agent tells servers things in places where nobody looks."""

import pytest

from portcullis.wire.mcp_answers import bare, plain, refusal, said

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT = "io.modelcontextprotocol/clientInfo"
PARENT = f"00-{'1' * 32}-{'2' * 16}-01"


def request(meta, method="tools/call", **params):
    return {"jsonrpc": "2.0", "id": "e1", "method": method, "params": {"_meta": meta, **params}}


def test_what_is_the_protocols_own_stays():
    meta = {
        "progressToken": "e1",
        "traceparent": PARENT,
        VERSION: "2026-07-28",
        CAPABILITIES: {"elicitation": {"form": {}, "url": {}}, "roots": {"listChanged": True}},
        CLIENT: {"name": "a-client/2", "version": "1.0.0+b1"},
        "io.modelcontextprotocol/logLevel": "debug",
    }
    asked = request(meta, name="send", arguments={"to": "x"})
    assert bare(asked) == asked


@pytest.mark.parametrize(
    "meta",
    [
        {"com.example/note": "secret"},
        {"io.modelcontextprotocol/note": "secret"},
        {"io.modelcontextprotocol/related-task": {"taskId": "secret"}},
        {"io.modelcontextprotocol/logLevel": "secret"},
        {"traceparent": "secret"},
        {"tracestate": "a=secret"},
        {"baggage": "a=secret"},
        {"progressToken": "secret"},
        {VERSION: ["secret"]},
        {CAPABILITIES: {"experimental": {"secret": {}}, "extensions": {"secret": {}}}},
        {CAPABILITIES: {"roots": {"listChanged": "secret"}, "secret": True}},
        {CAPABILITIES: {"roots": {"roots": {"roots": {"secret": True}}}}},
        {CLIENT: {"name": "an: secret", "version": "secret " * 20, "title": "secret"}},
        {CLIENT: "secret"},
        {"a": {"b": ["secret"]}},
        "secret",
    ],
    ids=str,
)
def test_what_an_agent_writes_into_meta_goes_nowhere(meta):
    assert "secret" not in str(bare(request(meta)))


def test_a_client_that_begins_says_no_more_than_who_it_is():
    client = {"name": "a client", "version": "1", "websiteUrl": "https://x.example/?secret"}
    begun = bare(
        request({}, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=client)
    )
    assert begun["params"]["clientInfo"] == {"name": "a client", "version": "1"}
    assert bare({"jsonrpc": "2.0", "method": "ping"}) == {"jsonrpc": "2.0", "method": "ping"}


@pytest.mark.parametrize(
    ("far", "told"), [(1, 1), (2.75, 2), (-1, 0), (3.14159e60, 2**31), (2**60, 2**31)]
)
def test_a_progress_is_one_whole_number(far, told):
    said = {"progressToken": 1, "progress": far, "total": 1.234567, "message": "secret"}
    params = bare(request({}, "notifications/progress", **said))["params"]
    assert params == {"_meta": {}, "progressToken": 1, "progress": told}
    assert type(params["progress"]) is int


@pytest.mark.parametrize("action", ["decline", "cancel", "accept"])
def test_to_decline_to_cancel_and_to_accept_nothing_says_nothing(action):
    assert said("elicitation/create", {"action": action}) == {}
    assert said("elicitation/create", {"action": action, "content": None, "_meta": {}}) == {}


@pytest.mark.parametrize(
    ("method", "answer", "fields"),
    [
        (
            "elicitation/create",
            {"action": "accept", "content": {"to": "x", "ok": True}},
            {"to": "x", "ok": True},
        ),
        ("elicitation/create", {"action": "decline", "content": {"to": "x"}}, {"to": "x"}),
        ("elicitation/create", {"action": "x"}, {"elicitation/create": {"action": "x"}}),
        (
            "elicitation/create",
            {"action": "cancel", "note": "x"},
            {"elicitation/create": {"note": "x"}},
        ),
        ("elicitation/create", {"content": ["x"]}, {"elicitation/create": ["x"]}),
        (
            "elicitation/create",
            {"action": "accept", "content": {"elicitation/create": "x", "to": "y"}, "z": 1},
            {"elicitation/create": ["x", {"z": 1}], "to": "y"},
        ),
        (
            "elicitation/create",
            {"action": "accept", "content": "x", "z": 1},
            {"elicitation/create": ["x", {"z": 1}]},
        ),
        (
            "sampling/createMessage",
            {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"},
            {
                "sampling/createMessage": {
                    "content": {"type": "text", "text": "x"},
                    "model": "m",
                }
            },
        ),
        ("roots/list", {"roots": []}, {}),
        ("roots/list", {"roots": [{"uri": "file:///x"}]}, {"roots/list": [{"uri": "file:///x"}]}),
        ("roots/list", {"roots": [], "more": "x"}, {"roots/list": {"roots": [], "more": "x"}}),
        ("ping", {}, {}),
        ("ping", {"x": 1}, {"ping": {"x": 1}}),
        ("ping", "x", {"ping": "x"}),
    ],
)
def test_all_that_an_answer_says_has_a_field(method, answer, fields):
    assert said(method, answer) == fields


def test_an_error_says_that_it_is_one():
    assert refusal({"code": -32601, "message": "secret", "data": "secret"}) == {
        "code": -32601,
        "message": "the client refuses",
    }
    assert refusal({"code": 2**70, "message": ""})["code"] == -1
    assert plain({"action": "accept", "_meta": {"a": "secret"}}) == {"action": "accept"}

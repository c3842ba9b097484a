"""If these fail, a hostile message makes the gate fall over instead of refusing it."""

import copy
import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.core.errors import Problem
from portcullis.wire import jsonrpc
from portcullis.wire.json import decode
from portcullis.wire.mcp import CLIENT_REQUESTS, Era, interpret, without_nulls
from portcullis.wire.mcp_headers import compute, mirrored, verify_parameters
from portcullis.wire.mcp_results import adapt, check, input_requests, tool_specs

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "mcp" / "requests.json").read_text(encoding="utf-8")
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "method", "id", "_meta", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@st.composite
def spoilt(draw, era):
    """A genuine message with one to three members replaced, added or removed, anywhere."""
    genuine = [v["message"] for v in GOLDEN["asked"] if v["era"] == era]
    message = copy.deepcopy(draw(st.sampled_from(genuine)))
    for _ in range(draw(st.integers(1, 3))):
        node = message
        while draw(st.booleans()) and any(isinstance(child, dict) for child in node.values()):
            node = draw(st.sampled_from([c for c in node.values() if isinstance(c, dict)]))
        key = draw(st.sampled_from([*node, "extra", "task"]))
        if draw(st.booleans()):
            node[key] = draw(VALUES)
        else:
            node.pop(key, None)
    return message


def read(era, message):
    """The refusal, or None when the message is one."""
    try:
        found = jsonrpc.parse(decode(json.dumps(message).encode()))
        if isinstance(found, jsonrpc.Request):
            interpret(CLIENT_REQUESTS[era], found.method, without_nulls(found.params))
    except Problem as problem:
        return problem
    return None


def precise(problem):
    return problem.code.startswith("PC10") and 400 <= problem.status < 500


@settings(max_examples=300, deadline=None)
@given(spoilt("modern"))
def test_spoilt_modern_message_is_read_or_refused_precisely(message):
    problem = read(Era.MODERN, message)
    assert problem is None or precise(problem)


@settings(max_examples=300, deadline=None)
@given(spoilt("legacy"))
def test_spoilt_legacy_message_is_read_or_refused_precisely(message):
    problem = read(Era.LEGACY, message)
    assert problem is None or precise(problem)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_bytes_that_are_no_message_are_refused(data):
    problem = None
    try:
        jsonrpc.parse(decode(data))
    except Problem as caught:
        problem = caught
    assert problem is None or problem.status == 400


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(list(Era)),
    st.sampled_from(["tools/list", "tools/call", "initialize", "server/discover", "prompts/list"]),
    st.dictionaries(
        st.sampled_from(
            [
                "tools",
                "prompts",
                "protocolVersion",
                "capabilities",
                "supportedVersions",
                "resultType",
                "inputRequests",
            ]
        ),
        VALUES,
        max_size=4,
    ),
)
def test_hostile_result_is_understood_or_refused(era, method, result):
    problem = None
    try:
        check(era, method, result)
        adapt(era, method, result)
        input_requests(result)
        tool_specs(result)
    except Problem as caught:
        problem = caught
    assert problem is None or problem.code == "PC5003"


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["properties", "items", "anyOf", "$defs", "type", "x-mcp-header"]),
        VALUES,
        max_size=4,
    ),
    st.dictionaries(st.text(max_size=4), VALUES, max_size=3),
)
def test_hostile_schema_yields_only_headers_that_agree_with_the_body(schema, arguments):
    params = {"name": "t", "arguments": arguments}
    headers = compute("2026-07-28", "tools/call", params, schema)
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    assert len(headers) <= 3 + len(mirrored(schema))
    verify_parameters(headers, arguments, schema)

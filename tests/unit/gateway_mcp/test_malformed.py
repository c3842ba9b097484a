"""If these fail, a hostile request crashes or stalls the gate, or its refusal is not recorded."""

import asyncio
import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portcullis.gateway.mcp_stdio import serve_stdio

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "mcp" / "requests.json").read_text(encoding="utf-8")
)
BAD = st.sampled_from(
    [None, True, -1, 1.5, "", "x\u202e", "é" * 300, [], {}, {"a": [{}]}, [[[]]], "\0", 2**70]
)
SETTINGS = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def hostile(draw, era):
    """The bytes of a genuine message that was spoilt: in its members, or as bytes."""
    genuine = [v["message"] for v in GOLDEN["asked"] if v["era"] == era]
    message = copy.deepcopy(draw(st.sampled_from(genuine)))
    node = message
    while draw(st.booleans()) and any(isinstance(child, dict) for child in node.values()):
        node = draw(st.sampled_from([c for c in node.values() if isinstance(c, dict)]))
    node[draw(st.sampled_from([*node, "extra"]))] = draw(BAD)
    data = json.dumps(message, ensure_ascii=draw(st.booleans())).encode()
    spoil = draw(st.sampled_from(["no", "no", "cut", "byte", "double"]))
    place = draw(st.integers(0, len(data) - 1))
    if spoil == "cut":
        data = data[:place]
    elif spoil == "byte":
        data = data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
    elif spoil == "double":
        data = b'{"id":9,' + data[1:]
    return data.replace(b"\n", b" ")


def precise(gate, before, answer):
    """A 4xx or 200 with one JSON-RPC message; a refusal of ours has its event."""
    assert answer.ended or "error" in answer.json
    assert answer.status in {200, 202} or 400 <= answer.status < 500
    if answer.status == 202:
        return
    message = answer.messages[-1] if answer.body.startswith((b"event", b":")) else answer.json
    code = message.get("error", {}).get("data", {}).get("code", "")
    assert not code.startswith("PC9")
    if code and "jsonrpc" in message:  # what the router records itself is its own test
        assert gate.codes()[before:] == [code]


@SETTINGS
@given(data=hostile("modern"))
def test_hostile_modern_requests_are_refused_precisely(make_gate, data):
    gate = make_gate()
    headers = gate.headers({"method": "tools/call", "params": {"name": "t"}})
    answer = asyncio.run(gate.http_call("POST", data, headers))
    precise(gate, 0, answer)


@SETTINGS
@given(data=hostile("modern"))
def test_hostile_modern_bodies_behind_honest_headers_are_refused_precisely(make_gate, data):
    gate = make_gate()
    try:
        message = json.loads(data)
        headers = gate.headers(message, **{"mcp-name": message["params"].get("name")})
        [value.encode("ascii") for _, value in headers]
    except (ValueError, TypeError, KeyError, AttributeError):
        headers = gate.headers({"method": "tools/list"})
    answer = asyncio.run(gate.http_call("POST", data, headers))
    precise(gate, 0, answer)


@SETTINGS
@given(data=hostile("legacy"))
def test_hostile_legacy_requests_are_refused_precisely(make_gate, data):
    gate = make_gate()

    async def speak():
        session = await gate.begin()
        headers = gate.headers({}, version=None, session=session)
        return len(gate.codes()), await gate.http_call("POST", data, headers)

    before, answer = asyncio.run(speak())
    precise(gate, before, answer)


@SETTINGS
@given(lines=st.lists(hostile("legacy") | hostile("modern"), min_size=1, max_size=4))
def test_hostile_lines_never_end_the_conversation(make_gate, lines):
    gate = make_gate()
    written = []

    class Out:
        def write(self, data):
            written.append(json.loads(data))

        async def drain(self):
            pass

    async def contexts():
        return gate.context()

    async def speak():
        reader = asyncio.StreamReader()
        reader.feed_data(b"".join(line + b"\n" for line in lines) + b"{\n")
        reader.feed_eof()
        await asyncio.wait_for(
            serve_stdio(
                reader,
                Out(),
                mcp=gate.mcp,
                conversations=gate.conversations,
                server="orders",
                contexts=contexts,
                live=gate.live,
            ),
            5,
        )

    asyncio.run(speak())
    assert any(m.get("error", {}).get("data", {}).get("code") == "PC1001" for m in written)
    assert not any(code.startswith("PC9") for code in gate.codes())


@pytest.mark.anyio
@pytest.mark.parametrize(
    "name", [b"mcp-method", b"mcp-name", b"mcp-param-region", b"last-event-id"]
)
async def test_header_that_is_not_printable_is_refused(gate, name):
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = [*gate.headers(message), (name.decode(), "\xff\x01")]
    headers = [(k, v) for k, v in headers if k != name.decode() or v == "\xff\x01"]
    answer = await gate.http_call("POST", json.dumps(message).encode(), headers)
    assert answer.status == 400

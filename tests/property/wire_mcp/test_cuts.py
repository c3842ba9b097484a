"""If these fail, where the network cuts the bytes changes what the gate reads."""

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.core.errors import Problem
from portcullis.wire import sse
from portcullis.wire.json import encode
from portcullis.wire.mcp_lines import Lines

LIMIT = 64
MESSAGES = [
    {"jsonrpc": "2.0", "id": 1, "result": {"text": "zwölf\r\n\u2028 🏰"}},
    {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}},
    {"jsonrpc": "2.0", "id": "x", "error": {"code": -1, "message": "a\n\ndata: b"}},
]
LINES = b"".join(
    [b"first\n", b"\r\n", b"second \xf0\x9f\x8f\xb0\r\n", b"x" * 70 + b"\n", b"third\n", b"cut"]
)
EVENTS = b"".join(
    sse.encode(encode(message), "message", f"id-{number}") + sse.KEEP_ALIVE
    for number, message in enumerate(MESSAGES)
)


def read_lines(pieces):
    lines = Lines(LIMIT)
    found = [item for piece in pieces for item in lines.feed(piece)]
    end = lines.end()
    codes = [item.code if isinstance(item, Problem) else item for item in found]
    return codes, end.code if end else None


def read_events(pieces):
    parser = sse.SSEParser()
    return [(json.loads(event.data), event.id) for piece in pieces for event in parser.feed(piece)]


WHOLE_LINES = ([b"first", "second 🏰".encode(), "PC1007", b"third"], "PC1001")
WHOLE_EVENTS = [(message, f"id-{number}") for number, message in enumerate(MESSAGES)]


def test_lines_cut_at_every_position_read_the_same():
    assert read_lines([LINES]) == WHOLE_LINES
    for place in range(len(LINES) + 1):
        assert read_lines([LINES[:place], LINES[place:]]) == WHOLE_LINES
    assert read_lines([bytes([byte]) for byte in LINES]) == WHOLE_LINES


def test_events_cut_at_every_position_read_the_same():
    for place in range(len(EVENTS) + 1):
        assert read_events([EVENTS[:place], EVENTS[place:]]) == WHOLE_EVENTS
    assert read_events([bytes([byte]) for byte in EVENTS]) == WHOLE_EVENTS


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, len(EVENTS)), max_size=12).map(sorted))
def test_bytes_cut_at_random_read_the_same(places):
    cuts = [0, *places, len(EVENTS)]
    pieces = [EVENTS[a:b] for a, b in pairwise(cuts)]
    assert read_events(pieces) == WHOLE_EVENTS
    cuts = [0, *[place for place in places if place < len(LINES)], len(LINES)]
    pieces = [LINES[a:b] for a, b in pairwise(cuts)]
    assert read_lines(pieces) == WHOLE_LINES


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 40))
def test_no_line_is_ever_longer_than_the_limit_and_none_is_lost(data, size):
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    codes, _ = read_lines(pieces)
    expected = [line.strip(b" \t\r") for line in data.split(b"\n")[:-1] if len(line) <= LIMIT]
    assert [line for line in codes if isinstance(line, bytes)] == [
        line for line in expected if line
    ]

"""Model codecs under hostile bytes: cut anywhere, spoilt anywhere."""

import copy
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golden.llm.vectors import STREAMS, VECTORS
from portcullis.core.errors import Problem
from portcullis.wire.json import decode, encode
from portcullis.wire.sse import SSEParser

QUICK = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
IDS = {"ids": lambda vector: vector.name}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["function", "custom", "message", "text", "data:", "user", "tool_use"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.text(max_size=6)
        | st.sampled_from(["type", "role", "content", "name", "id", "tools", "index", "delta"]),
        inner,
        max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from places(item, (*path, at))


@st.composite
def spoilt(draw, value):
    """A value with one to three members replaced, removed or added."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(value))))
        if not path:
            return draw(json_values)
        *way, last = path
        holder = value
        for step in way:
            holder = holder[step]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            holder[last] = draw(json_values)
        elif action == "remove":
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=6))] = draw(json_values)
        else:
            holder.insert(last, draw(json_values))
    return value


def run(decoder, pieces):
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return frames, decoder.end()


def attempt(call, *args):
    """The code of the Problem that a call raises, or what it returns; all else is a bug."""
    try:
        return None, call(*args)
    except Problem as problem:
        return problem.code, None


@pytest.mark.parametrize("vector", STREAMS, **IDS)
def test_a_cut_at_any_byte_changes_nothing(vector):
    whole = vector.run([vector.stream])
    stream = vector.stream
    for at in range(len(stream) + 1):
        assert vector.run([stream[:at], stream[at:]]) == whole


@pytest.mark.parametrize("vector", STREAMS, **IDS)
@pytest.mark.parametrize("end", [b"\r", b"\r\n"])
def test_single_bytes_and_other_line_ends_change_nothing(vector, end):
    stream = vector.stream.replace(b"\n", end)
    pieces = [stream[at : at + 1] for at in range(len(stream))]
    assert vector.run(pieces) == vector.run([vector.stream])


@pytest.mark.parametrize("vector", STREAMS, **IDS)
@given(cuts=st.lists(st.integers(0, 6000), max_size=40))
@settings(max_examples=40, deadline=None)
def test_many_random_cuts_change_nothing(vector, cuts):
    marks = [0, *sorted(cuts), len(vector.stream)]
    pieces = [vector.stream[a:b] for a, b in pairwise(marks)]
    assert vector.run(pieces) == vector.run([vector.stream])


@pytest.mark.parametrize("vector", VECTORS, **IDS)
@given(data=st.data())
@QUICK
def test_a_malformed_request_gets_a_precise_refusal_and_nothing_else(vector, data):
    payload = data.draw(spoilt(vector.data["request"]))
    code, asked = attempt(vector.shape.request, payload)
    assert code in {None, "PC1020", "PC1021"}
    if asked is not None:
        free = {"stream_options": None}
        assert {**asked.payload, **free} == {**payload, **free}
        assert asked.model == payload["model"]


@pytest.mark.parametrize("vector", VECTORS, **IDS)
@given(data=st.data())
@QUICK
def test_a_malformed_answer_is_withheld_and_breaks_nothing(vector, data):
    payload = data.draw(spoilt(vector.data["answer"]))
    code, result = attempt(vector.shape.result, payload, vector.asked())
    assert code in {None, "PC5003"}
    assert result is None or result.payload == payload


@pytest.mark.parametrize("vector", STREAMS, **IDS)
@given(data=st.data())
@QUICK
def test_a_spoilt_stream_event_is_withheld_and_never_loosens_the_hold(vector, data):
    events = [event.data for event in SSEParser().feed(vector.stream)]
    at = data.draw(st.integers(0, len(events) - 2))
    event = data.draw(spoilt(decode(events[at].encode())))
    named = [encode(event) if n == at else text.encode() for n, text in enumerate(events)]
    code, done = attempt(run, vector.decoder(), [b"data: " + text + b"\n\n" for text in named])
    assert code in {None, "PC5003", "PC5008", "PC5010"}
    if done is not None:
        frames, result = done
        assert not frames[-1].held
        assert result.proposals == tuple(p for frame in frames for p in frame.proposals)


@pytest.mark.parametrize("vector", STREAMS, **IDS)
@given(at=st.integers(0, 6000), noise=st.binary(min_size=1, max_size=6), drop=st.integers(0, 9))
@QUICK
def test_noise_in_the_bytes_of_a_stream_breaks_nothing(vector, at, noise, drop):
    stream = vector.stream[:at] + noise + vector.stream[at + drop :]
    code, done = attempt(run, vector.decoder(), [stream])
    assert code in {None, "PC5003", "PC5004", "PC5008", "PC5010"}
    assert done is None or not done[0][-1].held

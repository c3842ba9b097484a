"""An upstream's answer means the same however the network cuts it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.core.errors import Problem
from portcullis.execution.answer import Answer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Empty:\r\n"
CHUNKS = b"2;x=y\r\nab\r\nA\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n"
SAMPLES = (
    HEAD + b"Content-Length: 5\r\n\r\nhello",
    HEAD + b"Content-Length: 0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    HEAD + b"\r\nuntil the end",
    b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello",
    HEAD + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    HEAD + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello and more",
    HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    HEAD + b"Content-Length: 50\r\n\r\ntoo short",
    HEAD + b"Content-Length: 101\r\n\r\n" + b"x" * 101,
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc",
    b"HTTP/1.1 204 No Content\r\n\r\nx",
)


def reading(*pieces: bytes) -> tuple[object, ...]:
    """Everything that a caller would see of an answer, up to the peer's end."""
    answer = Answer(100)
    code = ""
    try:
        for piece in pieces:
            if piece:
                answer.feed(piece)
        answer.end()
    except Problem as problem:
        code = problem.code
    whole = answer.take() if answer.complete else b""
    return code, answer.arrived, answer.complete, answer.reusable, answer.status, whole


def test_every_single_cut_gives_the_same_answer():
    for sample in SAMPLES:
        expected = reading(sample)
        for at in range(1, len(sample)):
            assert reading(sample[:at], sample[at:]) == expected, sample[:at]


def test_byte_by_byte_gives_the_same_answer():
    for sample in SAMPLES:
        assert reading(*(bytes([byte]) for byte in sample)) == reading(sample)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SAMPLES), st.lists(st.integers(0, 200), max_size=8))
def test_many_cuts_give_the_same_answer(sample, cuts):
    places = sorted({0, len(sample), *(cut % len(sample) for cut in cuts)})
    pieces = [sample[a:b] for a, b in pairwise(places)]
    assert reading(*pieces) == reading(sample)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SAMPLES), st.integers(0, 300), st.binary(min_size=1, max_size=3))
def test_damaged_bytes_are_an_answer_or_a_problem_and_nothing_else(sample, at, noise):
    at %= len(sample)
    code, _, complete, *_ = reading(sample[:at] + noise + sample[at + len(noise) :])
    assert complete or code in {"PC5001", "PC5003", "PC5004", "PC5008"}

"""What is taken for an answer, and what is refused: RFC 9112 read without leniency."""

from __future__ import annotations

import pytest

from portcullis.core.errors import Problem
from portcullis.execution.answer import MAX_FIELDS, MAX_HEAD, Answer

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = OK + b"Content-Length: 2\r\n"


def fed(*pieces: bytes, limit: int = 1000) -> Answer:
    answer = Answer(limit)
    for piece in pieces:
        answer.feed(piece)
    return answer


def refused(*pieces: bytes, limit: int = 1000) -> str:
    with pytest.raises(Problem) as caught:
        fed(*pieces, limit=limit)
    return caught.value.code


def test_an_answer_with_a_length_is_complete_at_its_length():
    answer = fed(LENGTH + b"X-A:\r\nX-B:  b \r\n\r\na")
    assert (answer.arrived, answer.complete, answer.status) == (True, False, 200)
    answer.feed(b"b")
    assert (answer.complete, answer.reusable, answer.take()) == (True, True, b"ab")
    assert [name for name, _ in answer.fields] == [b"Content-Length", b"X-A", b"X-B"]
    assert answer.take() == b""


def test_a_chunked_answer_is_complete_at_its_last_chunk_and_trailers_are_dropped():
    answer = fed(CHUNKED + b'1;x="y"\r\na\r\n', b"2\r\nbc\r\n0\r\nX-Trailer: t\r\n\r\n")
    assert (answer.complete, answer.reusable, answer.take()) == (True, True, b"abc")
    assert answer.fields == [(b"Transfer-Encoding", b"chunked")]


def test_an_answer_without_length_ends_with_the_connection_and_only_so():
    answer = fed(OK + b"\r\nab", b"c")
    assert not answer.complete
    answer.end()
    assert (answer.complete, answer.reusable, answer.take()) == (True, False, b"abc")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "PC5001"), (b"HTT", "PC5001"), (OK, "PC5001"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "PC5001"),
        (LENGTH + b"\r\na", "PC5008"), (CHUNKED, "PC5008"),
        (CHUNKED + b"1\r\na\r\n0\r\n", "PC5008"),
    ],
)  # fmt: skip
def test_an_early_end_is_never_taken_for_the_end_of_the_answer(data, code):
    answer = fed(*[data] if data else [])
    with pytest.raises(Problem) as caught:
        answer.end()
    assert caught.value.code == code
    assert not answer.complete


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"ICE/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n" + LENGTH + b"\r\nab",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nab" + LENGTH + b"\r\nab",
        b"\r\n" + LENGTH + b"\r\nab",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab",
        OK + b"X: a\nContent-Length: 2\r\n\r\nab",
        OK + b"X: a\rContent-Length: 2\r\n\r\nab",
        OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nab",
        OK + b"X: a\r\n\tb: c\r\nContent-Length: 2\r\n\r\nab",
        OK + b"X : a\r\nContent-Length: 2\r\n\r\nab",
        OK + b"X: a\x00\r\nContent-Length: 2\r\n\r\nab",
        OK + b": a\r\nContent-Length: 2\r\n\r\nab",
        OK + b"X\r\nContent-Length: 2\r\n\r\nab",
        LENGTH + b"Content-Length: 2\r\n\r\nab",
        LENGTH + b"Content-Length: 3\r\n\r\nabc",
        LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 2, 2\r\n\r\nab",
        OK + b"Content-Length: +2\r\n\r\nab",
        OK + b"Content-Length: -2\r\n\r\nab",
        OK + b"Content-Length: 0x2\r\n\r\nab",
        OK + b"Content-Length:\r\n\r\nab",
        OK + b"Content-Length: 99999999999999999999\r\n\r\nab",
        OK + b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nab",
        OK + b"Transfer-Encoding: identity\r\n\r\nab",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)  # fmt: skip
def test_a_head_that_could_be_read_in_two_ways_is_refused(data):
    assert refused(data) == "PC5003"
    assert refused(*(data[at : at + 1] for at in range(len(data)))) == "PC5003"


@pytest.mark.parametrize(
    "body",
    [
        b" 2\r\nab\r\n0\r\n\r\n", b"2 \r\nab\r\n0\r\n\r\n", b"2\nab\r\n0\r\n\r\n",
        b"2\r\nabXX0\r\n\r\n", b"2\r\nab\n0\r\n\r\n", b"2\r\nabc\r\n0\r\n\r\n",
        b"-2\r\nab\r\n0\r\n\r\n", b"0x2\r\nab\r\n0\r\n\r\n", b"fffffffffffffffff\r\nab",
        b"g\r\nab\r\n", b'2;x="a\nb"\r\nab\r\n0\r\n\r\n', b"0\r\nX: a\n\r\n",
    ],
)  # fmt: skip
def test_chunks_that_could_be_read_in_two_ways_are_refused(body):
    assert refused(CHUNKED + body) == "PC5008"
    assert refused(CHUNKED, *(body[at : at + 1] for at in range(len(body)))) == "PC5008"


@pytest.mark.parametrize(
    "extra", [b"H", b"junk", LENGTH + b"\r\nxy", b"HTTP/1.1 500 No\r\n\r\n", b"\x00"]
)
@pytest.mark.parametrize("end", [LENGTH + b"\r\nab", CHUNKED + b"2\r\nab\r\n0\r\n\r\n"])
@pytest.mark.parametrize("together", [True, False])
def test_what_follows_an_answer_never_becomes_part_of_it_or_of_the_next(extra, end, together):
    answer = fed(end + extra) if together else fed(end, extra)
    assert (answer.complete, answer.reusable) == (True, False)
    assert (answer.status, answer.take()) == (200, b"ab")
    assert len(answer.fields) == 1


@pytest.mark.parametrize(
    "data",
    [
        LENGTH + b"Connection: close\r\n\r\nab",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
    ],
)
def test_a_connection_that_the_peer_gives_up_is_not_reusable(data):
    assert not fed(data).reusable
    assert fed(data).complete


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_that_has_no_body_ends_with_its_head(status):
    answer = fed(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nab")
    assert (answer.complete, answer.reusable, answer.take()) == (True, False, b"")


def test_interim_answers_leave_nothing_behind():
    answer = fed(b"HTTP/1.1 103 Early Hints\r\nX-Hint: a\r\n\r\n" * 3 + LENGTH + b"\r\nab")
    assert (answer.status, answer.reusable, answer.take()) == (200, True, b"ab")
    assert answer.fields == [(b"Content-Length", b"2")]


def test_a_flood_without_body_is_cut_off():
    interim = b"HTTP/1.1 103 Early Hints\r\nX-Hint: a\r\n\r\n"
    many = MAX_HEAD // len(interim) + 1
    assert refused(*[interim] * many) == "PC5003"
    assert refused(OK, *[b"X-%d: a\r\n" % number for number in range(MAX_HEAD)]) == "PC5003"
    assert refused(OK + b"X: " + b"a" * MAX_HEAD) == "PC5003"
    assert refused(OK + b"X: ", *[b"a"] * MAX_HEAD) == "PC5003"
    assert refused(CHUNKED + b"2;", *[b"x" * 100] * MAX_HEAD) == "PC5008"
    trailers = [b"X-%d: a\r\n" % number for number in range(MAX_HEAD)]
    assert refused(CHUNKED + b"0\r\n", *trailers) == "PC5008"


def test_a_head_is_bounded_even_when_it_comes_at_once_with_its_body():
    assert refused(LENGTH + b"X: " + b"a" * MAX_HEAD + b"\r\n\r\nab") == "PC5003"
    assert refused(LENGTH + b"X: a\r\n" * MAX_FIELDS + b"\r\nab") == "PC5003"
    assert fed(LENGTH + b"X: a\r\n" * (MAX_FIELDS - 1) + b"\r\nab").complete


def test_a_large_body_beside_a_small_head_is_not_taken_for_a_large_head():
    body = b"x" * (4 * MAX_HEAD)
    answer = fed(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body, limit=len(body))
    assert answer.take() == body


@pytest.mark.parametrize("head", [OK + b"\r\n", OK + b"Content-Length: 11\r\n\r\n"])
def test_a_body_beyond_the_limit_is_refused_before_it_is_kept(head):
    answer = Answer(10)
    answer.feed(head + b"x" * 10)
    with pytest.raises(Problem) as caught:
        answer.feed(b"y")
    assert caught.value.code == "PC5004"
    assert answer.take() == b"x" * 10

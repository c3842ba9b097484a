"""What goes over the wire is exactly what was decided, and one request."""

from __future__ import annotations

import pytest

from portcullis.core.errors import Problem
from portcullis.core.ports import UpstreamRequest
from portcullis.execution.endpoint import Addresses
from portcullis.execution.request import RequestWriter, field


def written(url="http://h.example/base", credential="", **changes) -> bytes:
    request = {"upstream": "a", "method": "POST", "path": "/x", "headers": (), "body": b"{}"}
    return RequestWriter(Addresses("a", url)).write(
        UpstreamRequest(**(request | changes)), credential
    )


def refused(**changes) -> str:
    with pytest.raises(Problem) as caught:
        written(**changes)
    return caught.value.code


def test_a_request_is_one_head_and_one_body():
    assert written(
        headers=(("Content-Type", "application/json"), ("x-tab", "a\tb"), ("x-empty", "")),
        credential="Authorization: Bearer abc\r\n",
    ) == (
        b"POST /base/x HTTP/1.1\r\nHost: h.example\r\nAccept-Encoding: identity\r\n"
        b"Authorization: Bearer abc\r\nContent-Type: application/json\r\nx-tab: a\tb\r\n"
        b"x-empty: \r\nContent-Length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("GET", b"", b""), ("DELETE", b"", b""), ("POST", b"", b"Content-Length: 0\r\n"),
     ("GET", b"a", b"Content-Length: 1\r\n")],
)  # fmt: skip
def test_a_length_is_sent_where_one_is_due(method, body, length):
    expected = b"Accept-Encoding: identity\r\n" + length + b"\r\n" + body
    assert written(method=method, body=body).endswith(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nx-evil: b"), ("x", "a\nb"), ("x", "a\rb"), ("x", "a\x00b"), ("x", "a\x7f"),
        ("x", "é"), ("x", "a\x85b"), ("x", "a\u2028b"), ("", "a"), ("x y", "a"), ("x:", "a"),
        ("x\r\ny", "a"), ("authorization: x", "a"), ("é", "a"), ("x\n", "a"),
    ],
)  # fmt: skip
def test_a_header_cannot_end_early_or_become_another(name, value):
    assert refused(headers=((name, value),)) == "PC1011"
    with pytest.raises(Problem):
        field(name, value)


@pytest.mark.parametrize(
    "name",
    ["Authorization", "HOST", "content-length", "Transfer-Encoding", "cookie", "Expect", "TE"],
)
def test_what_is_ours_to_say_is_left_out(name):
    assert written(headers=((name, "99"),)) == written()


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "post", "GET / HTTP/1.1\r\nX:", ""])
def test_methods_whose_answers_we_cannot_frame_are_not_sent(method):
    assert refused(method=method) == "PC1009"


def test_an_address_cannot_hold_a_second_request():
    data = written(url="http://h.example/a\r\nX: y", body=b"")
    assert data.count(b"\r\n") == 5
    assert b"X: y" not in data


def test_many_different_paths_do_not_fill_the_memory():
    writer = RequestWriter(Addresses("a", "http://h.example"))
    for number in range(3000):
        path = f"/v1/{number}"
        request = UpstreamRequest(upstream="a", method="GET", path=path, headers=(), body=b"")
        assert writer.write(request, "").startswith(b"GET /v1/%d HTTP/1.1\r\n" % number)
    assert len(writer._begun) <= 1024


def test_a_credential_in_the_query_is_kept_nowhere_and_headers_are_replaced():
    writer = RequestWriter(Addresses("a", "http://h.example/base"))
    request = UpstreamRequest(
        upstream="a", method="GET", path="/x?y=1", headers=(("X-Key", "theirs"),), body=b""
    )
    data = writer.write(request, "X-Key: ours\r\n", query="k=s3cr3t", replaced=frozenset({"x-key"}))
    assert data.startswith(b"GET /base/x?y=1&k=s3cr3t HTTP/1.1\r\nHost: h.example\r\n")
    assert data.count(b"X-Key") == 1
    assert b"theirs" not in data
    assert "s3cr3t" not in repr(writer._begun)
    bare = UpstreamRequest(upstream="a", method="GET", path="/x", headers=(), body=b"")
    assert writer.write(bare, "", query="k=v").startswith(b"GET /base/x?k=v HTTP/1.1\r\n")

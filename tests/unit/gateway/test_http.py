"""If these fail, two readers of one request may see two requests."""

import pytest

from portcullis.core.errors import Problem
from portcullis.gateway.http import ClientDisconnect, Request, read_body

pytestmark = pytest.mark.anyio


def request(*headers, body=b"{}"):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        raise AssertionError(message)

    scope = {"method": "POST", "path": "/x", "client": ("127.0.0.1", 5), "headers": list(headers)}
    return Request(scope, receive, send)


JSON = (b"content-type", b"application/json")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (b"authorization", "PC1011"),
        (b"x-api-key", "PC1011"),
        (b"content-type", "PC1011"),
        (b"host", "PC1011"),
        (b"mcp-session-id", "PC1032"),
        (b"mcp-method", "PC1032"),
    ],
)
async def test_a_header_that_decides_may_not_stand_twice(name, code):
    found = request((name, b"a"), (name, b"a"))
    with pytest.raises(Problem) as caught:
        found.check()
    assert caught.value.code == code


async def test_a_refusal_does_not_take_what_a_caller_calls_its_headers_into_the_log():
    secret = b"mcp-param-card-4111111111111111"
    twice = request((secret, b"a"), (secret, b"a"))
    with pytest.raises(Problem) as caught:
        twice.check()
    assert "4111" not in caught.value.detail
    with pytest.raises(Problem) as caught:
        request((secret, b"\xff")).text(secret)
    assert "4111" not in caught.value.detail
    with pytest.raises(Problem) as caught:
        request((b"host", b"a"), (b"host", b"a")).check()
    assert caught.value.detail == "the header host occurs twice"


@pytest.mark.parametrize(
    ("origin", "good"),
    [
        (b"http://localhost:3000", True),
        (b"http://127.0.0.1", True),
        (b"https://evil.example", False),
        (b"http://localhost.evil.example", False),
        (b"http://127.0.0.1@evil.example", False),
        (b"null", False),
    ],
)
async def test_a_foreign_web_page_cannot_use_the_gate(origin, good):
    found = request((b"origin", origin))
    if good:
        found.check()
        return
    with pytest.raises(Problem) as caught:
        found.check()
    assert caught.value.code == "PC1014"


async def test_list_headers_are_joined():
    found = request((b"accept", b"a"), (b"accept", b"b"))
    found.check()
    assert found.header(b"accept") == b"a, b"


async def test_both_length_and_chunked_is_smuggling():
    with pytest.raises(Problem) as caught:
        request((b"content-length", b"1"), (b"transfer-encoding", b"chunked")).check()
    assert caught.value.code == "PC1011"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "PC1008"),
        ([(b"content-type", b"text/plain")], "PC1008"),
        ([JSON, (b"content-encoding", b"gzip")], "PC1013"),
        ([JSON, (b"content-length", b"999999")], "PC1007"),
        ([JSON, (b"content-length", b"+1")], "PC1007"),
    ],
)
async def test_a_body_that_is_not_plain_json_is_refused_before_it_is_read(headers, code):
    with pytest.raises(Problem) as caught:
        await request(*headers).json_body(1000)
    assert caught.value.code == code


async def test_a_body_that_grows_beyond_the_limit_is_refused():
    with pytest.raises(Problem) as caught:
        await request(JSON, body=b"x" * 1001).json_body(1000)
    assert caught.value.code == "PC1007"


async def test_a_client_that_leaves_is_noticed():
    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnect):
        await read_body(receive, 10)


@pytest.mark.parametrize(
    "value",
    [
        b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01",
        b"ff-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01",
        b"00-" + b"G" * 32 + b"-" + b"1" * 16 + b"-01",
        b"00-11-22-01",
        b"\xff" * 55,
    ],
)
async def test_a_bad_traceparent_gets_a_new_trace(value):
    found = request((b"traceparent", value))
    assert len(found.trace_id) == 32
    assert found.trace_id.encode() not in value


async def test_a_good_traceparent_is_kept():
    found = request((b"traceparent", b"00-" + b"a" * 32 + b"-" + b"1" * 16 + b"-01"))
    assert found.trace_id == "a" * 32

"""What the gate fetches itself: from whom it should be, whole, small and soon, or not at all."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from domains import Domain, http, server_context, tls_server
from portcullis.core.errors import Problem
from portcullis.execution.fetch import Fetcher
from portcullis.execution.secrets import local_secrets
from portcullis.execution.tls import WebTls
from portcullis.wire.certificates import pem

pytestmark = pytest.mark.anyio


@pytest.fixture
def web(tmp_path):
    return Domain("web.test", tmp_path / "web")


@pytest.fixture
def authorities(web, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text(pem(web.authority.bundle().x509))
    return path


@pytest.fixture
async def server(web, anyio_backend):
    svid, key = web.own("/api").current()
    async with tls_server(server_context(svid.chain, key)) as made:
        yield made


@pytest.fixture
async def fetcher(server, authorities):
    made = Fetcher(
        f"{server.url}/apis/tokenreviews",
        tls=WebTls(authorities=authorities),
        secrets=local_secrets({"SA": secrets.token_hex(16)}),
        credential="env:SA",
        limit=2048,
        seconds=0.3,
    )
    yield made
    await made.close()


async def test_a_document_is_posted_with_the_credential_to_the_authority_it_names(fetcher, server):
    assert await fetcher.post(b'{"kind":"TokenReview"}') == b"ok"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /apis/tokenreviews HTTP/1.1\r\n")
    assert b"Authorization: Bearer " in head
    assert b"content-type: application/json" in head
    assert body == b'{"kind":"TokenReview"}'


async def test_a_created_review_is_an_answer(fetcher, server):
    async def created(request: bytes) -> bytes:
        return http(b"{}", "201 Created")

    server.answer = created
    assert await fetcher.post(b"{}") == b"{}"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (http(b"", "302 Found", "Location: https://127.0.0.1:1/"), "PC5003"),
        (http(b"{}", "403 Forbidden"), "PC5003"),
        (http(b"x" * 2049), "PC5004"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + b"x" * 4096, "PC5004"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "PC5002"),
        (b"", "PC5002"),
        (b"not http\r\n\r\n", "PC5003"),
    ],
)
async def test_anything_but_a_whole_small_answer_in_time_is_a_problem(
    fetcher, server, answer, code
):
    async def wrong(request: bytes) -> bytes:
        return answer

    server.answer = wrong
    with pytest.raises(Problem) as caught:
        await asyncio.wait_for(fetcher.get(), 5)
    assert caught.value.code == code


async def test_another_authority_than_the_one_named_is_not_believed(server, tmp_path):
    other = Domain("other.test", tmp_path / "other")
    path = tmp_path / "other.pem"
    path.write_text(pem(other.authority.bundle().x509))
    fetcher = Fetcher(server.url, tls=WebTls(authorities=path))
    with pytest.raises(Problem) as caught:
        await fetcher.get()
    assert caught.value.code == "PC5001"
    assert server.requests == []
    await fetcher.close()


def test_nothing_is_fetched_in_clear():
    with pytest.raises(Problem) as caught:
        Fetcher("http://127.0.0.1:1", tls=WebTls())
    assert caught.value.code == "PC7001"

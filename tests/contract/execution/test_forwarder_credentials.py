"""If these fail, an upstream's credential gets out."""

from __future__ import annotations

import pytest

from contract.execution.forwarding import pieces, read, refused, says, stream
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio


async def test_each_upstream_gets_its_credential_in_its_own_header(
    forwarder, upstream, call, credential
):
    await read(forwarder, call("keyed"))
    await read(forwarder, call("open", headers=(("x-api-key", "agents-own"),)))
    assert b"x-api-key: " + credential.encode() in upstream.requests[0]
    assert b"authorization" not in upstream.requests[0].lower()
    assert credential.encode() not in upstream.requests[1]
    assert b"agents-own" not in upstream.requests[1]


async def test_a_credential_in_a_header_is_withheld(forwarder, upstream, call, wire, credential):
    upstream.script = says(wire.answer(b"{}", b"X-Echo: Bearer " + credential.encode()))
    assert await refused(forwarder, call()) == "PC5005"


async def test_a_credential_in_a_body_is_withheld(forwarder, upstream, call, wire, credential):
    upstream.script = says(wire.answer(b'{"you sent":"' + credential.encode() + b'"}'))
    assert await refused(forwarder, call()) == "PC5005"


async def test_a_credential_split_over_chunks_never_gets_out(
    forwarder, upstream, call, wire, credential
):
    secret = credential.encode()
    for cut in range(1, len(secret), 5):
        parts = (b"data: a" + secret[:cut], secret[cut:] + b"\n\n")
        upstream.script = pieces(
            wire.stream, *(wire.chunked(part)[:-5] for part in parts), pause=0.005
        )
        passed, problem = await stream(forwarder, call())
        assert problem is not None
        assert problem.code == "PC5005"
        assert secret[:cut] not in b"".join(passed)


async def test_what_only_begins_like_the_credential_is_passed_on(
    forwarder, upstream, call, wire, credential
):
    secret = credential.encode()
    parts = (b"data: " + secret[:9], b"not\n\n", secret[:5])
    upstream.script = pieces(
        wire.stream, *(wire.chunked(part)[:-5] for part in parts), b"0\r\n\r\n"
    )
    passed, problem = await stream(forwarder, call())
    assert problem is None
    assert b"".join(passed) == b"".join(parts)


async def test_no_problem_tells_the_credential_or_the_address(
    forwarder, upstream, call, wire, credential
):
    for script in (
        says(wire.answer(credential.encode())),
        says(b"junk", close=True),
        says(wire.answer(b"", b"Location: http://inner.example/", status=b"302 Found")),
    ):
        upstream.script = script
        with pytest.raises(Problem) as caught:
            await read(forwarder, call())
        assert credential not in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)
        assert "inner.example" not in str(caught.value)

"""Two trust domains: each accepts the other's workloads by its bundle, and by nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import msgspec
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from domains import (
    Domain,
    MemoryRecorder,
    http,
    identity_records,
    server_context,
    tls_server,
)
from portcullis.config.identity import Federated
from portcullis.control.bundle import bundle_router
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from portcullis.execution.bundles import Bundles
from portcullis.execution.tls import WebTls
from portcullis.identity.bundle import encode
from portcullis.identity.trust import Trust
from portcullis.store.directory import SqlDirectory
from portcullis.store.engine import open_sqlite
from portcullis.wire.certificates import load_identity, pem, verified_chain

pytestmark = pytest.mark.anyio

ENDPOINT = "/gateway/gate"
GRACE = 5.0
"""How long something may take that happens at once on an idle machine, in seconds."""


@pytest.fixture
def here(tmp_path):
    return Domain("here.test", tmp_path / "here")


@pytest.fixture
def there(tmp_path):
    return Domain("there.test", tmp_path / "there")


@pytest.fixture
def trust(here):
    return Trust(here.authority.bundle)


@pytest.fixture
def recorder():
    return MemoryRecorder()


@pytest.fixture
def first(there, tmp_path):
    """The other domain's bundle as its operator handed it over."""
    path = tmp_path / "there.json"
    path.write_bytes(there.document())
    return path


@pytest.fixture
def federate(trust, recorder, tmp_path):
    def make(one: Federated, *, least: float = 60.0) -> Bundles:
        return Bundles(
            {"there.test": one},
            directory=tmp_path / "state" / "federation",
            trust=trust,
            web=WebTls(),
            records=identity_records(recorder),
            least=least,
        )

    return make


@contextlib.asynccontextmanager
async def publishing(there, *, path=ENDPOINT):
    """The other domain's bundle endpoint, which shows its own SVID."""
    async with tls_server(there.server(path)) as server:

        async def document(request: bytes) -> bytes:
            return http(there.document())

        server.answer = document
        yield server


def spiffe(server, first, endpoint: str = f"spiffe://there.test{ENDPOINT}") -> Federated:
    return Federated(
        url=f"{server.url}/v1/bundle", profile="https_spiffe", endpoint_id=endpoint, file=first
    )


async def failing(bundles) -> Problem:
    with pytest.raises(Problem) as caught:
        await bundles.refresh("there.test")
    assert bundles.failures["there.test"].code == caught.value.code
    return caught.value


async def handshake(client: Domain, path: str, trust: Trust, here: Domain):
    """The peer that a server of ours sees when a workload connects over mutual TLS."""
    seen: asyncio.Future = asyncio.get_running_loop().create_future()

    async def serve(reader, writer) -> None:
        try:
            seen.set_result(trust.peer(verified_chain(writer.get_extra_info("ssl_object"))))
        except Problem as problem:
            seen.set_exception(problem)
        writer.close()

    context = here.server(ENDPOINT, asks=trust.anchors())
    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname = False
    ours.load_verify_locations(cadata=pem(here.authority.bundle().x509))
    load_identity(ours, *client.identity(path))
    port = listening.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ours)
    try:
        return await asyncio.wait_for(seen, GRACE)
    finally:
        writer.close()
        listening.close()


async def test_an_agent_of_a_federated_domain_is_known_by_its_own_spiffe_id(
    here, there, trust, federate, first, tmp_path
):
    directory = SqlDirectory(open_sqlite(tmp_path / "portcullis.db"))
    record = PrincipalRecord(
        kind=PrincipalKind.AGENT,
        id="courier",
        owner="logistics",
        state=State.ACTIVE,
        roles=(),
        created_at=0,
        spiffe_id="spiffe://there.test/ns/shop/sa/courier",
    )
    directory.create(record)
    async with publishing(there) as server:
        bundles = federate(spiffe(server, first))
        bundles.load()
        peer = await handshake(there, "/ns/shop/sa/courier", trust, here)
    assert directory.named(str(peer.id)) == record
    stranger = await handshake(there, "/ns/shop/sa/other", trust, here)
    assert directory.named(str(stranger.id)) is None


async def test_a_federated_authority_cannot_vouch_for_an_identity_of_ours(
    here, there, trust, tmp_path
):
    """Its certificate passes OpenSSL, which has the anchors of all domains, and no further."""
    evil = Domain("here.test", tmp_path / "evil")
    theirs = msgspec.structs.replace(
        there.authority.bundle(),
        x509=(*there.authority.bundle().x509, *evil.authority.bundle().x509),
    )
    assert trust.put(theirs)
    with pytest.raises(Problem) as caught:
        await handshake(evil, "/agent/courier", trust, here)
    assert caught.value.code == "PC2027"
    assert (
        str((await handshake(here, "/agent/courier", trust, here)).id.trust_domain) == "here.test"
    )


async def test_the_endpoint_is_known_by_the_bundle_handed_over_and_then_by_the_newest(
    there, trust, federate, first, recorder
):
    """The endpoint's authority is replaced; its new one was never in the file."""
    async with publishing(there) as server:
        bundles = federate(spiffe(server, first))
        bundles.load()
        assert await bundles.refresh("there.test") is False
        held = trust.bundle("there.test")
        there.authority.rotate("root")
        assert await bundles.refresh("there.test") is True
        newer = trust.bundle("there.test")
        assert newer.sequence > held.sequence
        assert not newer.same_keys(held)
    there.authority.retire("root")
    async with publishing(there) as server:
        bundles = federate(spiffe(server, first))
        assert await bundles.refresh("there.test") is True
    assert set(trust.bundle("there.test").x509) < set(newer.x509)
    assert recorder.seen("bundle.update") == [("allow", ""), ("allow", "")]


async def test_what_our_own_route_serves_is_what_another_domain_reads(
    there, trust, federate, first
):
    """Full circle: GET /v1/bundle on one side, the refresher on the other."""
    app = FastAPI()
    app.include_router(bundle_router(there.authority.bundle))
    there.authority.rotate("jwt")
    answer = TestClient(app).get("/v1/bundle")
    async with publishing(there) as server:

        async def served(request: bytes) -> bytes:
            return http(answer.content)

        server.answer = served
        bundles = federate(spiffe(server, first))
        bundles.load()
        await bundles.refresh("there.test")
        assert server.requests[0].startswith(b"GET /v1/bundle HTTP/1.1\r\n")
    assert answer.headers["content-type"] == "application/json"
    ours = there.authority.bundle()
    assert trust.bundle("there.test").same_keys(ours)
    assert trust.bundle("there.test").sequence == ours.sequence


async def test_an_endpoint_that_is_another_workload_is_not_believed(
    there, trust, federate, first, recorder
):
    async with publishing(there, path="/agent/courier") as server:
        bundles = federate(spiffe(server, first))
        bundles.load()
        held = trust.bundle("there.test")
        there.authority.rotate("root")
        problem = await failing(bundles)
    assert "another workload" in problem.detail
    assert trust.bundle("there.test") is held
    assert recorder.seen("bundle.update") == [("deny", "PC5001")]


async def test_over_the_web_the_endpoint_is_known_by_its_host_name(
    here, there, trust, federate, tmp_path, monkeypatch
):
    web = Domain("web.test", tmp_path / "web")
    roots = tmp_path / "roots.pem"
    roots.write_text(pem(web.authority.bundle().x509))
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    svid, key = web.own("/proxy").current()
    async with tls_server(server_context(svid.chain, key)) as server:

        async def document(request: bytes) -> bytes:
            return http(there.document())

        server.answer = document
        bundles = federate(Federated(url=f"{server.url}/bundle"))
        assert await bundles.refresh("there.test") is True
    assert trust.bundle("there.test").same_keys(there.authority.bundle())
    async with publishing(there) as server:  # its certificate is not of the web's authorities
        bundles = federate(Federated(url=f"{server.url}/bundle"))
        assert (await failing(bundles)).code == "PC5001"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (http(b"", "302 Found", "Location: https://127.0.0.1:1/"), "PC5003"),
        (http(b"{}", "404 Not Found"), "PC5003"),
        (http(b"<html>"), "PC7009"),
        (http(b'{"keys": 1}'), "PC7009"),
        (http(b"x" * (2**20 + 1)), "PC5004"),
        (
            b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Encoding: gzip\r\n\r\n{"keys":[',
            "PC5003",
        ),
    ],
    ids=["redirect", "missing", "html", "shape", "too large", "compressed"],
)
async def test_an_answer_that_is_no_bundle_takes_no_trust_away_and_is_recorded(
    there, trust, federate, first, recorder, answer, code
):
    async with publishing(there) as server:
        bundles = federate(spiffe(server, first))
        bundles.load()
        held = trust.bundle("there.test")

        async def wrong(request: bytes) -> bytes:
            return answer

        server.answer = wrong
        assert (await failing(bundles)).code == code
    assert trust.bundle("there.test") is held
    assert recorder.seen("bundle.update") == [("deny", code)]


async def test_an_old_bundle_that_is_served_again_does_not_bring_back_its_authorities(
    there, trust, federate, first
):
    old = there.authority.bundle()
    async with publishing(there) as server:
        bundles = federate(spiffe(server, first))
        bundles.load()
        there.authority.rotate("root")
        await bundles.refresh("there.test")
        held = trust.bundle("there.test")

        async def replayed(request: bytes) -> bytes:
            return http(encode(old))

        async def rewritten(request: bytes) -> bytes:
            return http(encode(msgspec.structs.replace(old, sequence=held.sequence)))

        for answer in (replayed, rewritten):
            server.answer = answer
            assert "sequence number" in (await failing(bundles)).detail
    assert trust.bundle("there.test") is held


async def test_a_restart_does_not_need_the_other_side(there, here, trust, federate, first):
    async with publishing(there) as server:
        settings = spiffe(server, first)
        bundles = federate(settings)
        bundles.load()
        there.authority.rotate("root")
        await bundles.refresh("there.test")
    held = trust.bundle("there.test")
    trust.remove("there.test")
    federate(settings).load()
    assert trust.bundle("there.test").same_keys(held)
    assert trust.bundle("there.test").sequence == held.sequence


async def test_a_damaged_copy_is_passed_over_for_the_file_that_was_handed_over(
    there, trust, federate, first, recorder, tmp_path
):
    folder = tmp_path / "state" / "federation"
    folder.mkdir(parents=True)
    (folder / "there.test.json").write_bytes(b"{")
    federate(Federated(file=first)).load()
    assert trust.bundle("there.test").same_keys(there.authority.bundle())
    assert recorder.seen("bundle.update") == [("deny", "PC7009")]


async def test_a_bundle_in_a_file_is_read_again(there, trust, federate, first):
    bundles = federate(Federated(file=first))
    bundles.load()
    assert await bundles.refresh("there.test") is False
    there.authority.rotate("root")
    first.write_bytes(there.document())
    assert await bundles.refresh("there.test") is True
    first.unlink()
    assert (await failing(bundles)).code == "PC7009"
    assert trust.bundle("there.test").same_keys(there.authority.bundle())


async def test_nothing_is_trusted_that_could_not_be_recorded(
    there, trust, federate, first, recorder
):
    def full(event) -> None:
        raise Problem("PC6001", "the disk is full")

    bundles = federate(Federated(file=first))
    recorder.before = full
    assert (await failing(bundles)).code == "PC6001"
    assert trust.bundle("there.test") is None


async def test_a_full_disk_does_not_keep_a_withdrawn_authority_in_trust(
    there, trust, federate, first, tmp_path
):
    """What cannot be kept counts all the same, and is kept as soon as it can be."""
    folder = tmp_path / "state" / "federation"
    async with publishing(there) as server:
        bundles = federate(spiffe(server, first))
        bundles.load()
        folder.parent.mkdir(exist_ok=True)
        folder.write_bytes(b"in the way")
        there.authority.rotate("root")
        assert "could not be kept" in (await failing(bundles)).detail
        assert trust.bundle("there.test").same_keys(there.authority.bundle())
        folder.unlink()
        assert await bundles.refresh("there.test") is False
    assert (folder / "there.test.json").read_bytes() == there.document()


async def test_the_refresher_follows_a_rotation_through_an_outage(
    there, trust, federate, first, recorder
):
    """It fails while the endpoint is down, goes on trying, and has the new bundle soon after."""
    async with publishing(there) as server:
        good = server.answer
        down, tried = True, asyncio.Event()

        async def flaky(request: bytes) -> bytes:
            if len(server.requests) == 3:
                tried.set()
            return http(b"", "503 Service Unavailable") if down else await good(request)

        server.answer = flaky
        bundles = federate(spiffe(server, first), least=0.05)
        bundles.load()
        changed = asyncio.Event()
        trust.subscribe(changed.set)
        there.authority.rotate("root")
        running = asyncio.create_task(bundles.run())
        async with asyncio.timeout(GRACE):
            await tried.wait()
            assert not changed.is_set()
            down = False
            await changed.wait()
        assert trust.bundle("there.test").same_keys(there.authority.bundle())
        assert recorder.seen("bundle.update").count(("deny", "PC5003")) >= 2
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


@pytest.mark.parametrize(("hint", "seconds"), [(1, 60), (3600, 3600), (10**9, 86_400)])
async def test_a_refresh_hint_is_followed_within_a_minute_and_a_day(
    there, trust, federate, first, hint, seconds
):
    bundles = federate(Federated(file=first))
    trust.put(msgspec.structs.replace(there.authority.bundle(), refresh_hint=hint))
    assert bundles._usual("there.test") == seconds


@pytest.mark.parametrize("name", ["here.test", "there.test"])
async def test_nobody_federates_with_our_own_domain_or_a_malformed_endpoint(
    trust, recorder, tmp_path, first, name
):
    one = Federated(
        url="https://127.0.0.1:1/", profile="https_spiffe", endpoint_id="spiffe://X", file=first
    )
    with pytest.raises(Problem) as caught:
        Bundles(
            {name: one},
            directory=tmp_path,
            trust=trust,
            web=WebTls(),
            records=identity_records(recorder),
        )
    assert caught.value.code == "PC7001"

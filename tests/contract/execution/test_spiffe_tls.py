"""Upstreams known by SPIFFE ID, and our own SVID shown to those that ask for one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from types import SimpleNamespace

import pytest

from domains import Domain, server_context, tls_server
from portcullis.config import Limits
from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId
from portcullis.execution.endpoint import Endpoint
from portcullis.execution.http import HttpForwarder
from portcullis.execution.secrets import local_secrets
from portcullis.execution.tls import upstream_tls
from portcullis.identity.bundle import Bundle
from portcullis.identity.svid import peer_of
from portcullis.identity.trust import Trust
from portcullis.wire.certificates import pem

pytestmark = pytest.mark.anyio

BANK = "/upstream/bank"


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param}


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
def own(here):
    return here.own()


@contextlib.asynccontextmanager
async def forwarding(server, trust, own=None, *, workload=None, svid=True):
    """Ask the server for something, as an upstream that must be ``workload``."""
    forwarder = HttpForwarder(
        {"it": Endpoint(url=server.url, svid=svid, spiffe_id=workload)},
        secrets=local_secrets({}),
        limits=Limits(connect_seconds=2, request_seconds=2),
        tls=upstream_tls(own, trust),
    )
    try:
        yield forwarder
    finally:
        await forwarder.close()


async def read(forwarder, call) -> bytes:
    response = await forwarder.send(call("it", method="GET"))
    try:
        return await response.read()
    finally:
        response.close()


async def refused(forwarder, call) -> str:
    with pytest.raises(Problem) as caught:
        await read(forwarder, call)
    assert caught.value.code == "PC5001"
    return caught.value.detail


def shown(server) -> list[str]:
    """The SPIFFE IDs that clients showed, one per connection."""
    return [str(peer_of(chain, anchor="").id) for chain in server.chains]


async def test_the_gate_shows_its_svid_and_accepts_exactly_the_workload_asked_for(
    here, trust, own, call
):
    context = here.server(BANK, asks=here.authority.bundle().x509)
    async with (
        tls_server(context) as server,
        forwarding(server, trust, own, workload=SpiffeId("here.test", BANK)) as forwarder,
    ):
        assert [await read(forwarder, call) for _ in range(3)] == [b"ok"] * 3
        assert shown(server) == ["spiffe://here.test/gateway/gate"]  # over one connection


async def test_another_workload_of_the_right_domain_gets_no_request(here, trust, own, call):
    async with (
        tls_server(here.server("/upstream/thief")) as server,
        forwarding(server, trust, own, workload=SpiffeId("here.test", BANK)) as forwarder,
    ):
        detail = await refused(forwarder, call)
        assert detail == f"the upstream is another workload than spiffe://here.test{BANK}"
        assert server.requests == []


async def test_a_federated_upstream_is_held_against_its_own_domains_bundle(
    here, there, trust, own, call
):
    trust.put(there.authority.bundle())
    context = there.server(BANK, asks=here.authority.bundle().x509)
    async with (
        tls_server(context) as server,
        forwarding(server, trust, own, workload=SpiffeId("there.test", BANK)) as forwarder,
    ):
        assert await read(forwarder, call) == b"ok"
        assert shown(server) == ["spiffe://here.test/gateway/gate"]


async def test_one_domains_authority_does_not_vouch_for_a_workload_of_another(
    here, there, trust, call
):
    """Its authority is trusted for its own domain; a server of it is no server of ours."""
    trust.put(there.authority.bundle())
    async with (
        tls_server(there.server(BANK)) as server,
        forwarding(server, trust, workload=SpiffeId("here.test", BANK)) as forwarder,
    ):
        assert await refused(forwarder, call) == "the upstream's certificate is not of here.test"
        assert server.requests == []


async def test_an_upstream_of_a_domain_without_a_bundle_is_not_spoken_to(there, trust, call):
    async with (
        tls_server(there.server(BANK)) as server,
        forwarding(server, trust, workload=SpiffeId("there.test", BANK)) as forwarder,
    ):
        assert await refused(forwarder, call) == "no trust bundle of there.test is held"
        assert server.chains == []


async def test_a_bundle_that_comes_later_opens_the_way_without_a_restart(there, trust, call):
    async with (
        tls_server(there.server(BANK)) as server,
        forwarding(server, trust, workload=SpiffeId("there.test", BANK)) as forwarder,
    ):
        await refused(forwarder, call)
        trust.put(there.authority.bundle())
        assert await read(forwarder, call) == b"ok"


async def test_a_rotation_takes_effect_with_the_next_connection_and_breaks_none(
    here, trust, own, call
):
    context = here.server(BANK, asks=here.authority.bundle().x509)
    async with (
        tls_server(context) as server,
        forwarding(server, trust, own, workload=SpiffeId("here.test", BANK)) as forwarder,
    ):
        await read(forwarder, call)
        own.renew()
        await read(forwarder, call)
        assert len(server.chains) == 1
        held = await forwarder.send(call("it", method="GET"))  # keeps the first one busy
        await read(forwarder, call)
        await held.read()
        serials = [peer_of(chain, anchor="").serial for chain in server.chains]
        assert len(set(serials)) == 2
        assert serials[1] == own.current()[0].serial


async def test_an_idle_connection_dies_with_the_authority_that_vouched_for_it(there, trust, call):
    trust.put(there.authority.bundle())
    async with (
        tls_server(there.server(BANK)) as server,
        forwarding(server, trust, workload=SpiffeId("there.test", BANK)) as forwarder,
    ):
        await read(forwarder, call)
        trust.remove("there.test")
        assert await refused(forwarder, call) == "no trust bundle of there.test is held"
        assert len(server.requests) == 1


async def test_another_authority_under_the_same_domain_name_is_not_trusted(
    there, trust, call, tmp_path
):
    trust.put(there.authority.bundle())
    impostor = Domain("there.test", tmp_path / "impostor")
    async with (
        tls_server(impostor.server(BANK)) as server,
        forwarding(server, trust, workload=SpiffeId("there.test", BANK)) as forwarder,
    ):
        assert await refused(forwarder, call) == "the upstream's certificate is not of there.test"
        assert server.requests == []


async def test_a_certificate_that_is_no_svid_is_refused_with_its_reason(here, trust, call):
    class Federated(Trust):
        """One that has lost the domain between handshake and verification."""

        def peer(self, verified_chain):
            raise Problem("PC2023", "the certificate has 2 URIs, an X509-SVID exactly one")

    broken = Federated(here.authority.bundle)
    async with (
        tls_server(here.server(BANK)) as server,
        forwarding(server, broken, workload=SpiffeId("here.test", BANK)) as forwarder,
    ):
        assert "2 URIs" in await refused(forwarder, call)
        assert server.requests == []


@pytest.mark.parametrize("svid", [True, False])
async def test_by_host_name_the_svid_is_shown_only_where_it_may_be(
    here, trust, own, call, svid, tmp_path, monkeypatch
):
    authorities = tmp_path / "roots.pem"
    authorities.write_text(pem(here.authority.bundle().x509))
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    named, key = here.own("/upstream/named").current()
    context = server_context(named.chain, key, asks=here.authority.bundle().x509)
    async with (
        tls_server(context) as server,
        forwarding(server, trust, own, svid=svid) as forwarder,
    ):
        if svid:
            assert await read(forwarder, call) == b"ok"
            own.renew()
            held = await forwarder.send(call("it", method="GET"))
            assert await read(forwarder, call) == b"ok"
            await held.read()
            assert shown(server) == ["spiffe://here.test/gateway/gate"] * 2
            assert peer_of(server.chains[1], anchor="").serial == own.current()[0].serial
        else:
            await refused(forwarder, call)
            assert server.requests == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_upstream_that_wants_a_certificate_says_so_in_the_refusal(
    here, trust, call, version
):
    context = here.server(BANK, asks=here.authority.bundle().x509)
    context.maximum_version = version
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:  # blocking: asyncio's server drops the connection without the alert
        peer, _ = listening.accept()
        with peer.dup() as rest:  # unread bytes would turn the end into a reset, which eats it
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(peer, server_side=True)
            with contextlib.suppress(ConnectionError):
                while rest.recv(4096):
                    pass

    serving = asyncio.create_task(asyncio.to_thread(serve))
    server = SimpleNamespace(url=f"https://127.0.0.1:{listening.getsockname()[1]}")
    workload = SpiffeId("here.test", BANK)
    async with forwarding(server, trust, workload=workload) as forwarder:
        detail = await refused(forwarder, call)
    await serving
    listening.close()
    assert "refused TLS with us" in detail
    assert "alert" in detail


def test_a_gate_without_bundles_does_not_start_with_an_upstream_known_by_spiffe_id():
    with pytest.raises(Problem) as caught:
        HttpForwarder(
            {"it": Endpoint(url="https://127.0.0.1:1", spiffe_id=SpiffeId("here.test", BANK))},
            secrets=local_secrets({}),
            limits=Limits(),
        )
    assert caught.value.code == "PC7001"


async def test_a_bundle_whose_authorities_cannot_be_loaded_lets_nobody_in(here, own, call):
    class Broken(Trust):
        def bundle(self, trust_domain):
            return Bundle(
                trust_domain=trust_domain, x509=(b"\x30\x00",), jwt={}, sequence=1, refresh_hint=60
            )

    async with (
        tls_server(here.server(BANK)) as server,
        forwarding(
            server, Broken(here.authority.bundle), own, workload=SpiffeId("here.test", BANK)
        ) as forwarder,
    ):
        await refused(forwarder, call)
        await asyncio.sleep(0)
        assert server.requests == []

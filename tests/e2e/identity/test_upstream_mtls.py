"""A configured upstream that demands certificates: nothing fails while every key is replaced."""

from __future__ import annotations

import asyncio

import pytest

from domains import Domain, tls_server
from portcullis.config import Limits, load
from portcullis.core.errors import Problem
from portcullis.core.ports import UpstreamRequest
from portcullis.execution.endpoint import endpoints
from portcullis.execution.http import HttpForwarder
from portcullis.execution.secrets import local_secrets
from portcullis.execution.tls import upstream_tls
from portcullis.identity.svid import peer_of
from portcullis.identity.trust import Trust

pytestmark = pytest.mark.anyio

CALL = UpstreamRequest(upstream="bank", method="POST", path="/v1/x", headers=(), body=b"{}")


@pytest.fixture
def anyio_backend():
    """The loop that the gate runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def here(tmp_path):
    return Domain("here.test", tmp_path / "here")


@pytest.fixture
def there(tmp_path):
    return Domain("there.test", tmp_path / "there")


@pytest.fixture
def forwarder(tmp_path):
    """The forwarder of a gate that is configured with the upstream ``bank``."""

    def make(url, workload, own, trust) -> HttpForwarder:
        path = tmp_path / "portcullis.yaml"
        path.write_text(
            f"""
trust_domain: here.test
models:
  bank:
    shape: openai
    url: {url}
    tls: {{spiffe_id: "{workload}"}}
"""
        )
        return HttpForwarder(
            endpoints(load(path)),
            secrets=local_secrets({}),
            limits=Limits(connect_seconds=5, request_seconds=10),
            tls=upstream_tls(own, trust),
        )

    return make


async def test_calls_go_on_through_renewals_and_a_change_of_authority_on_both_sides(
    here, there, forwarder
):
    """The upstream's operator trusts our bundle as it is at any time, and we theirs."""
    own, trust = here.own(), Trust(here.authority.bundle)
    trust.put(there.authority.bundle())
    asks = here.authority.bundle().x509
    here.authority.rotate("root")
    both = here.authority.bundle().x509
    assert set(asks) < set(both)
    answered, due = 0, asyncio.Event()
    rotating = True

    async with tls_server(there.server("/model", asks=both)) as server:
        gate = forwarder(server.url, "spiffe://there.test/model", own, trust)

        async def agent() -> None:
            nonlocal answered
            while rotating:
                response = await gate.send(CALL)
                assert await response.read() == b"ok"
                answered += 1
                if answered % 50 == 0:
                    due.set()
                if answered % 25 == 0:
                    gate._upstreams["bank"].pool._idle.clear()  # the next one connects anew

        async with asyncio.TaskGroup() as agents:
            for _ in range(8):
                agents.create_task(agent())
            for step in range(4):
                await due.wait()
                due.clear()
                own.renew()
                if step == 1:
                    there.authority.rotate("root")
                    assert trust.put(there.authority.bundle())
            rotating = False
        await gate.close()
        shown = {peer_of(chain, anchor="").serial for chain in server.chains}
    assert answered >= 200
    assert len(shown) >= 4


async def test_an_upstream_whose_domain_was_cut_off_gets_nothing_more(here, there, forwarder):
    own, trust = here.own(), Trust(here.authority.bundle)
    trust.put(there.authority.bundle())
    async with tls_server(there.server("/model", asks=here.authority.bundle().x509)) as server:
        gate = forwarder(server.url, "spiffe://there.test/model", own, trust)
        response = await gate.send(CALL)
        await response.read()
        trust.remove("there.test")
        with pytest.raises(Problem) as caught:
            await gate.send(CALL)
        assert caught.value.code == "PC5001"
        assert len(server.requests) == 1
        await gate.close()


@pytest.mark.parametrize(
    ("url", "workload"),
    [
        ("http://127.0.0.1:1", "spiffe://there.test/model"),
        ("https://127.0.0.1:1", "spiffe://there.test/"),
        ("https://127.0.0.1:1", "spiffe://There.test/model"),
    ],
)
async def test_a_configured_identity_that_could_not_be_verified_stops_the_start(
    here, forwarder, url, workload
):
    with pytest.raises(Problem) as caught:
        forwarder(url, workload, here.own(), Trust(here.authority.bundle))
    assert caught.value.code == "PC7001"
    assert "bank" in caught.value.detail

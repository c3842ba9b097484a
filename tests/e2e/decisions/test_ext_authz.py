"""A mesh's sidecar asks as Envoy does, over gRPC: whether an agent's request may go on.

The client is gRPC's own with the same messages; Envoy itself has not been tried.
"""

import json

import grpc
import pytest

import standins
from e2e.decisions.conftest import SIDECAR, request
from portcullis.core.principal import PrincipalKind
from portcullis.wire.envoy import authorization_pb2 as wire

pytestmark = pytest.mark.anyio
OK, DENIED = 0, 7


def code_of(answer):
    assert answer.status.code == DENIED
    problem = json.loads(answer.denied_response.body)
    assert answer.denied_response.status.code == problem["status"]
    return problem["code"]


@pytest.mark.control("authorize", "ext-authz", "request")
async def test_policy_on_egress_decides_on_host_method_and_path(asking):
    async with asking.channel() as check:
        assert (await check(request(), timeout=10)).status.code == OK
        socket = request(upgrade="websocket")
        assert (await check(socket, timeout=10)).status.code == OK
        connect = request("CONNECT", "https://open.partner.example:443")
        assert (await check(connect, timeout=10)).status.code == OK
        for asked, code in (
            (request("POST"), "PC3018"),
            (request(url="https://api.partner.example/other"), "PC3018"),
            (request(url="https://api.partner.example:8443/v1/x"), "PC3017"),
            (request(url="https://evil.example/v1/x"), "PC3016"),
            (request(agent="rival"), "PC3009"),
            (request("CONNECT", "https://api.partner.example:443"), "PC3035"),
        ):
            assert code_of(await check(asked, timeout=10)) == code


@pytest.mark.control("strict-input", "ext-authz", "request")
@pytest.mark.control("headers", "ext-authz", "request")
async def test_what_servers_could_take_for_another_request_is_refused(asking):
    async with asking.channel() as check:
        for asked, code in (
            (request(url="https://api.partner.example/v1/../admin"), "PC1011"),
            (request(url="https://api.partner.example/v1/%2e%2e/admin"), "PC1011"),
            (request(url="https://127.0.0.1/v1/x"), "PC5050"),
            (request(url="https://0x7f.1/v1/x"), "PC5050"),
            (request("TRACE"), "PC1011"),
            (request(url="ftp://api.partner.example/v1/x"), "PC1011"),
            (request(**{"x-http-method-override": "DELETE"}), "PC1011"),
        ):
            assert code_of(await check(asked, timeout=10)) == code
        twice = request()
        for value in (b"a", b"b"):
            twice.attributes.request.http.header_map.headers.append(
                wire.HeaderValue(key="host", raw_value=value)
            )
        assert code_of(await check(twice, timeout=10)) == "PC1011"


@pytest.mark.control("authenticate", "ext-authz", "request")
async def test_the_agent_is_whose_svid_the_sidecar_saw(asking):
    async with asking.channel() as check:
        for agent, code in (
            ("", "PC2001"),
            ("spiffe://elsewhere.example/agent/worker", "PC2007"),
            ("spiffe://demo.portcullis.example/application/pep", "PC2004"),
            ("http://worker", "PC2024"),
            ("ghost", "PC2007"),
        ):
            assert code_of(await check(request(agent=agent), timeout=10)) == code


@pytest.mark.control("mutual-tls", "ext-authz", "request")
async def test_only_the_workloads_that_are_named_may_ask(asking):
    for path in ("/mesh/other", "/agent/worker"):
        async with asking.channel(path) as check:
            with pytest.raises(grpc.aio.AioRpcError):
                await check(request(), timeout=5)
        name = f"spiffe://demo.portcullis.example{path}"
        await standins.eventually(
            asking.stage, lambda event, name=name: (event.code, event.principal) == ("PC3034", name)
        )
    where = asking.stage.gate.urls["decisions"].removeprefix("https://")
    async with grpc.aio.insecure_channel(where) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/envoy.service.auth.v3.Authorization/Check")(b"", timeout=5)


@pytest.mark.control("record", "ext-authz", "request")
async def test_every_answer_is_on_record_and_no_query(asking):
    asked = request(url="https://api.partner.example/v1/needle-5b?q=needle-5c", cookie="needle-5d")
    async with asking.channel() as check:
        assert (await check(asked, timeout=10)).status.code == OK
        await check(request("POST"), timeout=10)
    found = await standins.eventually(
        asking.stage,
        lambda event: event.route == "ext-authz" and event.code == "PC3018",
    )
    assert (found.principal, found.name) == ("worker", "api.partner.example:443")
    assert not any("needle-5" in str(event) for event in asking.events())


@pytest.mark.control("life-cycle", "ext-authz", "request")
async def test_whoever_is_revoked_gets_nothing_more_over_the_same_connection(asking):
    await asking.stage.create(PrincipalKind.AGENT, "mortal")
    async with asking.channel() as check:
        assert code_of(await check(request(agent="mortal"), timeout=10)) == "PC3009"
        await asking.stage.revoke(PrincipalKind.AGENT, "mortal")
        assert code_of(await check(request(agent="mortal"), timeout=10)) == "PC4001"


async def test_the_certificate_of_the_sidecar_is_its_name_on_record(asking):
    async with asking.channel() as check:
        await check(request(agent=""), timeout=10)
    found = await standins.eventually(
        asking.stage, lambda event: (event.route, event.code) == ("ext-authz", "PC2001")
    )
    assert (found.application, found.credential[:5]) == (SIDECAR, "svid:")


@pytest.mark.control("bounds", "ext-authz", "request")
async def test_a_question_has_a_size(asking):
    async with asking.channel() as check:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check(request(long="x" * 300_000), timeout=10)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await check(request(), timeout=10)).status.code == OK

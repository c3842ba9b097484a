"""If these fail, an MCP client cannot find out how to get a token for the gate."""

import httpx2
import pytest
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    build_protected_resource_metadata_discovery_urls,
    extract_resource_metadata_from_www_auth,
    handle_auth_metadata_response,
    handle_protected_resource_response,
    validate_metadata_issuer,
)

from portcullis.control.form import CLIENT_CREDENTIALS, GRANT
from portcullis.wire.challenge import challenge

SERVER = "http://gate.test/mcp/orders"


@pytest.fixture
def discover(gate):
    """Asks the gate as a client that knows it as gate.test."""

    def discover(url, **headers):
        path = url.removeprefix("http://gate.test")
        return gate.get(path, headers={"host": "gate.test"} | headers)

    return discover


def as_client(answer):
    """What the official client's library sees."""
    return httpx2.Response(
        answer.status_code,
        content=answer.content,
        headers=dict(answer.headers),
        request=httpx2.Request("GET", SERVER),
    )


@pytest.mark.anyio
@pytest.mark.parametrize("told", [True, False])
async def test_the_official_mcp_client_finds_its_way_to_the_token_endpoint(discover, told):
    refusal = httpx2.Response(
        401,
        headers={"www-authenticate": challenge("PC2001", "http://gate.test", "/mcp/orders")},
        request=httpx2.Request("POST", SERVER),
    )
    where = extract_resource_metadata_from_www_auth(refusal) if told else None
    assert where == (
        "http://gate.test/.well-known/oauth-protected-resource/mcp/orders" if told else None
    )
    url = build_protected_resource_metadata_discovery_urls(where, SERVER)[0]
    resource = await handle_protected_resource_response(as_client(discover(url)))
    assert str(resource.resource) == SERVER
    issuer = str(resource.authorization_servers[0])
    url = build_oauth_authorization_server_metadata_discovery_urls(issuer, SERVER)[0]
    found, server = await handle_auth_metadata_response(as_client(discover(url)))
    assert found
    validate_metadata_issuer(server, issuer)
    assert str(server.token_endpoint) == "http://gate.test/v1/token"
    assert server.grant_types_supported == [CLIENT_CREDENTIALS, GRANT]


def test_the_documents_say_how_tokens_are_bound(discover):
    resource = discover("/.well-known/oauth-protected-resource").json()
    assert resource["resource"] == "http://gate.test"
    assert resource["bearer_methods_supported"] == ["header"]
    server = discover("/.well-known/oauth-authorization-server").json()
    for document in (resource, server):
        assert document["tls_client_certificate_bound_access_tokens"] is True
        assert document["dpop_signing_alg_values_supported"] == ["ES256", "EdDSA"]
    assert server["issuer"] == "http://gate.test"


def test_whether_a_server_exists_is_not_told(discover):
    path = "/.well-known/oauth-protected-resource/mcp/"
    assert discover(path + "orders").status_code == discover(path + "nothing").status_code == 200
    for wrong in ("UPPER", "a%22b", "a%0Ab"):
        assert discover(path + wrong).status_code in {400, 401}


@pytest.mark.parametrize("host", ["evil.test", 'x"y', "gate.test:99", "gate.test, evil.test", ""])
def test_another_host_header_never_gets_into_a_document(gate, host):
    answer = gate.get("/.well-known/oauth-authorization-server", headers={"host": host})
    assert answer.json()["issuer"] == "http://testserver:80"


def test_a_query_is_refused_and_recorded(discover, world):
    answer = discover("/.well-known/oauth-protected-resource?x=1")
    assert (answer.status_code, answer.json()["code"]) == (400, "PC1021")
    assert world.recorder.last.code == "PC1021"

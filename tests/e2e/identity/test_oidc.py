"""A person who logs in at a real OpenID provider is known here by the ID token from there."""

from __future__ import annotations

import secrets
import time
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from oidc_provider_mock import User, run_server_in_thread

from domains import WallClock
from portcullis.config.identity import Oidc
from portcullis.core.errors import Problem
from portcullis.execution.keysets import FileKeys
from portcullis.identity.oidc import IdTokens

pytestmark = pytest.mark.anyio

CLIENT = "portcullis"
CALLBACK = "http://127.0.0.1:1/callback"


@pytest.fixture
def provider():
    people = [User(sub="ada", claims={"groups": ["sre"]}), User(sub="bob", claims={})]
    with run_server_in_thread(user_claims=people) as server:
        yield f"http://localhost:{server.server_port}"


def login(provider: str, subject: str, client: str = CLIENT) -> str:
    """The authorization code flow (OpenID Connect Core section 3.1), as a browser and a client."""
    asked = {
        "client_id": client,
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": "openid profile",
        "state": secrets.token_hex(8),
    }
    answer = httpx2.post(f"{provider}/oauth2/authorize", params=asked, data={"sub": subject})
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    told = httpx2.post(
        f"{provider}/oauth2/token",
        data={"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK},
        auth=(client, secrets.token_hex(8)),
    )
    return told.raise_for_status().json()["id_token"]


@pytest.fixture
def tokens(provider, tmp_path):
    found = httpx2.get(f"{provider}/.well-known/openid-configuration").json()
    keys = tmp_path / "jwks.json"
    keys.write_bytes(httpx2.get(found["jwks_uri"]).content)
    settings = Oidc(
        issuer=found["issuer"],
        client_id=CLIENT,
        jwks=str(keys),
        operators={"sre": "responder"},
    )
    return IdTokens({"corp": settings}, keys={"corp": FileKeys(keys)}, clock=WallClock(), skew=5)


async def test_a_user_and_an_operator_are_known_by_what_the_provider_signed(provider, tokens):
    ada = await tokens.operator(login(provider, "ada"))
    assert (ada.id, ada.roles) == ("corp:ada", ("responder",))
    assert ada.expires_at > time.time()
    assert (await tokens.user(login(provider, "bob"))).id == "corp:bob"
    with pytest.raises(Problem) as caught:
        await tokens.operator(login(provider, "bob"))
    assert caught.value.code == "PC2072"


async def test_a_token_for_another_client_of_the_provider_is_refused(provider, tokens):
    with pytest.raises(Problem) as caught:
        await tokens.person(login(provider, "ada", "mail"))
    assert (caught.value.code, caught.value.detail) == ("PC2072", "aud is not us")


async def test_a_token_of_a_provider_that_lost_its_key_is_refused(provider, tokens):
    """A new server at the same place has new keys, which nobody has told us of."""
    token = login(provider, "ada")
    head = token.rpartition(".")[0]
    with run_server_in_thread() as other:
        foreign = login(f"http://localhost:{other.server_port}", "ada")
    for forged in (foreign, f"{head}.{foreign.rpartition('.')[2]}"):
        with pytest.raises(Problem) as caught:
            await tokens.person(forged)
        assert caught.value.code == "PC2072"
    assert (await tokens.person(token)).subject == "ada"

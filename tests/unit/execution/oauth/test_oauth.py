"""Tokens for users: asked for once, by one process, of the server that was meant."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from databases import new_database
from portcullis.audit.keys import shared_subjects
from portcullis.config import UpstreamOauth
from portcullis.core.behalf import Behalf
from portcullis.core.errors import Problem
from portcullis.core.grants import Grant, Holding
from portcullis.core.secret import Secret
from portcullis.core.secret_use import Holder, holder
from portcullis.demo.serve import Receive, Scope, Send, answer, read_body, serving
from portcullis.execution.oauth.client import OauthClient
from portcullis.execution.oauth.servers import Servers
from portcullis.execution.oauth.tokens import OauthTokens
from portcullis.execution.oauth.web import Web
from portcullis.execution.tls import WebTls
from portcullis.store.user_grants import SqlGrants
from sealers import sealer_at

pytestmark = pytest.mark.anyio

UPSTREAM = "https://mail.example/mcp"
ADA = Behalf(kind="agent", principal="a", session="s", application="desk", user="ada")


class Wall:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class Secrets:
    def resolve(self, reference: str) -> Secret:
        return Secret("our-client-secret")


@dataclass
class Server:
    """An authorization server that says what a test has it say."""

    url: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    answers: list[tuple[int, Any]] = field(default_factory=list)
    asked: list[tuple[dict[str, str], dict[str, str]]] = field(default_factory=list)
    pause: float = 0.0

    def document(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "token_endpoint": f"{self.url}/token",
            "authorization_endpoint": f"{self.url}/auth",
            "code_challenge_methods_supported": ["S256"],
        } | self.metadata

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            known = scope["path"] == "/.well-known/oauth-authorization-server"
            body = json.dumps(self.document()).encode() if known else b"{}"
            await answer(send, 200 if known else 404, body)
            return
        form = {
            name: value[0] for name, value in parse_qs((await read_body(receive)).decode()).items()
        }
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((form, headers))
        await asyncio.sleep(self.pause)
        status, said = self.answers.pop(0) if self.answers else (200, self.token())
        await answer(send, status, said if isinstance(said, bytes) else json.dumps(said).encode())

    def token(self, **more: Any) -> dict[str, Any]:
        number = len(self.asked)
        return {
            "access_token": f"access-token-{number}",
            "refresh_token": f"refresh-token-{number}",
            "token_type": "Bearer",
            "expires_in": 300,
        } | more


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with serving(made) as url:
        made.url = url
        yield made


@pytest.fixture
def grants(tmp_path):
    engine = new_database(tmp_path / "portcullis.db")
    keys = shared_subjects(tmp_path / "keys", sealer_at(tmp_path))
    yield SqlGrants(engine, keys, sealer_at(tmp_path))
    keys.close()
    engine.dispose()


def client_of(server: Server, **settings: Any) -> OauthClient:
    given = {"issuer": server.url, "client_id": "gate", "client_secret": "env:X"} | settings
    oauth, web = UpstreamOauth(**given), Web(WebTls())
    return OauthClient(
        *(oauth, UPSTREAM),
        servers=Servers(oauth, UPSTREAM, web, Wall()),
        web=web,
        secrets=Secrets(),
    )


@pytest.fixture
def tokens(server, grants) -> Callable[..., OauthTokens]:
    def make(**settings: Any) -> OauthTokens:
        lost: list[tuple[str, str]] = []

        async def told(grant: Grant, error: str) -> None:
            lost.append((grant.id, error))

        made = OauthTokens(
            {"mail": client_of(server, **settings)},
            grants,
            Wall(),
            lost=told,
            connect=lambda name: f"https://console/connect/{name}",
        )
        made.told = lost
        return made

    return make


def granted(grants: SqlGrants, server: Server) -> Grant:
    holding = Holding(upstream="mail", application="desk", user="ada")
    grant = Grant(id="grant-of-ada", holding=holding, scopes=(), created_at=1.0, issuer=server.url)
    grants.put(grant, Secret("refresh-token-0"))
    return grant


async def test_many_calls_at_once_ask_once(server, grants, tokens) -> None:
    granted(grants, server)
    server.pause = 0.05
    one = tokens()
    found = await asyncio.gather(*(one.token("mail", ADA) for _ in range(20)))
    assert {secret.reveal() for secret in found} == {"access-token-1"}
    ((form, headers),) = server.asked
    assert form == {
        "grant_type": "refresh_token",
        "refresh_token": "refresh-token-0",
        "resource": UPSTREAM,
    }
    shown = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
    assert shown == "gate:our-client-secret"


async def test_two_processes_never_use_one_refresh_token_twice(server, grants, tokens) -> None:
    granted(grants, server)
    server.pause = 0.05
    processes = [tokens() for _ in range(4)]
    await asyncio.gather(*(one.token("mail", ADA) for one in processes))
    used = [form["refresh_token"] for form, _ in server.asked]
    assert used == [f"refresh-token-{number}" for number in range(4)]
    assert all(one.told == [] for one in processes)


async def test_a_token_is_used_till_shortly_before_its_end(server, grants, tokens) -> None:
    granted(grants, server)
    server.answers = [(200, server.token(expires_in=0))]
    one = tokens()
    first = await one.token("mail", ADA)
    second = await one.token("mail", ADA)
    assert first != second
    assert await one.token("mail", ADA) == second
    one.refused("mail", Secret("another"))
    assert await one.token("mail", ADA) == second
    one.refused("mail", second)
    assert await one.token("mail", ADA) != second


async def test_what_the_server_does_not_honour_any_more_ends(server, grants, tokens) -> None:
    grant = granted(grants, server)
    server.answers = [(400, {"error": "invalid_grant"})]
    one = tokens()
    with pytest.raises(Problem, match="PC5080") as caught:
        await one.token("mail", ADA)
    assert "https://console/connect/mail" in caught.value.hint
    assert one.told == [(grant.id, "invalid_grant")]
    assert grants.find(grant.holding) is None


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (400, {"error": "invalid_client"}, "PC5081"),
        (503, {"error": "invalid_grant"}, "PC5082"),
        (400, b"<html>no</html>", "PC5082"),
        (302, b"", "PC5082"),
        (200, b"[]", "PC5083"),
        (200, {"access_token": "access-token", "token_type": "DPoP"}, "PC5083"),
        (200, {"access_token": "with space", "token_type": "Bearer"}, "PC5083"),
        (200, {"access_token": "", "token_type": "Bearer"}, "PC5083"),
        (200, b"x" * 300_000, "PC5082"),
    ],
    ids=["client", "down", "no-json", "redirect", "list", "dpop", "space", "empty", "large"],
)
async def test_a_fault_of_the_server_takes_no_grant_away(
    server, grants, tokens, status, said, code
) -> None:
    grant = granted(grants, server)
    server.answers = [(status, said)]
    one = tokens()
    with pytest.raises(Problem, match=code):
        await one.token("mail", ADA)
    assert grants.find(grant.holding) is not None
    assert (await one.token("mail", ADA)).reveal().startswith("access-token-")


async def test_more_than_was_asked_for_is_not_taken(server, grants, tokens) -> None:
    granted(grants, server)
    more = server.token(scope="mail.read mail.send") | {"refresh_token": "refresh-token-0-next"}
    server.answers = [(200, more)]
    with pytest.raises(Problem, match="PC5083"):
        await tokens(scopes=("mail.read",)).token("mail", ADA)
    _, kept = grants.find(Holding(upstream="mail", application="desk", user="ada"))
    assert kept == "refresh-token-0-next"  # the one before is used up: the grant goes on


async def test_a_refresh_token_is_shown_to_the_server_that_made_it_alone(
    server, grants, tokens
) -> None:
    """An upstream that names its own authorization server may name another tomorrow."""
    grant = granted(grants, server)
    thief = Server()
    async with serving(thief) as url:
        thief.url = url
        one = tokens(issuer=url)
        with pytest.raises(Problem, match="PC5080"):
            await one.token("mail", ADA)
        thief.metadata = {"revocation_endpoint": f"{url}/revoke"}
        assert not await client_of(thief).revoke(Secret("refresh-token-0"), grant.issuer)
    assert thief.asked == []
    assert grants.find(grant.holding) is not None


async def test_a_token_that_has_ended_is_not_kept_in_memory(server, grants, tokens) -> None:
    granted(grants, server)
    server.answers = [(200, server.token(expires_in=0.1))]
    one = tokens()
    await one.token("mail", ADA)
    for _ in range(100):
        if not one._held:
            break
        await asyncio.sleep(0.02)
    assert one._held == {}


async def test_nobody_gets_a_token_of_somebody_else(server, grants, tokens) -> None:
    granted(grants, server)
    one = tokens()
    for other in ({"user": "bob"}, {"application": "rival"}, {"user": ""}, {"application": ""}):
        behalf = Behalf(**{"session": "s", "application": "desk", "user": "ada"} | other)
        with pytest.raises(Problem, match="PC5080"):
            await one.token("mail", behalf)
    with pytest.raises(Problem, match="PC5012"):
        await one.token("files", ADA)
    assert server.asked == []


async def test_the_gates_own_token_is_for_the_mode_that_says_so(server, grants, tokens) -> None:
    one = tokens(mode="client", scopes=("mail.read",))
    found = await one.token("mail", Behalf())
    used: list[str] = []
    holder.set(Holder(agent="a", session="s", used=used))
    assert await one.token("mail", ADA) == found
    assert used == ["oauth:mail#client@gate"]
    ((form, _),) = server.asked
    assert form["grant_type"] == "client_credentials"


async def test_the_browser_is_sent_with_a_challenge_and_the_code_with_its_verifier(server) -> None:
    client = client_of(server, scopes=("openid", "offline_access"))
    url = await client.authorization("state", "v" * 43, "nonce", "https://us/callback")
    asked = {name: value[0] for name, value in parse_qs(urlsplit(url).query).items()}
    digest = hashlib.sha256(b"v" * 43).digest()
    assert asked == {
        "response_type": "code",
        "client_id": "gate",
        "redirect_uri": "https://us/callback",
        "scope": "openid offline_access",
        "state": "state",
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        "resource": UPSTREAM,
        "nonce": "nonce",
        "prompt": "consent",
    }
    await client.redeem("code", "v" * 43, "https://us/callback")
    assert server.asked[0][0]["code_verifier"] == "v" * 43


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"issuer": "https://other.example"}, "PC5083"),
        ({"code_challenge_methods_supported": ["plain"]}, "PC5083"),
        ({"code_challenge_methods_supported": []}, "PC5083"),
        ({"token_endpoint": "http://far.example/token"}, "PC5083"),
        ({"authorization_endpoint": ""}, "PC5083"),
        ({"token_endpoint": 7}, "PC5083"),
    ],
    ids=["issuer", "plain", "no-pkce", "no-tls", "no-page", "malformed"],
)
async def test_a_server_that_is_not_what_it_must_be_is_not_used(server, metadata, code) -> None:
    server.metadata = metadata
    with pytest.raises(Problem, match=code):
        await client_of(server).server()


@pytest.mark.parametrize("name", ["token", "authorization", "revocation"])
@pytest.mark.parametrize("place", ["http://127.0.0.1:1", "https://[::ffff:127.0.0.1]"])
async def test_a_server_elsewhere_sends_the_gate_to_nothing_on_its_machine(name, place) -> None:
    issuer = "https://login.example"
    said = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "authorization_endpoint": f"{issuer}/auth",
        "code_challenge_methods_supported": ["S256"],
        f"{name}_endpoint": place,
    }

    class Far(Web):
        async def get(self, url: str) -> bytes:
            return json.dumps(said).encode()

    oauth = UpstreamOauth(client_id="gate", issuer=issuer)
    with pytest.raises(Problem, match="on this machine"):
        await Servers(oauth, UPSTREAM, Far(WebTls()), Wall()).find()


async def test_the_secret_goes_into_the_form_where_the_server_wants_it_there(server) -> None:
    server.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    await client_of(server).refresh(Secret("refresh-token"))
    ((form, headers),) = server.asked
    assert (form["client_id"], form["client_secret"]) == ("gate", "our-client-secret")
    assert "authorization" not in headers


@pytest.mark.parametrize(
    "settings",
    [
        {"authorization_endpoint": "https://as.example/auth"},
        {"token_endpoint": "https://as.example/token"},
        {"token_endpoint": "http://as.example/token", "issuer": "https://as.example"},
        {"mode": "client", "issuer": "https://as.example"},
        {"client_secret": "env:X"},
        {"mode": "exchange"},
        {"issuer": "https://as.example", "client_secret": "the secret itself"},
        {"issuer": "https://as.example", "scopes": ("two words",)},
    ],
    ids=["half", "no-page", "no-tls", "no-secret", "to-whom", "shown", "by-value", "scope"],
)
def test_settings_that_could_send_a_token_astray_are_refused(settings) -> None:
    with pytest.raises(ValueError, match="UpstreamOauth"):
        UpstreamOauth(client_id="gate", **settings)

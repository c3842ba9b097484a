"""If these fail, the DPoP proofs of an agent on plain loopback are not worth the name."""

import json
import time

import jwt
import pytest
from aiohttp import web

from client_gate import new_id, serving
from portcullis import client
from portcullis.client.aiohttp import session
from portcullis.client.guard import Guard
from portcullis.client.identity import SystemClock
from portcullis.core.spiffe import SpiffeId
from portcullis.identity import dpop
from portcullis.identity.once import LocalOnce

pytestmark = pytest.mark.anyio

AUDIENCE = "spiffe://example.test/gateway/gate"


class Assertions:
    def __init__(self, authority):
        self.authority = authority
        self.given = []

    async def assertion(self, audience):
        found = self.authority.sign_jwt(SpiffeId("example.test", "/agent/shop-1"), [audience])
        self.given.append(found.token)
        return found.token


class PlainGate:
    def __init__(self):
        self.once = LocalOnce(SystemClock())
        self.forms, self.keys = [], []
        self.url = ""

    async def handle(self, request):
        token = request.headers.get("authorization", "").removeprefix("DPoP ") or None
        key = dpop.verify(
            request.headers["dpop"],
            method=request.method,
            url=self.url + request.path,
            token=token,
            now=time.time(),
            once=self.once,
            skew=5,
        )
        self.keys.append(key)
        if request.path == "/v1/token":
            self.forms.append(dict(await request.post()))
            value = f"aa.{new_id()}.cc"
            return web.json_response(
                {"access_token": value, "token_type": "DPoP", "expires_in": 300}
            )
        if request.path == "/v1/calls":
            arguments = (await request.json())["arguments"]
            return web.json_response({"call": "c1", "arguments": arguments})
        if request.path == "/v1/calls/c1/result":
            return web.json_response({"result": (await request.json())["result"]})
        return web.Response(text=json.dumps({"token": token}))


@pytest.fixture
async def plain():
    found = PlainGate()
    async with serving(found.handle) as url:
        found.url = url
        yield found


async def test_every_request_has_its_own_proof_by_one_key(plain, authority):
    assertions = Assertions(authority)
    access = client.LocalGate(plain.url, assertions, audience=AUDIENCE, scope=("model:m",))
    async with session(access) as http:
        for _ in range(3):
            async with http.get(f"{plain.url}/echo?q=1") as answer:
                assert answer.status == 200
    assert len(plain.keys) == 4
    assert len(set(plain.keys)) == 1
    assert plain.forms == [
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": assertions.given[0],
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "scope": "model:m",
        }
    ]
    assert jwt.decode(assertions.given[0], options={"verify_signature": False})["aud"] == [AUDIENCE]


async def test_a_delegation_names_its_actor_by_a_fresh_assertion(plain, authority):
    assertions = Assertions(authority)
    access = client.LocalGate(plain.url, assertions, audience=AUDIENCE)
    async with session(access) as http:
        for delegation in ("aa.bb.c1", "aa.bb.c2"):
            shown = {"authorization": f"Bearer {delegation}"}
            async with http.get(f"{plain.url}/echo", headers=shown) as answer:
                assert delegation not in await answer.text()
    assert [form["subject_token"] for form in plain.forms] == ["aa.bb.c1", "aa.bb.c2"]
    assert [form["actor_token"] for form in plain.forms] == assertions.given
    assert len(set(assertions.given)) == 2


async def test_a_guard_proves_its_key_with_every_question(plain, authority):
    local = client.LocalGate(plain.url, Assertions(authority), audience=AUDIENCE)
    with Guard(local, toolset="shop") as guard:

        @guard.tool
        async def refund(order: str) -> str:
            return f"paid {order}"

        assert await refund("7") == "paid 7"
        assert await refund("8") == "paid 8"
    assert len(plain.keys) == 5  # one token, and two questions for each call
    assert len(set(plain.keys)) == 1

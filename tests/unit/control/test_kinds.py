"""Five kinds of principal, each with its own way in: nobody passes for another.

Every credential that there is, shown on every way in, is either its own way or refused with its
code, and the refusal is in the log without the credential.
"""

import secrets

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.testclient import TestClient

from holders import peer_of
from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.gateway.access import Access

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type's name

OWN = "its own way"
"""What stands in the table where a credential is at home."""


def id_token(world):
    """What an issuer of people's tokens signs."""
    key = rsa.generate_private_key(65_537, 2048)
    now = int(world.clock.now())
    said = {"iss": "https://issuer.test", "sub": "u-7", "aud": "portcullis", "exp": now + 300}
    return jwt.encode(said, key, "RS256", {"kid": "k1"})


def session_token(gate, world):
    body = {"agent": "shop-1", "user": "u-7", "prompt": "where is it?"}
    web = world.bearer("application", "web")
    return gate.post("/v1/sessions", json=body, headers=web).json()["token"]


TOKENS = {
    "agent": lambda gate, world: world.token("agent", "shop-1"),
    "application": lambda gate, world: world.token("application", "web"),
    "operator": lambda gate, world: world.token("operator", "ada", roles=("admin",)),
    "session": session_token,
    "jwt-svid": lambda gate, world: world.issuer.svid("/agent/shop-1", world.clock.now()),
    "id-token": lambda gate, world: id_token(world),
    "join-token": lambda gate, world: secrets.token_urlsafe(32),
}
PATHS = {
    "agent": "/agent/shop-1",
    "application": "/application/web",
    "operator": "/operator/ada",
    "gateway": "/gateway/gate",
    "user": "/user/u-7",
}


class Ways:
    """The ways in: each takes a token or a certificate, and says with which code it refused."""

    def __init__(self, gate, control, world):
        self.gate, self.control, self.world = gate, control, world

    def show(self, client, method, path, token, peer, **more):
        self.world.peer = peer
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = client.request(method, path, headers=headers, **more)
        self.world.peer = None
        return OWN if answer.status_code < 400 else answer.json()["code"]

    def operators(self, token, peer):
        return self.show(self.control, "GET", "/api/v1/principals", token, peer)

    def applications(self, token, peer):
        body = {"agent": "shop-1", "user": "u-7", "prompt": "where is it?"}
        return self.show(self.gate, "POST", "/v1/sessions", token, peer, json=body)

    def agents(self, token, peer):
        """What stands before every model and tool; the pipeline records its refusals."""
        services = self.world.services
        access = Access(services.authority, services.sessions, services.clock)
        shown = Presented(token=token, peer=peer)

        async def admit():
            return await access.admit(shown, source="127.0.0.1:1", trace_id="")

        try:
            self.gate.portal.call(admit)
        except Problem as problem:
            return problem.code
        return OWN

    def login(self, token, peer):
        assert peer is None or not token
        return self.show(
            self.control, "POST", "/api/v1/login", "", peer, json={"id_token": token or "none"}
        )

    def exchange(self, token, peer):
        form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": TOKEN}
        if not token:
            form = {"grant_type": "client_credentials"}
        return self.show(self.gate, "POST", "/v1/token", "", peer, data=form)


def certified(app, world):
    """The application behind a listener that asks for certificates."""

    async def behind(scope, receive, send):
        await app({**scope, "portcullis.peer": world.peer}, receive, send)

    return behind


@pytest.fixture
def ways(gate, control, world):
    world.register("operator", "u-7", ["viewer"])
    with TestClient(certified(control.app, world), raise_server_exceptions=False) as client:
        yield Ways(gate, client, world)


AGENT_ROW = ("PC2004", "PC2004", OWN, "PC2072", OWN)
TABLE = {
    # credential: operators, applications, agents, login, token endpoint
    "agent": AGENT_ROW,
    "session": AGENT_ROW,
    "application": ("PC2004", OWN, "PC2004", "PC2072", OWN),
    "operator": (OWN, "PC2004", "PC2004", "PC2072", OWN),
    "jwt-svid": ("PC2035", "PC2035", "PC2035", "PC2072", "PC2035"),
    "id-token": ("PC2035", "PC2035", "PC2035", "PC2072", "PC2035"),
    "join-token": ("PC2002", "PC2002", "PC2002", "PC2072", "PC2002"),
}
CERTIFICATES = {
    "agent": AGENT_ROW,
    "application": ("PC2004", OWN, "PC2004", "PC2072", OWN),
    "operator": ("PC2004", "PC2004", "PC2004", "PC2072", "PC2004"),
    "gateway": ("PC2004", "PC2004", "PC2004", "PC2072", "PC2004"),
    "user": ("PC2007", "PC2007", "PC2007", "PC2072", "PC2007"),
}
WAYS = ("operators", "applications", "agents", "login", "exchange")
RECORDED = frozenset(WAYS) - {"agents"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("credential", sorted(TABLE))
def test_no_token_of_one_kind_opens_the_way_of_another(gate, world, ways, credential, way):
    token = TOKENS[credential](gate, world)
    seen = len(world.recorder.events)
    found = getattr(ways, way)(token, None)
    assert found == TABLE[credential][WAYS.index(way)]
    held(world, seen, found, way)
    assert token not in repr(world.recorder.events)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("credential", sorted(CERTIFICATES))
def test_no_certificate_of_one_kind_opens_the_way_of_another(world, ways, credential, way):
    peer = peer_of(PATHS[credential], world.clock.now())
    seen = len(world.recorder.events)
    found = getattr(ways, way)("", peer)
    assert found == CERTIFICATES[credential][WAYS.index(way)]
    held(world, seen, found, way)


def held(world, seen, found, way):
    """A refusal stands in the log with its code."""
    new = world.recorder.events[seen:]
    if found != OWN and way in RECORDED:
        assert [(event.verdict, event.code) for event in new] == [("deny", found)]


@pytest.mark.parametrize("path", ["/agent/ada", "/application/ada", "/gateway/ada"])
def test_a_name_that_two_kinds_share_makes_neither_of_them_the_other(world, ways, path):
    token = world.token("operator", "ada", roles=("admin",))
    peer = peer_of(path, world.clock.now())
    for way in ("operators", "applications", "agents"):
        assert getattr(ways, way)(token, peer) in {"PC2005", "PC2049"}


def test_a_role_in_the_token_of_another_kind_opens_nothing(world, ways):
    for kind, name in (("agent", "shop-1"), ("application", "web")):
        assert ways.operators(world.token(kind, name, roles=("admin",)), None) == "PC2004"

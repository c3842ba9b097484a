"""If these fail, somebody else's credential, proof or session counts as one's own."""

import pytest

from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.core.spiffe import SpiffeId
from portcullis.gateway.access import Access, presented
from portcullis.gateway.http import Request

PEER = Peer(
    id=SpiffeId("shop.test", "/agent/shop-1"),
    serial="0a",
    thumbprint="t",
    anchor="root",
    issued_at=0.0,
    expires_at=2e9,
)
KEY = ("x-api-key", "abc")
NAMES = frozenset({"gate.test", "localhost"})


def request(*headers, peer=None, path=b"/mcp/orders"):
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "https",
        "server": ("10.0.0.1", 7302),
        "path": path.decode(),
        "raw_path": path,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    if peer:
        scope["portcullis.peer"] = peer
    return Request(scope, None, None)


def shown(*headers, **kind):
    return presented(request(*headers, **kind), NAMES)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "DPoP", "dpop"])
def test_a_token_comes_under_either_scheme(scheme):
    made = shown(("authorization", f"{scheme} abc"))
    assert (made.token, made.method, made.url) == ("abc", "POST", "")


def test_a_token_may_come_where_some_sdks_send_keys():
    assert shown(KEY) == shown(("authorization", "Bearer abc"))
    assert shown(KEY, ("authorization", "Bearer abc")) == shown(KEY)


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        ("PC2005", [("authorization", "Bearer abc"), ("x-api-key", "other")]),
        ("PC2002", [("authorization", "Basic abc")]),
        ("PC2002", [("authorization", "Bearer")]),
        ("PC2002", [("authorization", "Bearer " + "a" * 9000)]),
        ("PC2002", [("x-api-key", "\xe9")]),
        ("PC1011", [("authorization", "Bearer abc"), ("dpop", "\xe9")]),
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(code, headers):
    with pytest.raises(Problem, match=code):
        shown(*headers)


def test_a_certificate_may_be_all_there_is():
    assert shown(peer=PEER).peer is PEER
    assert shown().peer is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("gate.test:7302", "https://gate.test:7302/mcp/or%64ers"),
        ("GATE.test:7302", "https://gate.test:7302/mcp/or%64ers"),
        ("evil.test:7302", "https://10.0.0.1:7302/mcp/or%64ers"),
        ("gate.test:7300", "https://10.0.0.1:7302/mcp/or%64ers"),
        ("", "https://10.0.0.1:7302/mcp/or%64ers"),
    ],
)
def test_a_proof_is_held_against_our_own_address_whatever_the_caller_calls_us(host, url):
    made = shown(("dpop", "proof"), ("host", host), path=b"/mcp/or%64ers")
    assert (made.dpop, made.method, made.url) == ("proof", "POST", url)


class Sessions:
    def __init__(self, agent):
        self.agent = agent

    async def get(self, session_id):
        return Session(
            id=session_id,
            agent=self.agent,
            application="app",
            user="u",
            prompt="",
            subject={},
            grant=None,
            opened_at=0.0,
            expires_at=2e9,
        )


class Everyone:
    """An authenticator that lets in whoever the test says."""

    def __init__(self, **principal):
        self.principal = Principal(
            **{"kind": PrincipalKind.AGENT, "id": "helper", "credential": "t", "expires_at": 2e9}
            | principal
        )

    async def authenticated(self, shown):
        return self.authenticate(shown)

    def authenticate(self, shown, *, spend=True):
        return self.principal


class Clock:
    def now(self):
        return 1.0


async def admit(owner, **principal):
    access = Access(Everyone(**principal), Sessions(owner), Clock())
    return await access.admit(shown(peer=PEER), source="test", trace_id="")


@pytest.mark.anyio
async def test_a_session_is_its_agent_s_and_of_those_that_act_for_it():
    assert (await admit("helper", session="s1")).session.id == "s1"
    assert (await admit("shop-1", session="s1", chain=("shop-1",))).session.id == "s1"
    with pytest.raises(Problem, match="PC2006"):
        await admit("shop-1", session="s1")
    with pytest.raises(Problem, match="PC2006"):
        await admit("shop-1", session="s1", chain=("other",))


@pytest.mark.anyio
async def test_the_agents_routes_are_for_agents():
    with pytest.raises(Problem, match="PC2004"):
        await admit("x", kind=PrincipalKind.OPERATOR)

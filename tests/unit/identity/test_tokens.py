"""If these fail, a token that is not ours, or not its bearer's, opens the gate."""

import base64
import hashlib
import hmac
import itertools
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holders import Holder, peer_of
from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.keys import thumbprint
from portcullis.identity.tokens import Actor, Confirmation, Grant, TokenAuthority

DOMAIN = "example.test"
NOW = 1_800_000_000
URL = "https://gate.test/mcp/orders"
FOREIGN = {"spiffe://elsewhere.test/ns/shop": (PrincipalKind.AGENT, "shop-1")}


class TurnableClock:
    def __init__(self):
        self.time = NOW + 0.5

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


@pytest.fixture
def clock():
    return TurnableClock()


@pytest.fixture(scope="module")
def key():
    return Ed25519PrivateKey.generate()


def authority_of(key, clock, domain=DOMAIN, **options):
    numbers = itertools.count(1)
    return TokenAuthority(
        key,
        trust_domain=domain,
        clock=clock,
        new_id=lambda: f"{int(clock.time * 1000):012x}{next(numbers):020x}",
        named=FOREIGN.get,
        **options,
    )


@pytest.fixture
def authority(key, clock):
    """The authority of a gate that takes tokens bound to no key."""
    return authority_of(key, clock, bearer=True)


@pytest.fixture
def strict(key, clock):
    """The authority of a gate as it is by default."""
    return authority_of(key, clock)


def shown(token, **fields):
    return Presented(token=token, **fields)


def issue(authority, ttl=60, **fields):
    """A token of the agent shop-1 unless told otherwise."""
    grant = {"sub": "agent:shop-1", "client_id": "agent:shop-1", "auth_time": NOW} | fields
    return authority.issue(Grant(**grant), expires_at=NOW + ttl).token


def refusal(authority, presented):
    with pytest.raises(Problem) as refused:
        authority.authenticate(presented)
    assert presented.token == "" or presented.token not in refused.value.detail
    return refused.value.code


def claims(**changes):
    good = {
        "iss": DOMAIN,
        "aud": "portcullis",
        "sub": "agent:shop-1",
        "client_id": "agent:shop-1",
        "jti": f"{NOW * 1000:012x}{0:020x}",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 60,
        "auth_time": NOW,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(key, payload, **header):
    """A token by another library, with the header that ours have."""
    head = {"alg": "EdDSA", "kid": thumbprint(key.public_key()), "typ": "at+jwt"} | header
    content = json.dumps(head, separators=(",", ":")).encode()
    signed = part(content) + b"." + part(json.dumps(payload).encode())
    return (signed + b"." + part(key.sign(signed))).decode()


def part(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def by_hand(key, payload, header):
    content = part(json.dumps(header).encode()) + b"." + part(json.dumps(payload).encode())
    return (content + b"." + part(key.sign(content))).decode()


def test_a_minted_token_names_its_holder_until_it_expires(authority, clock):
    minted = authority.mint(PrincipalKind.OPERATOR, "ada", ttl=60, roles=("admin", "viewer"))
    expected = Principal(
        kind=PrincipalKind.OPERATOR,
        id="ada",
        credential=minted.id,
        expires_at=NOW + 60,
        roles=("admin", "viewer"),
        issued_at=NOW + 0.5,
    )
    assert authority.authenticate(shown(minted.token)) == expected
    clock.time = NOW + 59.9
    assert authority.authenticate(shown(minted.token)) == expected
    clock.time = NOW + 60
    for _ in range(2):
        assert refusal(authority, shown(minted.token)) == "PC2003"


def test_a_token_that_any_library_made_of_the_right_claims_is_ours(authority, key):
    assert authority.authenticate(shown(signed(key, claims()))).id == "shop-1"


def test_any_library_can_read_our_tokens(authority, key):
    token = authority.mint(PrincipalKind.AGENT, "shop-1", ttl=60).token
    found = jwt.decode(
        token,
        key.public_key(),
        ["EdDSA"],
        audience="portcullis",
        issuer=DOMAIN,
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    assert found["client_id"] == found["sub"] == "agent:shop-1"
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"


MISUSE = {
    "none alg": ("PC2030", lambda key, good: jwt.encode(claims(), None, "none")),
    "none alg, our kid": (
        "PC2030",
        lambda key, good: (
            part(json.dumps({"alg": "none", "kid": thumbprint(key.public_key())}).encode()).decode()
            + "."
            + good.split(".")[1]
            + "."
        ),
    ),
    "HS256 with the public key": ("PC2030", lambda key, good: hs256(key)),
    "another algorithm": ("PC2030", lambda key, good: signed(key, claims(), alg="ES256")),
    "another key": ("PC2031", lambda key, good: signed(Ed25519PrivateKey.generate(), claims())),
    "another key, our kid": (
        "PC2031",
        lambda key, good: signed(
            Ed25519PrivateKey.generate(), claims(), kid=thumbprint(key.public_key())
        ),
    ),
    "unknown kid": ("PC2031", lambda key, good: signed(key, claims(), kid="other")),
    "no kid": (
        "PC2031",
        lambda key, good: by_hand(key, claims(), {"alg": "EdDSA", "typ": "at+jwt"}),
    ),
    "a plain JWT": ("PC2035", lambda key, good: signed(key, claims(), typ="JWT")),
    "a DPoP proof": ("PC2035", lambda key, good: signed(key, claims(), typ="dpop+jwt")),
    "a list of types": ("PC2035", lambda key, good: signed(key, claims(), typ=["at+jwt"])),
    "a delegation in name only": (
        "PC2035",
        lambda key, good: signed(key, claims(), typ="delegation+jwt"),
    ),
    "an access token in name only": (
        "PC2035",
        lambda key, good: signed(key, claims(may_act={"sub": "agent:other"})),
    ),
    "key in the header": ("PC2031", lambda key, good: signed(key, claims(), jwk={"kty": "OKP"})),
    "key by reference": (
        "PC2031",
        lambda key, good: signed(key, claims(), jku="https://elsewhere.test"),
    ),
    "critical extension": (
        "PC2031",
        lambda key, good: signed(key, claims(), crit=["b64"], b64=False),
    ),
    "another issuer": ("PC2033", lambda key, good: signed(key, claims(iss="elsewhere.test"))),
    "no issuer": ("PC2002", lambda key, good: signed(key, claims(iss=None))),
    "another audience": ("PC2032", lambda key, good: signed(key, claims(aud="elsewhere"))),
    "several audiences": (
        "PC2002",
        lambda key, good: signed(key, claims(aud=["portcullis", "elsewhere"])),
    ),
    "not valid yet": ("PC2034", lambda key, good: signed(key, claims(nbf=NOW + 6))),
    "expired": ("PC2003", lambda key, good: signed(key, claims(exp=NOW))),
    "no nbf": ("PC2002", lambda key, good: signed(key, claims(nbf=None))),
    "no exp": ("PC2002", lambda key, good: signed(key, claims(exp=None))),
    "exp as a float": ("PC2002", lambda key, good: signed(key, claims(exp=NOW + 60.5))),
    "exp as text": ("PC2002", lambda key, good: signed(key, claims(exp=str(NOW + 60)))),
    "no jti": ("PC2002", lambda key, good: signed(key, claims(jti=None))),
    "a jti that tells no time": ("PC2002", lambda key, good: signed(key, claims(jti="j" * 32))),
    "no auth_time": ("PC2002", lambda key, good: signed(key, claims(auth_time=None))),
    "unknown claim": ("PC2002", lambda key, good: signed(key, claims(admin=True))),
    "unknown kind": ("PC2002", lambda key, good: signed(key, claims(sub="root:shop-1"))),
    "a user": ("PC2002", lambda key, good: signed(key, claims(sub="user:shop-1"))),
    "a user in a session": (
        "PC2002",
        lambda key, good: signed(key, claims(sub="user:s1", sid="s1")),
    ),
    "a gateway": ("PC2002", lambda key, good: signed(key, claims(sub="gateway:shop-1"))),
    "no name": ("PC2002", lambda key, good: signed(key, claims(sub="agent:"))),
    "name with a line feed": ("PC2002", lambda key, good: signed(key, claims(sub="agent:a\n"))),
    "another's user": (
        "PC2002",
        lambda key, good: signed(key, claims(sub="user:s2", sid="s1", act={"sub": "agent:shop-1"})),
    ),
    "a user without a session": (
        "PC2002",
        lambda key, good: signed(key, claims(sub="user:None", act={"sub": "agent:shop-1"})),
    ),
    "an application that acts for an agent": (
        "PC2052",
        lambda key, good: signed(key, claims(act={"sub": "application:web"})),
    ),
    "an agent that acts for an operator": (
        "PC2052",
        lambda key, good: signed(key, claims(sub="operator:ada", act={"sub": "agent:shop-1"})),
    ),
    "an agent that acts for an application": (
        "PC2052",
        lambda key, good: signed(key, claims(sub="application:web", act={"sub": "agent:a"})),
    ),
    "five agents in a chain": (
        "PC2052",
        lambda key, good: signed(key, claims(act=acting("a", "b", "c", "d", "e"))),
    ),
    "a delegation that is bound": (
        "PC2052",
        lambda key, good: signed(
            key,
            claims(may_act={"sub": "agent:a"}, cnf={"jkt": "x"}),
            typ="delegation+jwt",
        ),
    ),
    "a delegation to an application": (
        "PC2052",
        lambda key, good: signed(
            key, claims(may_act={"sub": "application:a"}), typ="delegation+jwt"
        ),
    ),
    "a delegation to a chain": (
        "PC2052",
        lambda key, good: signed(key, claims(may_act=acting("a", "b")), typ="delegation+jwt"),
    ),
    "a fifth agent in a delegation": (
        "PC2052",
        lambda key, good: signed(
            key,
            claims(act=acting("a", "b", "c", "d"), may_act={"sub": "agent:e"}),
            typ="delegation+jwt",
        ),
    ),
    "bound to two keys": (
        "PC2002",
        lambda key, good: signed(key, claims(cnf={"jkt": "a", "x5t#S256": "b"})),
    ),
    "bound to no key": ("PC2002", lambda key, good: signed(key, claims(cnf={}))),
    "bound to an unknown kind of key": (
        "PC2002",
        lambda key, good: signed(key, claims(cnf={"jwk": {}})),
    ),
    "a scope of nothing that we know": (
        "PC2050",
        lambda key, good: signed(key, claims(scope="everything")),
    ),
    "truncated": ("PC2031", lambda key, good: good[:-2]),
    "no signature": ("PC2031", lambda key, good: good.rpartition(".")[0] + "."),
    "two parts": ("PC2031", lambda key, good: good.rpartition(".")[0]),
    "four parts": ("PC2002", lambda key, good: good + ".x"),
    "another payload": (
        "PC2031",
        lambda key, good: ".".join(
            [
                good.split(".")[0],
                part(json.dumps(claims(sub="agent:other")).encode()).decode(),
                good.split(".")[2],
            ]
        ),
    ),
    "white space": ("PC2002", lambda key, good: good + " "),
    "padding": ("PC2002", lambda key, good: good + "=="),
    "not ASCII": ("PC2002", lambda key, good: good + "é"),
    "a surrogate": ("PC2002", lambda key, good: good + "\udcff"),
    "huge": ("PC2002", lambda key, good: good + "A" * 100_000),
    "deep header": ("PC2002", lambda key, good: part(b"[" * 2900).decode() + ".e30.e30"),
    "no JWT": ("PC2002", lambda key, good: "sk-1234"),
}


def acting(*agents):
    """``act`` of agents, the current one first."""
    found = None
    for agent in reversed(agents):
        found = {"sub": f"agent:{agent}"} | ({"act": found} if found else {})
    return found


def hs256(key):
    """The classic confusion: the public key's bytes taken for an HMAC secret."""
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = {"alg": "HS256", "kid": thumbprint(key.public_key()), "typ": "at+jwt"}
    content = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims()).encode())
    return (content + b"." + part(hmac.digest(pem, content, hashlib.sha256))).decode()


@pytest.mark.parametrize("name", sorted(MISUSE))
def test_a_token_that_is_not_exactly_ours_is_refused_and_not_remembered(authority, key, name):
    good = authority.mint(PrincipalKind.AGENT, "shop-1", ttl=60).token
    code, forge = MISUSE[name]
    forged = forge(key, good)
    for _ in range(2):
        assert refusal(authority, shown(forged)) == code
    assert authority._cache == {}


def test_a_token_of_another_trust_domain_with_the_same_key_is_refused(key, clock, authority):
    other = authority_of(key, clock, "other.test")
    token = other.mint(PrincipalKind.AGENT, "shop-1", ttl=60).token
    assert refusal(authority, shown(token)) == "PC2033"


def test_a_token_for_an_impossible_name_is_never_minted(authority):
    for name in ("", "A", "../x", "a" * 64, "a:b"):
        with pytest.raises(Problem, match="PC2002"):
            authority.mint(PrincipalKind.AGENT, name, ttl=60)


def test_a_token_too_long_to_be_shown_is_never_minted(authority):
    scope = " ".join(f"tool:orders.{'x' * 200}{n}" for n in range(20))
    with pytest.raises(Problem, match="PC2050"):
        issue(authority, scope=scope)


# who shows nothing, a certificate, or both


def test_nothing_shown_is_nobody(strict):
    assert refusal(strict, shown("")) == "PC2001"
    assert refusal(strict, shown("spiffe")) == "PC2020"


@pytest.mark.parametrize("kind", ["agent", "application", "gateway"])
@pytest.mark.parametrize("token", ["", "spiffe"])
def test_a_certificate_alone_is_a_credential(strict, kind, token):
    peer = peer_of(f"/{kind}/shop-1", NOW)
    assert strict.authenticate(shown(token, peer=peer)) == Principal(
        kind=PrincipalKind(kind),
        id="shop-1",
        credential=f"svid:{peer.serial}",
        expires_at=NOW + 3600,
        svid=peer.serial,
        issued_at=NOW,
    )


def test_a_certificate_that_expires_on_an_open_connection_is_worth_nothing(strict, clock):
    peer = peer_of("/agent/shop-1", NOW, life=10)
    token = issue(strict, cnf=Confirmation(x5t=peer.thumbprint))
    clock.time = NOW + 10
    for shows in (shown("", peer=peer), shown(token, peer=peer)):
        assert refusal(strict, shows) == "PC2022"


def test_a_foreign_identity_is_whom_it_is_registered_for_and_never_whom_its_path_names(strict):
    peer = peer_of("/ns/shop", NOW, domain="elsewhere.test")
    assert strict.authenticate(shown("", peer=peer)).id == "shop-1"
    posing = peer_of("/agent/shop-1", NOW, domain="elsewhere.test")
    assert refusal(strict, shown("", peer=posing)) == "PC2007"
    nameless = peer_of("/ns/shop", NOW)
    assert refusal(strict, shown("", peer=nameless)) == "PC2007"


def test_a_token_bound_to_a_certificate_is_good_under_that_certificate_only(strict):
    mine, renewed, other = (
        peer_of(f"/agent/{name}", NOW) for name in ("shop-1", "shop-1", "other")
    )
    token = issue(strict, cnf=Confirmation(x5t=mine.thumbprint))
    for _ in range(2):
        principal = strict.authenticate(shown(token, peer=mine))
        assert (principal.id, principal.svid) == ("shop-1", mine.serial)
        assert principal.credential == strict.verify(token).jti
        assert refusal(strict, shown(token, peer=renewed)) == "PC2041"
        assert refusal(strict, shown(token, peer=other)) == "PC2041"
        assert refusal(strict, shown(token)) == "PC2040"
        assert refusal(strict, shown(token, local=True)) == "PC2040"


def test_token_and_certificate_never_name_two_principals(strict):
    other = peer_of("/agent/other", NOW)
    token = issue(strict, cnf=Confirmation(x5t=other.thumbprint))
    assert refusal(strict, shown(token, peer=other)) == "PC2005"
    holder = Holder()
    token = issue(strict, cnf=Confirmation(jkt=holder.jkt))
    proof = holder.proof("POST", URL, NOW, token)
    shows = shown(token, peer=other, dpop=proof, method="POST", url=URL)
    assert refusal(strict, shows) == "PC2005"


def test_a_token_bound_to_a_key_is_good_with_a_new_proof_each_time(strict):
    holder, thief = Holder(), Holder()
    token = issue(strict, cnf=Confirmation(jkt=holder.jkt))
    request = {"method": "POST", "url": URL}
    proof = holder.proof("POST", URL, NOW, token)
    assert strict.authenticate(shown(token, dpop=proof, **request)).id == "shop-1"
    assert refusal(strict, shown(token, dpop=proof, **request)) == "PC2046"
    assert refusal(strict, shown(token, **request)) == "PC2040"
    stolen = thief.proof("POST", URL, NOW, token)
    assert refusal(strict, shown(token, dpop=stolen, **request)) == "PC2047"
    another = holder.proof("POST", URL, NOW, token)
    assert strict.authenticate(shown(token, dpop=another, **request)).id == "shop-1"
    assert refusal(strict, shown(token, dpop=holder.proof("GET", URL, NOW, token), **request)) == (
        "PC2044"
    )


# tokens bound to no key


def test_by_default_a_token_bound_to_no_key_is_worth_nothing(strict):
    for fields in ({}, {"sub": "application:web", "client_id": "application:web"}):
        assert refusal(strict, shown(issue(strict, **fields))) == "PC2049"


def test_a_token_bound_to_no_key_is_good_where_it_was_allowed_and_without_certificates(authority):
    token = issue(authority)
    assert authority.authenticate(shown(token)).id == "shop-1"
    mine = peer_of("/agent/shop-1", NOW)
    assert refusal(authority, shown(token, peer=mine)) == "PC2049"


def test_this_process_may_vouch_for_a_token_bound_to_no_key(strict):
    assert strict.authenticate(shown(issue(strict), local=True)).id == "shop-1"


def test_an_operators_token_is_good_without_certificates_only(strict):
    token = strict.mint(PrincipalKind.OPERATOR, "ada", ttl=60, roles=("admin",)).token
    assert strict.authenticate(shown(token)).roles == ("admin",)
    peer = peer_of("/operator/ada", NOW)
    assert refusal(strict, shown(token, peer=peer)) == "PC2049"
    assert strict.authenticate(shown("", peer=peer)).roles == ()


# delegations


def delegation(authority, **fields):
    grant = {"sub": "user:s1", "sid": "s1", "client_id": "application:web"}
    return issue(authority, **(grant | {"may_act": Actor("agent:shop-1")} | fields))


def test_a_delegation_is_good_on_the_connection_of_the_agent_that_it_names_only(strict):
    token = delegation(strict)
    principal = strict.authenticate(shown(token, peer=peer_of("/agent/shop-1", NOW)))
    assert (principal.kind, principal.id) == (PrincipalKind.AGENT, "shop-1")
    assert (principal.session, principal.chain) == ("s1", ())
    assert refusal(strict, shown(token, peer=peer_of("/agent/other", NOW))) == "PC2051"
    assert refusal(strict, shown(token, peer=peer_of("/application/web", NOW))) == "PC2051"
    assert refusal(strict, shown(token)) == "PC2049"
    holder = Holder()
    proof = holder.proof("POST", URL, NOW, token)
    assert refusal(strict, shown(token, dpop=proof, method="POST", url=URL)) == "PC2049"


def test_where_it_was_allowed_a_delegation_is_a_bearer_token(authority):
    assert authority.authenticate(shown(delegation(authority))).session == "s1"


@pytest.mark.parametrize(
    ("fields", "holder", "chain"),
    [
        ({"sub": "user:s1", "sid": "s1", "act": Actor("agent:a")}, "a", ()),
        (
            {"sub": "user:s1", "sid": "s1", "act": Actor("agent:b", Actor("agent:a"))},
            "b",
            ("a",),
        ),
        ({"sub": "agent:a", "act": Actor("agent:b")}, "b", ("a",)),
        (
            {"sub": "agent:a", "act": Actor("agent:c", Actor("agent:b"))},
            "c",
            ("b", "a"),
        ),
        ({"sub": "agent:a", "may_act": Actor("agent:b")}, "b", ("a",)),
        (
            {"sub": "agent:a", "act": Actor("agent:b"), "may_act": Actor("agent:c")},
            "c",
            ("b", "a"),
        ),
    ],
)
def test_who_acts_and_for_whom_is_read_as_it_is_written(authority, fields, holder, chain):
    principal = authority.authenticate(shown(issue(authority, **fields)))
    assert (principal.kind, principal.id) == (PrincipalKind.AGENT, holder)
    assert principal.chain == chain


def test_four_agents_may_act_for_one_another(authority):
    act = Actor("agent:d", Actor("agent:c", Actor("agent:b", Actor("agent:a"))))
    token = issue(authority, sub="user:s1", sid="s1", act=act)
    assert authority.authenticate(shown(token)).chain == ("c", "b", "a")


def test_a_scope_comes_with_the_principal(authority):
    token = issue(authority, scope="model:gpt-5.2 tool:orders.search")
    assert authority.authenticate(shown(token)).scope == ("model:gpt-5.2", "tool:orders.search")


# the memory of verified tokens


def test_the_memory_of_verified_tokens_is_bounded(key, clock):
    authority = authority_of(key, clock, bearer=True, cache_size=3)
    tokens = [authority.mint(PrincipalKind.AGENT, "shop-1", ttl=60).token for _ in range(5)]
    for token in tokens:
        authority.authenticate(shown(token))
    assert len(authority._cache) == 3
    assert [authority.authenticate(shown(token)).id for token in tokens] == ["shop-1"] * 5
    assert not any(token.encode() in authority._cache for token in tokens)


def test_a_known_token_costs_microseconds(strict):
    peer = peer_of("/agent/shop-1", NOW)
    bound = shown(issue(strict, cnf=Confirmation(x5t=peer.thumbprint)), peer=peer)
    strict.authenticate(bound)
    for shows in (bound, shown("", peer=peer)):
        best = min(timed(lambda shows=shows: strict.authenticate(shows)) for _ in range(5))
        assert best < 50e-6


def timed(work):
    start = time.perf_counter()
    for _ in range(1000):
        work()
    return (time.perf_counter() - start) / 1000

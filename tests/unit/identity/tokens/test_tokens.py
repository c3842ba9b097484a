"""If these fail, a token that is not ours, or not its bearer's, opens the gate."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holders import peer_of
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.keys import thumbprint
from portcullis.identity.tokens import Confirmation
from unit.identity.tokens.making import (
    DOMAIN,
    NOW,
    authority_of,
    issue,
    refusal,
    shown,
)


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

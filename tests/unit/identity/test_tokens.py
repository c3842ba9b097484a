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

from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.keys import thumbprint
from portcullis.identity.tokens import TokenAuthority

DOMAIN = "example.test"
NOW = 1_800_000_000


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
        key, trust_domain=domain, clock=clock, new_id=lambda: f"jti-{next(numbers)}", **options
    )


@pytest.fixture
def authority(key, clock):
    return authority_of(key, clock)


def claims(**changes):
    good = {
        "iss": DOMAIN,
        "aud": "portcullis",
        "sub": "agent:shop-1",
        "jti": "jti-0",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 60,
        "auth_time": NOW,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(key, payload, **header):
    return jwt.encode(payload, key, "EdDSA", {"kid": thumbprint(key.public_key())} | header)


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
    )
    assert authority.authenticate(minted.token) == expected
    clock.time = NOW + 59.9
    assert authority.authenticate(minted.token) == expected
    clock.time = NOW + 60
    for _ in range(2):
        with pytest.raises(Problem, match="PC2003"):
            authority.authenticate(minted.token)


def test_a_session_token_carries_its_session(authority):
    minted = authority.mint(PrincipalKind.AGENT, "shop-1", ttl=60, session="s1")
    assert authority.authenticate(minted.token).session == "s1"
    assert authority.verify(minted.token).auth_time == NOW


def test_a_token_that_any_library_made_of_the_right_claims_is_ours(authority, key):
    assert authority.authenticate(signed(key, claims())).id == "shop-1"


MISUSE = {
    "none alg": lambda key, good: jwt.encode(claims(), None, "none"),
    "none alg, our kid": lambda key, good: (
        part(json.dumps({"alg": "none", "kid": thumbprint(key.public_key())}).encode()).decode()
        + "."
        + good.split(".")[1]
        + "."
    ),
    "HS256 with the public key": lambda key, good: hs256(key),
    "another key": lambda key, good: signed(Ed25519PrivateKey.generate(), claims()),
    "another key, our kid": lambda key, good: jwt.encode(
        claims(),
        Ed25519PrivateKey.generate(),
        "EdDSA",
        {"kid": thumbprint(key.public_key())},
    ),
    "unknown kid": lambda key, good: signed(key, claims(), kid="other"),
    "no kid": lambda key, good: by_hand(key, claims(), {"alg": "EdDSA", "typ": "JWT"}),
    "another typ": lambda key, good: signed(key, claims(), typ="dpop+jwt"),
    "key in the header": lambda key, good: signed(key, claims(), jwk={"kty": "OKP"}),
    "key by reference": lambda key, good: signed(key, claims(), jku="https://elsewhere.test"),
    "critical extension": lambda key, good: by_hand(
        key,
        claims(),
        {
            "alg": "EdDSA",
            "kid": thumbprint(key.public_key()),
            "typ": "JWT",
            "crit": ["b64"],
            "b64": False,
        },
    ),
    "another issuer": lambda key, good: signed(key, claims(iss="elsewhere.test")),
    "no issuer": lambda key, good: signed(key, claims(iss=None)),
    "another audience": lambda key, good: signed(key, claims(aud="elsewhere")),
    "several audiences": lambda key, good: signed(key, claims(aud=["portcullis", "elsewhere"])),
    "not valid yet": lambda key, good: signed(key, claims(nbf=NOW + 1)),
    "no nbf": lambda key, good: signed(key, claims(nbf=None)),
    "no exp": lambda key, good: signed(key, claims(exp=None)),
    "exp as a float": lambda key, good: signed(key, claims(exp=NOW + 1e9 + 0.5)),
    "exp as text": lambda key, good: by_hand(
        key,
        claims(exp=str(NOW + 60)),
        {"alg": "EdDSA", "kid": thumbprint(key.public_key()), "typ": "JWT"},
    ),
    "no jti": lambda key, good: signed(key, claims(jti=None)),
    "no auth_time": lambda key, good: signed(key, claims(auth_time=None)),
    "unknown claim": lambda key, good: signed(key, claims(act={"sub": "agent:other"})),
    "unknown kind": lambda key, good: signed(key, claims(sub="root:shop-1")),
    "user": lambda key, good: signed(key, claims(sub="user:shop-1")),
    "gateway": lambda key, good: signed(key, claims(sub="gateway:shop-1")),
    "no name": lambda key, good: signed(key, claims(sub="agent:")),
    "name with a line feed": lambda key, good: signed(key, claims(sub="agent:shop-1\n")),
    "truncated": lambda key, good: good[:-10],
    "no signature": lambda key, good: good.rpartition(".")[0] + ".",
    "two parts": lambda key, good: good.rpartition(".")[0],
    "four parts": lambda key, good: good + ".x",
    "another payload": lambda key, good: ".".join(
        [
            good.split(".")[0],
            part(json.dumps(claims(sub="agent:other")).encode()).decode(),
            good.split(".")[2],
        ]
    ),
    "white space": lambda key, good: good + " ",
    "empty": lambda key, good: "",
    "not ASCII": lambda key, good: good + "é",
    "a surrogate": lambda key, good: good + "\udcff",
    "huge": lambda key, good: good + "A" * 100_000,
    "deep header": lambda key, good: part(b"[" * 2900).decode() + ".e30.e30",
}


def hs256(key):
    """The classic confusion: the public key's bytes taken for an HMAC secret."""
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = {"alg": "HS256", "kid": thumbprint(key.public_key()), "typ": "JWT"}
    content = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims()).encode())
    return (content + b"." + part(hmac.digest(pem, content, hashlib.sha256))).decode()


@pytest.mark.parametrize("name", sorted(MISUSE))
def test_a_token_that_is_not_exactly_ours_is_refused_and_not_remembered(authority, key, name):
    good = authority.mint(PrincipalKind.AGENT, "shop-1", ttl=60).token
    forged = MISUSE[name](key, good)
    for _ in range(2):
        with pytest.raises(Problem) as refused:
            authority.authenticate(forged)
        assert refused.value.code == "PC2002"
        assert forged == "" or forged not in refused.value.detail
    assert authority._cache == {}


def test_an_expired_token_says_so(authority, key):
    with pytest.raises(Problem, match="PC2003"):
        authority.authenticate(signed(key, claims(exp=NOW)))


def test_a_token_of_another_trust_domain_with_the_same_key_is_refused(key, clock, authority):
    other = authority_of(key, clock, "other.test")
    with pytest.raises(Problem, match="PC2002"):
        authority.authenticate(other.mint(PrincipalKind.AGENT, "shop-1", ttl=60).token)


def test_a_token_for_an_impossible_name_is_never_minted(authority):
    for name in ("", "A", "../x", "a" * 64, "a:b"):
        with pytest.raises(ValueError, match="agent:"):
            authority.mint(PrincipalKind.AGENT, name, ttl=60)


def test_the_memory_of_verified_tokens_is_bounded(key, clock):
    authority = authority_of(key, clock, cache_size=3)
    tokens = [authority.mint(PrincipalKind.AGENT, "shop-1", ttl=60).token for _ in range(5)]
    for token in tokens:
        authority.authenticate(token)
    assert len(authority._cache) == 3
    assert [authority.authenticate(token).id for token in tokens] == ["shop-1"] * 5
    assert not any(token.encode() in authority._cache for token in tokens)


def test_a_known_token_costs_microseconds(authority):
    token = authority.mint(PrincipalKind.AGENT, "shop-1", ttl=60).token
    authority.authenticate(token)
    best = min(timed(lambda: authority.authenticate(token)) for _ in range(5))
    assert best < 50e-6


def timed(work):
    start = time.perf_counter()
    for _ in range(1000):
        work()
    return (time.perf_counter() - start) / 1000

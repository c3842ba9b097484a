"""If these fail, another's JWT is taken for a workload's, or one domain speaks for another."""

import hashlib
import json
import secrets

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holders import Issuer, base64url, trust_in
from portcullis.core.errors import Problem
from portcullis.identity import jwt_svid

NOW = 1_800_000_000.5
GATE = "spiffe://example.test/gateway/gate"


@pytest.fixture(scope="module")
def ours():
    return Issuer()


@pytest.fixture(scope="module")
def theirs():
    return Issuer("elsewhere.test", kid="k1")


@pytest.fixture(scope="module")
def trust(ours, theirs):
    return trust_in(ours, theirs)


def verify(token, trust, now=NOW):
    return jwt_svid.verify(token, audience=GATE, trust=trust, now=now, skew=5)


@pytest.mark.parametrize(
    ("make", "algorithms"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), ["ES256"]),
        (lambda: ec.generate_private_key(ec.SECP384R1()), ["ES384"]),
        (lambda: ec.generate_private_key(ec.SECP521R1()), ["ES512"]),
        (
            lambda: rsa.generate_private_key(65537, 2048),
            ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
        ),
    ],
)
def test_every_algorithm_of_the_specification_is_verified(make, algorithms):
    issuer = Issuer(key=make())
    for algorithm in algorithms:
        token = issuer.svid("/agent/shop-1", NOW, algorithm=algorithm)
        found = verify(token, trust_in(issuer))
        assert str(found.id) == "spiffe://example.test/agent/shop-1"
        assert (found.issued_at, found.expires_at) == (int(NOW), int(NOW) + 300)
        assert found.claims["jti"] == found.credential
        signed = token.rpartition(".")[0]
        assert found.fingerprint == hashlib.sha256(signed.encode()).hexdigest()


@pytest.mark.parametrize("fields", [{"typ": "JOSE"}, {"typ": "JWT"}])
def test_the_types_of_the_specification_are_accepted(ours, trust, fields):
    assert verify(ours.svid("/agent/shop-1", NOW, header=fields), trust).id.path == "/agent/shop-1"


def test_a_federated_domains_workload_is_itself(theirs, trust):
    found = verify(theirs.svid("/ns/shop", NOW, aud=GATE, jti=None, iat=None), trust)
    assert str(found.id) == "spiffe://elsewhere.test/ns/shop"
    assert (found.credential, found.issued_at) == (found.fingerprint, 0.0)


def test_a_jti_that_is_too_long_for_the_log_does_not_get_there(ours, trust):
    found = verify(ours.svid("/agent/shop-1", NOW, jti="x" * 65), trust)
    assert found.credential == found.fingerprint


def hs256(ours):
    pem = ours.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return ours.svid("/agent/a", NOW, algorithm="HS256", key=hashlib.sha256(pem).digest())


def typed(ours, kind):
    return jwt.api_jws.encode(b"{}", ours.key, "ES256", {"kid": "k1", "typ": kind})


def duplicate(ours):
    said = (
        b'{"sub":"spiffe://example.test/agent/a","sub":"spiffe://example.test/agent/b","aud":"x"}'
    )
    return jwt.api_jws.encode(said, ours.key, "ES256", {"kid": "k1"})


MISUSE = {
    "none": ("PC2030", lambda o, t: o.svid("/agent/a", NOW, algorithm="none")),
    "HS256 with the public key": ("PC2030", lambda o, t: hs256(o)),
    "EdDSA": (
        "PC2030",
        lambda o, t: o.svid("/agent/a", NOW, algorithm="EdDSA", key=Ed25519PrivateKey.generate()),
    ),
    "alg of another key type": (
        "PC2030",
        lambda o, t: o.svid(
            "/agent/a", NOW, algorithm="RS256", key=rsa.generate_private_key(65537, 2048)
        ),
    ),
    "alg of another curve": (
        "PC2030",
        lambda o, t: o.svid(
            "/agent/a", NOW, algorithm="ES384", key=ec.generate_private_key(ec.SECP384R1())
        ),
    ),
    "no kid": ("PC2031", lambda o, t: o.svid("/agent/a", NOW, header={"kid": None})),
    "unknown kid": ("PC2031", lambda o, t: o.svid("/agent/a", NOW, header={"kid": "k2"})),
    "another key under our kid": (
        "PC2031",
        lambda o, t: o.svid("/agent/a", NOW, key=ec.generate_private_key(ec.SECP256R1())),
    ),
    "a federated domain speaks for us": (
        "PC2031",
        lambda o, t: t.svid("", NOW, sub="spiffe://example.test/agent/a"),
    ),
    "we are made to speak for a federated domain": (
        "PC2031",
        lambda o, t: o.svid("", NOW, sub="spiffe://elsewhere.test/ns/shop"),
    ),
    "an unknown domain": (
        "PC2027",
        lambda o, t: o.svid("", NOW, sub="spiffe://unknown.test/agent/a"),
    ),
    "an access token of ours": ("PC2035", lambda o, t: o.svid("/a", NOW, header={"typ": "at+jwt"})),
    "a list of types": ("PC2035", lambda o, t: typed(o, ["JWT"])),
    "a DPoP proof": ("PC2035", lambda o, t: o.svid("/a", NOW, header={"typ": "dpop+jwt"})),
    "no SPIFFE ID": ("PC2024", lambda o, t: o.svid("", NOW, sub="agent:a")),
    "no path": ("PC2024", lambda o, t: o.svid("", NOW)),
    "path traversal": ("PC2024", lambda o, t: o.svid("/agent/../application/web", NOW)),
    "another audience": ("PC2032", lambda o, t: o.svid("/agent/a", NOW, aud=["spiffe://o.test/x"])),
    "no audience in a list": ("PC2032", lambda o, t: o.svid("/agent/a", NOW, aud=[])),
    "no audience": ("PC2002", lambda o, t: o.svid("/agent/a", NOW, aud=None)),
    "audiences of numbers": ("PC2002", lambda o, t: o.svid("/agent/a", NOW, aud=[1])),
    "no sub": ("PC2002", lambda o, t: o.svid("", NOW, sub=None)),
    "no exp": ("PC2002", lambda o, t: o.svid("/agent/a", NOW, exp=None)),
    "exp as text": ("PC2002", lambda o, t: forged(o, exp="1900000000")),
    "expired": ("PC2003", lambda o, t: o.svid("/agent/a", NOW - 300)),
    "for longer than an hour": ("PC2037", lambda o, t: o.svid("/a", NOW, exp=int(NOW) + 3606)),
    "for longer than an hour, from now": (
        "PC2037",
        lambda o, t: o.svid("/a", NOW, iat=None, exp=int(NOW) + 3607),
    ),
    "for longer than an hour, from then": (
        "PC2037",
        lambda o, t: o.svid("/a", NOW, iat=int(NOW) - 3500, exp=int(NOW) + 200),
    ),
    "issued in the future": ("PC2034", lambda o, t: o.svid("/agent/a", NOW + 6)),
    "not valid yet": ("PC2034", lambda o, t: o.svid("/agent/a", NOW, nbf=int(NOW) + 6)),
    "critical extension": ("PC2002", lambda o, t: o.svid("/a", NOW, header={"crit": ["x"]})),
    "a name twice": ("PC2002", lambda o, t: duplicate(o)),
    "white space": ("PC2002", lambda o, t: o.svid("/agent/a", NOW) + "\n"),
    "huge": ("PC2002", lambda o, t: o.svid("/agent/a", NOW, pad="x" * 9000)),
    "no JWT": ("PC2002", lambda o, t: secrets.token_hex(16)),
    "empty": ("PC2002", lambda o, t: ""),
    "an encrypted one": ("PC2002", lambda o, t: ".".join([base64url(b"{}")] * 5)),
}


def forged(ours, **claims):
    said = {"sub": "spiffe://example.test/agent/a", "aud": GATE} | claims
    return jwt.api_jws.encode(json.dumps(said).encode(), ours.key, "ES256", {"kid": "k1"})


@pytest.mark.parametrize("name", sorted(MISUSE))
def test_what_is_not_a_jwt_svid_for_us_is_refused_with_its_own_code(ours, theirs, trust, name):
    code, make = MISUSE[name]
    with pytest.raises(Problem) as refused:
        verify(make(ours, theirs), trust)
    assert refused.value.code == code


def test_a_domain_that_is_no_longer_federated_speaks_for_nobody(ours, theirs):
    trust = trust_in(ours, theirs)
    token = theirs.svid("/ns/shop", NOW)
    verify(token, trust)
    trust.remove("elsewhere.test")
    with pytest.raises(Problem, match="PC2027"):
        verify(token, trust)

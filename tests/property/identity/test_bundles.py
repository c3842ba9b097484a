"""A bundle that somebody else wrote is read, or refused as PC7009: never anything else."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authorities import AGENT, DOMAIN, World, leaf_key
from portcullis.core.errors import Problem
from portcullis.identity.bundle import Bundle, decode, encode, encode_jwt

EC = [ec.generate_private_key(curve()).public_key() for curve in (ec.SECP256R1, ec.SECP384R1)]
EC.append(ec.generate_private_key(ec.SECP521R1()).public_key())
RSA = rsa.generate_private_key(65537, 2048).public_key()
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    found = []
    for number, kind in enumerate(("p256", "ed25519")):
        folder = tmp_path_factory.mktemp(str(number))
        ours = World(folder, 1_900_000_000.0).open(key_type=kind)
        ours.rotate("root")
        found.extend(ours.bundle().x509)
    return found


def read(document):
    try:
        return decode(DOMAIN, document)
    except Problem as problem:
        if problem.code != "PC7009":
            raise
        return None


@QUICK
@given(data=st.data())
def test_what_we_write_is_what_we_read(authorities, data):
    bundle = Bundle(
        trust_domain=DOMAIN,
        x509=tuple(data.draw(st.lists(st.sampled_from(authorities), unique=True))),
        jwt=data.draw(
            st.dictionaries(
                st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1),
                st.sampled_from([*EC, RSA]),
                max_size=4,
            )
        ),
        sequence=data.draw(st.integers(0, 2**63 - 1)),
        refresh_hint=data.draw(st.integers(0, 2**31)),
    )
    assert decode(DOMAIN, encode(bundle)) == bundle
    alone = decode(DOMAIN, encode_jwt(bundle))
    assert (alone.x509, alone.jwt) == ((), bundle.jwt)


def test_our_document_has_the_members_that_the_specification_names(tmp_path):
    document = json.loads(encode(World(tmp_path, 1_900_000_000.0).open().bundle()))
    assert set(document) == {"keys", "spiffe_sequence", "spiffe_refresh_hint"}
    by_use = {key["use"]: key for key in document["keys"]}
    assert "kid" not in by_use["x509-svid"]
    assert len(by_use["x509-svid"]["x5c"]) == 1
    assert by_use["jwt-svid"]["kid"]
    assert all(key["kty"] for key in document["keys"])


def document(*keys, **members):
    return json.dumps({"keys": list(keys), **members}).encode()


def test_unknown_uses_types_and_members_are_passed_over(authorities):
    good = json.loads(
        encode(
            Bundle(
                trust_domain=DOMAIN,
                x509=(authorities[0],),
                jwt={"a": EC[0]},
                sequence=1,
                refresh_hint=1,
            )
        )
    )["keys"]
    strange = [
        {"use": "future-svid", "kty": "EC"},
        {"kty": "EC"},
        {"use": "jwt-svid", "kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "b"},
        {"use": "jwt-svid", "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "c"},
        {"use": "jwt-svid", "kty": "EC"},
        {"use": "x509-svid", "kty": "EC"},
        {"use": "x509-svid", "kty": "EC", "x5c": []},
    ]
    found = decode(DOMAIN, document(*strange, *good, extra={"x": 1}))
    assert (found.x509, dict(found.jwt)) == ((authorities[0],), {"a": EC[0]})
    assert (found.sequence, found.refresh_hint) == (0, 300)


def weak_rsa():
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what is to be refused
    numbers = key.public_key().public_numbers()
    n = base64.urlsafe_b64encode(numbers.n.to_bytes(128)).rstrip(b"=").decode()
    return {"use": "jwt-svid", "kid": "a", "kty": "RSA", "n": n, "e": "AQAB"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[1]}',
        b'{"keys":[],"keys":[]}',
        b"\xff",
        b'{"keys":[]' + b" " * 2**20 + b"}",
        document(*[{"use": "x"}] * 257),
        document(spiffe_sequence=-1),
        document(spiffe_sequence=1.5),
        document(spiffe_sequence=True),
        document(spiffe_sequence="1"),
        document(spiffe_refresh_hint=None),
        document({"use": "x509-svid", "x5c": "MII"}),
        document({"use": "x509-svid", "x5c": [1]}),
        document({"use": "x509-svid", "x5c": {"a": 1}}),
        document({"use": "x509-svid", "x5c": ["!"]}),
        document({"use": "x509-svid", "x5c": ["MIIB"]}),
        document({"use": "jwt-svid", "kid": 7, "kty": "EC", "crv": "P-256"}),
        document({"use": "jwt-svid", "kid": "a", "kty": "EC", "crv": "P-256"}),
        document({"use": "jwt-svid", "kid": "a", "kty": "EC", "crv": "P-256", "x": 1, "y": 2}),
        document(
            {"use": "jwt-svid", "kid": "a", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}
        ),
        document({"use": "jwt-svid", "kid": "a", "kty": "RSA", "n": "AQ", "e": "AQ"}),
        document(weak_rsa()),
    ],
)
def test_what_is_no_bundle_is_refused(content):
    with pytest.raises(Problem) as refused:
        decode(DOMAIN, content)
    assert refused.value.code == "PC7009"


def test_the_same_kid_twice_is_refused_not_chosen_from():
    one = json.loads(
        encode_jwt(
            Bundle(trust_domain=DOMAIN, x509=(), jwt={"a": EC[0]}, sequence=0, refresh_hint=0)
        )
    )["keys"][0]
    assert read(document(one)) is not None
    assert read(document(one, one)) is None


def test_a_leaf_in_a_bundle_is_refused(tmp_path):
    ours = World(tmp_path, 1_900_000_000.0).open()
    leaf = ours.issue(AGENT, leaf_key().public_key()).chain[0]
    assert read(document({"use": "x509-svid", "x5c": [base64.b64encode(leaf).decode()]})) is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["EC", "RSA", "P-256", "P-521", "x509-svid", "jwt-svid", "AQAB"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
MEMBERS = ("use", "kty", "crv", "x", "y", "n", "e", "kid", "x5c", "d", "k")
KEYS = st.fixed_dictionaries(
    {"use": st.sampled_from(["x509-svid", "jwt-svid", "x"]) | JSON},
    optional={name: JSON for name in MEMBERS if name != "use"},
)


@QUICK
@given(st.lists(KEYS, max_size=4) | JSON, JSON, JSON)
def test_hostile_documents_are_read_or_refused(keys, sequence, hint):
    value = {"keys": keys, "spiffe_sequence": sequence, "spiffe_refresh_hint": hint}
    read(json.dumps(value).encode())


@QUICK
@given(data=st.data())
def test_a_damaged_authority_is_read_or_refused(authorities, data):
    der = bytearray(data.draw(st.sampled_from(authorities)))
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    key = {"use": "x509-svid", "kty": "EC", "x5c": [base64.b64encode(bytes(der)).decode()]}
    found = read(document(key))
    if found is not None:
        encode(found)


@QUICK
@given(st.binary(max_size=200))
def test_noise_is_refused(content):
    assert read(content) is None

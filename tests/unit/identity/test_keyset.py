"""Other issuers' keys: what may verify a signature is kept, everything else is left out."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from issuers import Issuer
from portcullis.identity.keyset import MAX_DOCUMENT, parse


def document(*keys: dict) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def curve(curve_: ec.EllipticCurve = ec.SECP256R1()) -> dict:  # noqa: B008 - immutable
    key = ec.generate_private_key(curve_).public_key()
    return json.loads(ECAlgorithm.to_jwk(key)) | {"kid": "one"}


def test_every_allowed_kind_of_key_is_read_with_the_algorithm_it_is_for():
    found = parse(Issuer().jwks())
    assert {kid: key.algorithms for kid, key in found.items()} == {
        alg: frozenset({alg}) for alg in ("RS256", "PS256", "ES256", "EdDSA")
    }


def test_a_key_without_alg_is_for_what_its_type_can_do():
    key = json.loads(RSAAlgorithm.to_jwk(Issuer().private["RS256"].public_key()))
    assert parse(document(key | {"kid": "one"}))["one"].algorithms == {"RS256", "PS256"}


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": ["ES256"]},
        {"alg": None},
        {"d": "AAAA"},
        {"kid": None},
        {"kid": 1},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "EC2"},
        {"kty": ["EC"]},
        {"x": "AAAA"},
        {"x": 1},
        {"crv": "P-256K"},
    ],
    ids=str,
)
def test_a_key_that_is_not_for_our_signatures_is_left_out(change):
    good = curve()
    assert parse(document(good | {"kid": "good"}, good | change)).keys() == {"good"}


def test_weak_keys_and_other_curves_are_left_out():
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()  # noqa: S505 - as it says
    keys = (json.loads(RSAAlgorithm.to_jwk(weak)) | {"kid": "weak"}, curve(ec.SECP384R1()))
    assert parse(document(*keys)) == {}


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [1]}', b"\xff", b'{"keys": ' + b"[" * 5000,
        b'{"keys": [' + b"{}," * 100 + b"{}]}", b" " * (MAX_DOCUMENT + 1),
    ],
)  # fmt: skip
def test_what_is_no_key_set_is_refused(text):
    with pytest.raises(ValueError, match=r"key set|Key Set"):
        parse(text)


def test_two_keys_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two keys"):
        parse(document(curve(), curve()))

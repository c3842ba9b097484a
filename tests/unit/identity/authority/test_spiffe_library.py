"""The PyPI library ``spiffe`` reads what we issue, with nothing of ours on its side."""

import pytest
from spiffe.bundle.jwt_bundle.jwt_bundle import JwtBundle
from spiffe.bundle.x509_bundle.x509_bundle import X509Bundle
from spiffe.spiffe_id.spiffe_id import TrustDomain
from spiffe.svid.jwt_svid import JwtSvid
from spiffe.svid.x509_svid import X509Svid

from authorities import AGENT, DOMAIN, KINDS, key_pem, leaf_key
from portcullis.identity.bundle import encode_jwt
from portcullis.wire.certificates import pem


@pytest.mark.parametrize("leaf", KINDS)
@pytest.mark.parametrize("authority", KINDS)
def test_it_reads_our_certificates_and_their_authorities(present, authority, leaf):
    ours, key = present.open(key_type=authority), leaf_key(leaf)
    svid = ours.issue(AGENT, key.public_key())
    found = X509Svid.parse(pem(svid.chain).encode(), key_pem(key))
    assert str(found.spiffe_id) == str(AGENT)
    assert len(found.cert_chain) == 2
    bundle = X509Bundle.parse(TrustDomain(DOMAIN), pem(ours.bundle().x509).encode())
    assert len(bundle.x509_authorities) == 1


def test_it_validates_our_tokens_before_and_after_a_rotation(present):
    ours = present.open()
    old = ours.sign_jwt(AGENT, ["them"])
    ours.rotate("jwt")
    new = ours.sign_jwt(AGENT, ["them"])
    bundle = JwtBundle.parse(TrustDomain(DOMAIN), encode_jwt(ours.bundle()))
    for svid in (old, new):
        found = JwtSvid.parse_and_validate(svid.token, bundle, {"them"})
        assert str(found.spiffe_id) == str(AGENT)

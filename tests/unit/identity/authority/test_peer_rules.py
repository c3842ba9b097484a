import datetime as dt
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from authorities import AGENT
from portcullis.core.errors import Problem
from portcullis.identity.svid import peer_of

NOW = 1_900_000_000
KEY = ec.generate_private_key(ec.SECP256R1())
BOTH = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


def usage(*, critical=True, **bits):
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: bits.get(name, False) for name in names}), critical


def certificate(
    *,
    uris=(str(AGENT),),
    ca=False,
    key_usage=None,
    purposes=BOTH,
    begins=NOW - 30,
    ends=NOW + 3600,
):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    moments = [dt.datetime.fromtimestamp(each, dt.UTC) for each in (begins, ends)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(0xABC)
        .not_valid_before(moments[0])
        .not_valid_after(moments[1])
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    value, critical = usage(digital_signature=True) if key_usage is None else key_usage
    if value is not None:
        builder = builder.add_extension(value, critical=critical)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if uris is not None:
        names = [x509.DNSName("x.example"), *map(x509.UniformResourceIdentifier, uris)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def refusal(der, now=NOW):
    with pytest.raises(Problem) as refused:
        peer_of([der], anchor="aa", now=now)
    return refused.value.code


def test_a_certificate_by_the_rules_is_who_it_says():
    peer = peer_of([certificate()], anchor="aa", now=NOW)
    assert (peer.id, peer.serial, peer.anchor) == (AGENT, "0abc", "aa")
    assert (peer.issued_at, peer.expires_at) == (NOW - 30, NOW + 3600)


@pytest.mark.parametrize("uris", [None, (), (str(AGENT), str(AGENT)), (str(AGENT), "https://x/")])
def test_zero_or_two_uris_are_refused(uris):
    assert refusal(certificate(uris=uris)) == "PC2023"


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.org/agent/shop-1",
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://example.org/agent/../operator/root",
        "spiffe://example.org/agent/./shop-1",
        "spiffe://example.org//agent/shop-1",
        "spiffe://example.org/agent/shop-1/",
        "spiffe://example.org/agent/shop%2d1",
        "spiffe://Example.org/agent/shop-1",
        "SPIFFE://example.org/agent/shop-1",
        "spiffe://user@example.org/agent/shop-1",
        "spiffe://example.org:443/agent/shop-1",
        "spiffe://example.org/agent/shop-1?x=1",
        "spiffe://example.org/agent/shop-1#x",
        "spiffe://example.org/agent/shop-1\n",
        "spiffe:///agent/shop-1",
        "",
        "spiffe://example.org/" + "a" * 2048,
    ],
)
def test_malformed_spiffe_ids_and_path_traversal_are_refused(uri):
    assert refusal(certificate(uris=(uri,))) == "PC2024"


def test_an_authority_as_a_leaf_is_refused():
    signs = usage(digital_signature=True, key_cert_sign=True)
    revokes = usage(digital_signature=True, crl_sign=True)
    assert refusal(certificate(ca=True)) == "PC2025"
    assert refusal(certificate(key_usage=signs)) == "PC2026"
    assert refusal(certificate(key_usage=revokes, ca=None)) == "PC2026"


@pytest.mark.parametrize(
    "key_usage",
    [
        (None, False),
        usage(key_encipherment=True),
        usage(digital_signature=True, critical=False),
        usage(key_agreement=True),
    ],
)
def test_a_key_that_may_not_authenticate_is_refused(key_usage):
    assert refusal(certificate(key_usage=key_usage)) == "PC2026"


@pytest.mark.parametrize(
    "purposes",
    [
        (ExtendedKeyUsageOID.SERVER_AUTH,),
        (ExtendedKeyUsageOID.CLIENT_AUTH,),
        (ExtendedKeyUsageOID.CODE_SIGNING,),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,),
    ],
)
def test_a_certificate_for_another_purpose_is_refused(purposes):
    assert refusal(certificate(purposes=purposes)) == "PC2026"


def test_a_certificate_without_optional_extensions_is_an_svid_too():
    assert peer_of([certificate(purposes=(), ca=None)], anchor="aa", now=NOW).id == AGENT


@pytest.mark.parametrize("now", [NOW - 31, NOW + 3600, NOW + 10**6, 0])
def test_an_expired_certificate_and_one_from_the_future_are_refused(now):
    assert refusal(certificate(), now) == "PC2022"


def test_no_certificate_is_refused():
    with pytest.raises(Problem) as refused:
        peer_of([], anchor="aa", now=NOW)
    assert refused.value.code == "PC2020"


GOOD = certificate()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_certificate_is_refused_or_read_and_never_a_fault(data):
    der = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(der)))
    for each in (bytes(der), bytes(der[:cut])):
        try:
            peer_of([each], anchor="aa", now=NOW)
        except Problem as problem:
            if problem.code not in {"PC2021", "PC2022", "PC2023", "PC2024", "PC2025", "PC2026"}:
                raise


def test_who_is_there_costs_a_fraction_of_a_handshake():
    chain = [GOOD]
    begin = time.process_time()
    for _ in range(200):
        peer_of(chain, anchor="aa", now=NOW)
    assert (time.process_time() - begin) / 200 < 300e-6

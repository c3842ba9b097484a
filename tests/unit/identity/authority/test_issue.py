import re
import subprocess

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from authorities import AGENT, DOMAIN, KINDS, leaf_key, root_of
from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId, parse
from portcullis.identity.trust import Trust
from portcullis.wire.certificates import pem


def leaf_of(svid):
    return x509.load_der_x509_certificate(svid.chain[0])


@pytest.mark.parametrize("leaf", KINDS)
@pytest.mark.parametrize("authority", KINDS)
def test_openssl_accepts_every_chain_that_we_issue(present, tmp_path, authority, leaf):
    ours = present.open(key_type=authority)
    svid = ours.issue(AGENT, leaf_key(leaf).public_key(), names=("localhost", "127.0.0.1", "::1"))
    (tmp_path / "leaf.pem").write_text(pem(svid.chain[:1]))
    (tmp_path / "signing.pem").write_text(pem(svid.chain[1:]))
    (tmp_path / "roots.pem").write_text(pem(ours.bundle().x509))
    for purpose in ("sslclient", "sslserver"):
        verify = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "roots.pem"]
        verify += ["-untrusted", "signing.pem", "-verify_hostname", "localhost", "leaf.pem"]
        done = subprocess.run(verify, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_leaf_is_what_the_specification_asks_for(world):
    svid = world.open().issue(AGENT, leaf_key().public_key(), names=("gate.example", "10.0.0.1"))
    extensions = {each.oid: each for each in leaf_of(svid).extensions}
    constraints = extensions[x509.BasicConstraints.oid]
    usage = extensions[x509.KeyUsage.oid]
    names = extensions[x509.SubjectAlternativeName.oid].value
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=False, path_length=None)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not usage.value.crl_sign
    assert not usage.value.key_agreement
    assert set(extensions[x509.ExtendedKeyUsage.oid].value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [str(AGENT)]
    assert names.get_values_for_type(x509.DNSName) == ["gate.example"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert x509.SubjectKeyIdentifier.oid in extensions
    assert x509.AuthorityKeyIdentifier.oid in extensions
    common = leaf_of(svid).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [each.value for each in common] == ["agent.shop-1"]


def test_authorities_are_authorities_of_the_trust_domain_and_of_nothing_else(world):
    ours = world.open()
    svid = ours.issue(AGENT, leaf_key().public_key())
    for der, depth in ((svid.chain[1], 0), (ours.bundle().x509[0], 1)):
        found = x509.load_der_x509_certificate(der).extensions
        constraints = found.get_extension_for_class(x509.BasicConstraints)
        usage = found.get_extension_for_class(x509.KeyUsage)
        names = found.get_extension_for_class(x509.SubjectAlternativeName).value
        assert (constraints.critical, constraints.value.path_length) == (True, depth)
        assert constraints.value.ca
        assert usage.critical
        assert usage.value.key_cert_sign
        assert usage.value.crl_sign
        assert not usage.value.digital_signature
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        assert uris == [f"spiffe://{DOMAIN}"]


@pytest.mark.parametrize("asked", [None, 3600, 72 * 3600, 72 * 3600 + 1, 10**9])
def test_no_certificate_lives_longer_than_72_hours_whoever_asks(world, asked):
    svid = world.open().issue(AGENT, leaf_key().public_key(), ttl=asked)
    life = leaf_of(svid).not_valid_after_utc.timestamp() - world.clock.at
    assert 0 < life <= min(3600 if asked is None else asked, 72 * 3600)
    assert svid.expires_at == leaf_of(svid).not_valid_after_utc.timestamp()


def test_a_certificate_ends_with_what_it_was_issued_for_and_with_its_authority(world):
    ours = world.open(signing_ttl_seconds=40_000, svid_ttl_seconds=10_000)
    key = leaf_key().public_key()
    short = ours.issue(AGENT, key, not_after=world.clock.at + 60)
    assert short.expires_at <= world.clock.at + 60
    world.clock.at += 39_000
    last = ours.issue(AGENT, key)
    signing = x509.load_der_x509_certificate(last.chain[1]).not_valid_after_utc.timestamp()
    assert last.expires_at == signing


def test_a_certificate_is_dated_back_for_slow_clocks_but_by_no_more_than_half_a_minute(world):
    ours = world.open()
    world.clock.at += 1000
    begins = leaf_of(ours.issue(AGENT, leaf_key().public_key())).not_valid_before_utc.timestamp()
    assert 29 <= world.clock.at - begins <= 31


def test_an_authority_that_has_expired_says_so_and_signs_nothing(world):
    ours = world.open(signing_ttl_seconds=40_000, svid_ttl_seconds=10_000)
    world.clock.at += 40_001
    with pytest.raises(Problem, match="expired and was not renewed") as refused:
        ours.issue(AGENT, leaf_key().public_key())
    assert refused.value.code == "PC7008"
    assert "--root-key" in refused.value.hint


def test_a_clock_that_went_back_is_said_so_and_nothing_is_signed(world):
    ours = world.open()
    world.clock.at -= 7200
    with pytest.raises(Problem, match="the clock went back") as refused:
        ours.issue(AGENT, leaf_key().public_key())
    assert (refused.value.code, "ca rotate root" in refused.value.hint) == ("PC7008", True)
    ours.rotate("root")
    ours.issue(AGENT, leaf_key().public_key())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [({"ttl": 0}, "PC7008"), ({"ttl": -5}, "PC7008"), ({"not_after": 0.0}, "PC7008")],
)
def test_a_certificate_that_is_over_before_it_begins_is_not_issued(world, arguments, code):
    with pytest.raises(Problem) as refused:
        world.open().issue(AGENT, leaf_key().public_key(), **arguments)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP521R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 1024),  # noqa: S505 - what is to be refused
        dsa.generate_private_key(2048),
        Ed448PrivateKey.generate(),
    ],
)
def test_weak_and_foreign_keys_get_no_certificate(world, key):
    with pytest.raises(Problem) as refused:
        world.open().issue(AGENT, key.public_key())
    assert refused.value.code == "PC2063"


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
)
def test_p384_and_rsa_keys_get_a_certificate(world, key):
    svid = world.open().issue(AGENT, key.public_key())
    assert leaf_of(svid).public_key() == key.public_key()


@pytest.mark.parametrize(
    "path", ["", "/", "/agent/", "/agent/../operator/root", "/agent//x", "/agent/a b", "agent/x"]
)
def test_no_certificate_and_no_token_for_what_is_not_a_spiffe_id(world, path):
    ours = world.open()
    for ask in (
        lambda: ours.issue(SpiffeId(DOMAIN, path), leaf_key().public_key()),
        lambda: ours.sign_jwt(SpiffeId(DOMAIN, path), ["somebody"]),
    ):
        with pytest.raises(Problem):
            ask()


def test_we_speak_for_no_other_trust_domain(world):
    ours, other = world.open(), parse("spiffe://elsewhere.org/agent/shop-1")
    for ask in (
        lambda: ours.issue(other, leaf_key().public_key()),
        lambda: ours.sign_jwt(other, ["somebody"]),
    ):
        with pytest.raises(Problem, match="another trust domain"):
            ask()


def test_a_name_that_is_no_name_is_refused(world):
    for name in ("*", "*.example.org", "a b", "", "x\n", "spiffe://x", "-a"):
        with pytest.raises(Problem):
            world.open().issue(AGENT, leaf_key().public_key(), names=(name,))


def test_two_ids_never_share_a_common_name(world):
    ours, seen = world.open(), set()
    paths = (
        "/agent/a",
        "/application/a",
        "/agent.a",
        "/agent/a.b",
        "/agent/a/b",
        "/" + "x" * 80,
        "/" + "x" * 81,
        "/agent/" + "y" * 63,
    )
    for path in paths:
        svid = ours.issue(SpiffeId(DOMAIN, path), leaf_key().public_key())
        seen.add(leaf_of(svid).subject.rfc4514_string())
    assert len(seen) == len(paths)


def test_the_time_of_issue_is_exact_and_is_what_a_peer_is_seen_under(world):
    ours = world.open()
    world.clock.at += 0.123
    svid = ours.issue(AGENT, leaf_key().public_key())
    peer = Trust(ours.bundle, world.clock.now).peer([*svid.chain, root_of(ours.bundle(), svid)])
    assert abs(svid.issued_at - world.clock.at) <= 0.001
    assert (peer.issued_at, peer.expires_at) == (svid.issued_at, svid.expires_at)
    assert (peer.serial, peer.thumbprint) == (svid.serial, svid.thumbprint)
    assert re.fullmatch("[0-9a-f]{32}", svid.serial)


def test_a_jwt_svid_is_es256_with_subject_audience_and_an_end(world):
    ours = world.open(key_type="ed25519")
    svid = ours.sign_jwt(AGENT, ["spiffe://example.org/gateway/gate", "other"])
    header = jwt.get_unverified_header(svid.token)
    assert (header["alg"], header["typ"]) == ("ES256", "JWT")
    claims = jwt.decode(
        svid.token,
        ours.bundle().jwt[header["kid"]],
        algorithms=["ES256"],
        audience="other",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["sub"] == str(AGENT)
    assert claims["jti"] == svid.credential
    assert claims["exp"] == svid.expires_at == int(world.clock.at + 300)


def test_a_jwt_svid_lives_an_hour_at_most_and_names_its_audience(world):
    ours = world.open()
    assert ours.sign_jwt(AGENT, ["x"], ttl=10**6).expires_at <= world.clock.at + 3600
    for audience in ([], [""]):
        with pytest.raises(Problem) as refused:
            ours.sign_jwt(AGENT, audience)
        assert refused.value.code == "PC2032"

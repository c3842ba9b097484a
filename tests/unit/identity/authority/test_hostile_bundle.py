"""A federated domain's administrator puts into its bundle whatever may hurt the others."""

import base64
import datetime as dt
import json
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from authorities import World
from portcullis.config.identity import Federated
from portcullis.core.errors import Problem
from portcullis.execution.bundles import Bundles
from portcullis.execution.tls import WebTls
from portcullis.identity.bundle import decode, encode
from portcullis.identity.trust import Trust

SKI = x509.SubjectKeyIdentifier


@pytest.fixture
def here(present):
    return present.open()


@pytest.fixture
def there(tmp_path):
    (tmp_path / "there").mkdir()
    return World(tmp_path / "there", time.time()).open(trust_domain="there.org")


def certificate(subject, *, key=None, key_id=None, issuer=None):
    """An authority's certificate, signed by the key itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .serial_number(7)
        .public_key(key.public_key())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=20_000))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if key_id is not None:
        builder = builder.add_extension(key_id, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def named(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def document(*authorities):
    keys = [
        {"use": "x509-svid", "kty": "EC", "x5c": [base64.b64encode(each).decode()]}
        for each in authorities
    ]
    return json.dumps({"keys": keys, "spiffe_sequence": 9}).encode()


def refused(trust, *authorities):
    with pytest.raises(Problem) as found:
        trust.check(decode("evil.test", document(*authorities)))
    return found.value.code, found.value.detail


def test_nobody_takes_the_name_of_another_domains_authority(here, there):
    trust = Trust(here.bundle)
    trust.put(decode("there.org", encode(there.bundle())))
    for domain in (here, there):
        root = x509.load_der_x509_certificate(domain.bundle().x509[0])
        key_id = root.extensions.get_extension_for_class(SKI).value
        disguised = named(root.subject.rfc4514_string().removeprefix("CN=").upper() + " ")
        for fake in (
            certificate(root.subject, key_id=key_id),
            certificate(root.subject),
            certificate(root.subject, key_id=key_id, issuer=named("evil")),
            certificate(disguised, key_id=key_id),
        ):
            code, detail = refused(trust, fake)
            assert (code, domain.trust_domain in detail) == ("PC7009", True)


def test_a_signing_authority_that_everybody_sees_in_handshakes_is_no_anchor(here):
    state = here.state().active("signing")
    signing = x509.load_pem_x509_certificate(here._files.get(f"{state.name}.pem"))
    key_id = signing.extensions.get_extension_for_class(SKI).value
    trust = Trust(here.bundle)
    for fake in (
        signing.public_bytes(Encoding.DER),
        certificate(signing.subject, key_id=key_id),
        certificate(signing.subject, key_id=key_id, issuer=named("evil")),
    ):
        assert refused(trust, fake)[0] == "PC7009"


def test_domains_whose_roots_share_a_name_but_no_key_stand_side_by_side(here):
    trust, subject = Trust(here.bundle), named("SPIFFE")
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    for name, key in zip(("a.org", "b.org"), keys, strict=True):
        key_id = SKI.from_public_key(key.public_key())
        bundle = decode(name, document(certificate(subject, key=key, key_id=key_id)))
        trust.check(bundle)
        assert trust.put(bundle)
    trust.check(decode("c.org", document(here.bundle().x509[0])))  # the very same: no disguise


def test_what_openssl_cannot_read_is_no_bundle_and_leaves_tls_its_authorities(here):
    good = certificate(named("evil root"))
    bad = good.replace(b"evil root", b"evil \xddoot", 1)  # the issuer's name is not UTF-8
    x509.load_der_x509_certificate(bad)
    with pytest.raises(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=bad)
    assert refused(Trust(here.bundle), bad)[0] == "PC7009"


def test_a_weak_authority_is_refused(here):
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what is to be refused
    assert refused(Trust(here.bundle), certificate(named("weak"), key=key))[0] == "PC7009"


@pytest.mark.parametrize("kept", [True, False])
def test_a_hostile_bundle_on_disk_is_passed_over_and_recorded(here, tmp_path, kept):
    root = x509.load_der_x509_certificate(here.bundle().x509[0])
    file = tmp_path / ("evil.test.json" if kept else "bundle.json")
    file.write_bytes(document(certificate(root.subject)))
    refusals = []

    class Records:
        def refused(self, method, problem, **who):
            refusals.append((method, problem.code, who["principal"]))
            return problem

    trust = Trust(here.bundle)
    given = {"url": "https://evil.test/bundle", "profile": "https_web"} if kept else {"file": file}
    federated = Federated.model_validate(given)
    Bundles(
        {"evil.test": federated}, directory=tmp_path, trust=trust, web=WebTls(), records=Records()
    ).load()
    assert trust.bundles() == (here.bundle(),)
    assert refusals == [("bundle.update", "PC7009", "evil.test")]

"""X.509 certificates of a trust domain: authorities and X509-SVIDs (X509-SVID.md, RFC 5280).

The leaf's parts that are the same for every leaf are built once per signing authority.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from portcullis.core.errors import Problem
from portcullis.core.spiffe import SCHEME, SpiffeId

SigningKey: TypeAlias = ec.EllipticCurvePrivateKey | Ed25519PrivateKey
LeafKey: TypeAlias = ec.EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey

SKEW_SECONDS: Final = 30
"""How far a certificate is dated back, for clocks that are behind ours."""
_RSA_BITS: Final = range(2048, 8193)
_MAX_CN: Final = 64
SIGNING_NAME: Final = "Portcullis signing "
"""How the common names of signing authorities begin; a number that nobody can guess follows."""
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")

_LEAF: Final = x509.BasicConstraints(ca=False, path_length=None)
_BOTH: Final = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
)


def _usage(*, leaf: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=leaf,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not leaf,
        crl_sign=not leaf,
        encipher_only=False,
        decipher_only=False,
    )


_LEAF_USAGE: Final = _usage(leaf=True)
_AUTHORITY_USAGE: Final = _usage(leaf=False)


def generate(kind: Literal["ed25519", "p256"]) -> SigningKey:
    """A new authority's key."""
    if kind == "ed25519":
        return Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def acceptable(key: Any) -> LeafKey:
    """The public key, when a leaf may have it: P-256, P-384, Ed25519, RSA of 2048 to 8192 bits.

    Raises Problem PC2063 for any other.
    """
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
        key.curve, (ec.SECP256R1, ec.SECP384R1)
    ):
        return key
    if isinstance(key, RSAPublicKey) and key.key_size in _RSA_BITS:
        return key
    raise Problem("PC2063", "the key must be P-256, P-384, Ed25519 or RSA of 2048 to 8192 bits")


def authority_certificate(
    kind: Literal["root", "signing"],
    key_id: str,
    trust_domain: str,
    public_key: Any,
    *,
    issuer: tuple[x509.Certificate, SigningKey] | SigningKey,
    not_before: float,
    not_after: float,
) -> x509.Certificate:
    """An authority's certificate: self-signed when ``issuer`` is a key, else below the issuer.

    Its SPIFFE ID is the trust domain's, without a path (X509-SVID.md section 3.2). A signing
    authority signs leaves only (path length 0). There is no name constraint: see
    docs/decisions/010-trust-domain.md.
    """
    subject = _subject(f"{SIGNING_NAME if kind == 'signing' else 'Portcullis root '}{key_id}")
    above, key = issuer if isinstance(issuer, tuple) else (None, issuer)
    identifier = _key_id(above) if above else x509.SubjectKeyIdentifier.from_public_key(public_key)
    constraints = x509.BasicConstraints(ca=True, path_length=0 if above else 1)
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    own_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
    uri = x509.UniformResourceIdentifier(f"{SCHEME}{trust_domain}")
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.subject if above else subject)
        .serial_number(int(key_id, 16))
        .public_key(public_key)
        .not_valid_before(_moment(not_before - SKEW_SECONDS))
        .not_valid_after(_moment(not_after))
        .add_extension(constraints, critical=True)
        .add_extension(_AUTHORITY_USAGE, critical=True)
        .add_extension(own_id, critical=False)
        .add_extension(authority_id, critical=False)
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .sign(key, _hash(key))
    )


class LeafSigner:
    """Signs leaves with one signing authority. Stateless and safe to share between threads."""

    def __init__(self, certificate: x509.Certificate, key: SigningKey) -> None:
        self.der: Final = certificate.public_bytes(Encoding.DER)
        self._key = key
        self._hash = _hash(key)
        self._earliest = certificate.not_valid_before_utc
        self.begins: Final = self._earliest.timestamp()
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            _key_id(certificate)
        )
        self._builder = (
            x509.CertificateBuilder()
            .issuer_name(certificate.subject)
            .add_extension(_LEAF, critical=True)
            .add_extension(_LEAF_USAGE, critical=True)
            .add_extension(_BOTH, critical=False)
            .add_extension(authority_id, critical=False)
        )

    def sign(
        self,
        id: SpiffeId,  # noqa: A002 - the field's name
        public_key: LeafKey,
        *,
        serial: int,
        not_before: float,
        not_after: float,
        names: Sequence[str],
    ) -> bytes:
        """The DER of an X509-SVID: one URI SAN, and ``names`` as DNS names and addresses."""
        own_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
        uri = x509.UniformResourceIdentifier(str(id))
        alternative = x509.SubjectAlternativeName([uri, *map(_general_name, names)])
        begin = max(_moment(not_before - SKEW_SECONDS), self._earliest)
        return (
            self._builder.subject_name(_subject(_common_name(id)))
            .serial_number(serial)
            .public_key(public_key)
            .not_valid_before(begin)
            .not_valid_after(_moment(not_after))
            .add_extension(own_id, critical=False)
            .add_extension(alternative, critical=False)
            .sign(self._key, self._hash)
            .public_bytes(Encoding.DER)
        )


def serial_text(serial: int) -> str:
    """A serial number in lower-case hex, whole octets, as everywhere in records and feeds."""
    return serial.to_bytes(max(1, (serial.bit_length() + 7) // 8)).hex()


def made_at(serial: str) -> float:
    """When a certificate of ours was made: the first 48 bits are milliseconds since the epoch."""
    return int(serial.rjust(32, "0")[:12], 16) / 1000


def _common_name(id: SpiffeId) -> str:  # noqa: A002 - the field's name
    """``agent.shop-1`` for ``/agent/shop-1``, else a digest: no two IDs share one of at most 64."""
    name = id.path[1:].replace("/", ".")
    if len(name) <= _MAX_CN and "." not in id.path:
        return name
    return hashlib.sha256(id.path.encode()).hexdigest()


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if not _NAME.fullmatch(name):
            raise Problem("PC7008", "a name is neither a DNS name nor an address") from None
        return x509.DNSName(name)


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_id(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value


def _hash(key: SigningKey) -> hashes.SHA256 | None:
    return None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(seconds: float) -> datetime:
    """In whole seconds, as certificates have them."""
    return _EPOCH + timedelta(seconds=int(seconds))

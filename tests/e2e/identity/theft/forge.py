"""The forger's bench: certificates and JWTs that say anything, signed by whatever one has."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = Any
PURPOSES = {
    "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "code_signing": ExtendedKeyUsageOID.CODE_SIGNING,
}
USAGES = (
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


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


# Certificates


@dataclass(frozen=True, slots=True)
class Shown:
    """What one end of a TLS connection shows: its chain (DER, leaf first) and the leaf's key."""

    chain: tuple[bytes, ...]
    key: Key

    @property
    def serial(self) -> str:
        return f"{x509.load_der_x509_certificate(self.chain[0]).serial_number:032x}"


@dataclass(frozen=True, slots=True)
class Ca:
    """Whoever signs: ``certificate`` is the issuer, ``below`` what is sent after the leaf."""

    certificate: x509.Certificate
    key: Key
    below: tuple[bytes, ...] = ()

    def sign(self, template: x509.CertificateBuilder) -> tuple[bytes, ...]:
        """A leaf's chain: ``template`` without issuer, signed."""
        built = template.issuer_name(self.certificate.subject)
        with contextlib.suppress(x509.ExtensionNotFound):
            found = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
            named = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)
            built = built.add_extension(named, critical=False)
        return (signed(built, self.key), *self.below)


def signed(template: x509.CertificateBuilder, key: Key) -> bytes:
    algorithm = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
    return template.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def template(
    key: Key,
    uris: Sequence[str],
    *,
    life: Sequence[float] = (-60, 600),
    ca: bool = False,
    usage: Sequence[str] | None = ("digital_signature",),
    eku: Sequence[str] = ("client_auth", "server_auth"),
    subject: x509.Name | None = None,
) -> x509.CertificateBuilder:
    """A certificate that lacks its issuer only; by default a good X509-SVID."""
    now = dt.datetime.now(dt.UTC)
    made = f"{int(time.time() * 1000):012x}"
    public = key.public_key()
    built = (
        x509.CertificateBuilder()
        .subject_name(subject or name("workload"))
        .public_key(public)
        .serial_number(int(made + secrets.token_hex(10), 16))
        .not_valid_before(now + dt.timedelta(seconds=life[0]))
        .not_valid_after(now + dt.timedelta(seconds=life[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if usage is not None:
        built = built.add_extension(
            x509.KeyUsage(**{each: each in usage for each in USAGES}), critical=True
        )
    if eku:
        built = built.add_extension(
            x509.ExtendedKeyUsage([PURPOSES[each] for each in eku]), critical=False
        )
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return built


def root(trust_domain: str, subject: x509.Name | None = None) -> Ca:
    """An authority of somebody's own, which signs leaves itself."""
    key = p256()
    subject = subject or name(f"root of {trust_domain}")
    made = template(
        key,
        [f"spiffe://{trust_domain}"],
        life=(-3600, 86400),
        ca=True,
        usage=("key_cert_sign", "crl_sign"),
        eku=(),
        subject=subject,
    ).issuer_name(subject)
    return Ca(x509.load_der_x509_certificate(signed(made, key)), key)


# JSON Web Tokens (RFC 7515 to 7519), by hand


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True, slots=True)
class Signer:
    """An algorithm's name, and what it makes of bytes."""

    alg: str
    sign: Callable[[bytes], bytes]


def es256(key: ec.EllipticCurvePrivateKey) -> Signer:
    def sign(data: bytes) -> bytes:
        r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return Signer("ES256", sign)


def eddsa(key: Ed25519PrivateKey) -> Signer:
    return Signer("EdDSA", key.sign)


def hs256(public: Key) -> Signer:
    """The classic confusion: a public key in PEM as the secret."""
    secret = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def sign(data: bytes) -> bytes:
        mac = hmac.HMAC(secret, hashes.SHA256())
        mac.update(data)
        return mac.finalize()

    return Signer("HS256", sign)


UNSIGNED = Signer("none", lambda _: b"")


def jws(signer: Signer, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A compact JWS. Members that are None are left out; ``alg`` is the signer's unless given."""
    head = {"alg": signer.alg} | header
    data = ".".join(b64(_json(each)) for each in (head, claims))
    return f"{data}.{b64(signer.sign(data.encode()))}"


def _json(members: dict[str, Any]) -> bytes:
    kept = {key: value for key, value in members.items() if value is not None}
    return json.dumps(kept, separators=(",", ":")).encode()


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Header, claims and signature of a token, unverified."""
    head, claims, signature = token.split(".")
    return json.loads(unb64(head)), json.loads(unb64(claims)), signature


def jwk(public: Key) -> dict[str, str]:
    """RFC 7517, of a P-256 or an Ed25519 public key."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        numbers = public.public_numbers()
        x, y = (b64(each.to_bytes(32, "big")) for each in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}


def proof(
    key: ec.EllipticCurvePrivateKey,
    method: str,
    url: str,
    token: str | None = None,
    *,
    signer: Signer | None = None,
    header: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A DPoP proof (RFC 9449 section 4.2), a good one unless told otherwise."""
    head = {"typ": "dpop+jwt", "jwk": jwk(key.public_key())} | (header or {})
    said = {"jti": secrets.token_hex(16), "htm": method, "htu": url, "iat": int(time.time())}
    if token is not None:
        said["ath"] = b64(hashlib.sha256(token.encode()).digest())
    return jws(signer or es256(key), head, said | claims)

"""Certificates for hosts whose TLS ends at the gate: one root per agent, for named hosts alone.

An agent's root key is derived from a secret that all gateways of a deployment share, so any of them
vouches for a host under the root that the agent's box was given. The root's certificate is
constrained to the hosts that policy has terminated (RFC 5280 section 4.2.1.10): it is worth nothing
for any other, even to whoever would have its key.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from portcullis.core.ports import Clock
from portcullis.wire.certificates import load_identity

ROOT_LIFE: Final = timedelta(days=7)
LEAF_LIFE: Final = timedelta(hours=24)
_BEFORE: Final = timedelta(minutes=5)
"""How far another's clock may be behind ours."""
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (SP 800-186)."""
_KEPT: Final = 1024
_LONGEST: Final = 64
"""Characters of the longest common name (RFC 5280, ub-common-name)."""


class EgressAuthority:
    """Implements ``core.egress_ports.Authority``. ``secret`` is 32 bytes."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock
        self._contexts: dict[tuple[str, str], tuple[float, ssl.SSLContext]] = {}

    def root(self, agent: str, hosts: tuple[str, ...]) -> str:
        """See the port. It is valid for a week from now on."""
        key, now = self._key(agent), self._now()
        names = [x509.DNSName(host.removeprefix("*.")) for host in hosts]
        certificate = (
            _named(_name(agent), _name(agent), key.public_key(), now, now + ROOT_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.NameConstraints(permitted_subtrees=names, excluded_subtrees=None),
                critical=True,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM).decode("ascii")

    def context(self, agent: str, host: str) -> ssl.SSLContext:
        """See the port. TLS 1.2 or newer, HTTP/1.1, and no tickets."""
        known = self._contexts.get((agent, host))
        if known is not None and self._clock.now() < known[0]:
            return known[1]
        made = self._made(agent, host)
        if len(self._contexts) >= _KEPT:
            self._contexts.clear()
        until = self._clock.now() + LEAF_LIFE.total_seconds() / 2
        self._contexts[agent, host] = (until, made)
        return made

    def _made(self, agent: str, host: str) -> ssl.SSLContext:
        issuer, now = self._key(agent), self._now()
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            _named(x509.Name([]), _name(agent), key.public_key(), now, now + LEAF_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()),
                critical=False,
            )
            .sign(issuer, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        load_identity(context, [leaf.public_bytes(Encoding.DER)], pem)
        return context

    def _key(self, agent: str) -> ec.EllipticCurvePrivateKey:
        """The key of an agent's root, the same at every gateway (FIPS 186-5, A.2.1)."""
        derived = HKDF(
            algorithm=hashes.SHA256(),
            length=40,
            salt=None,
            info=b"portcullis/egress-authority/1\0" + agent.encode(),
        ).derive(self._secret)
        return ec.derive_private_key(int.from_bytes(derived) % (_ORDER - 1) + 1, ec.SECP256R1())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)


def _name(agent: str) -> x509.Name:
    said = f"Portcullis egress: {agent}"[:_LONGEST]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, said)])


def _named(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(until)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )

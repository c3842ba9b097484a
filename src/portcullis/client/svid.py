"""An X.509-SVID as its holder has it: chain, key, and the authorities that it trusts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId, parse

_LONGEST_HEADER: Final = 4


class Svid(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One SVID. ``chain`` (leaf first) and ``roots`` are DER, ``key`` is PEM (PKCS #8).

    ``serial`` is in hex, ``thumbprint`` the certificate's SHA-256 in base64url (RFC 8705 section
    3.1); times are seconds since the epoch by our clock, ``issued_at`` when it came to us:
    authorities date their certificates back. No two are equal.
    """

    id: SpiffeId
    chain: tuple[bytes, ...]
    key: bytes
    roots: tuple[bytes, ...]
    serial: str
    thumbprint: str
    issued_at: float
    expires_at: float

    def __repr__(self) -> str:
        return f"<Svid {self.id} {self.serial}>"

    @property
    def half_life(self) -> float:
        """When it is due to be renewed."""
        return (self.issued_at + self.expires_at) / 2


def svid(chain: Sequence[bytes], key: bytes, roots: Sequence[bytes], now: float) -> Svid:
    """Put together what came at ``now``. Raises Problem PC2023, PC2024, PC2031 for misfits."""
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
        private = load_pem_private_key(key, None)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (IndexError, ValueError, TypeError, x509.ExtensionNotFound):
        raise Problem("PC2023", "the answer holds no X.509-SVID with its key") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise Problem("PC2023", "the certificate has not exactly one URI")
    shape = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if leaf.public_key().public_bytes(*shape) != private.public_key().public_bytes(*shape):
        raise Problem("PC2031", "the certificate is for another key")
    return Svid(
        id=parse(uris[0]),
        chain=tuple(chain),
        key=key,
        roots=tuple(roots),
        serial=_serial(leaf.serial_number),
        thumbprint=base64.urlsafe_b64encode(leaf.fingerprint(hashes.SHA256())).decode().rstrip("="),
        issued_at=now,
        expires_at=leaf.not_valid_after_utc.timestamp(),
    )


def _serial(number: int) -> str:
    """In hex, whole octets: as the gate's records name it."""
    digits = format(number, "x")
    return digits.zfill(len(digits) + len(digits) % 2)


class Request:
    """A fresh key in memory, and the request (PKCS #10, RFC 2986) that asks for its certificate.

    The subject is empty: who the key's holder is follows from how it shows itself.
    """

    def __init__(self) -> None:
        key: CertificateIssuerPrivateKeyTypes = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        signed = builder.sign(key, hashes.SHA256())
        self.key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.csr = signed.public_bytes(Encoding.PEM).decode("ascii")


def split(certificates: bytes) -> tuple[bytes, ...]:
    """Certificates that lie one after another in DER (SPIFFE Workload API section 5.2.1).

    Raises Problem PC2023 for anything that is not such a sequence.
    """
    parts, start = [], 0
    while start < len(certificates):
        end = start + _length(certificates[start : start + 2 + _LONGEST_HEADER])
        if end > len(certificates):
            raise Problem("PC2023", "a certificate is cut short")
        parts.append(certificates[start:end])
        start = end
    return tuple(parts)


def _length(head: bytes) -> int:
    """The length of a DER sequence (X.690 section 8.1.3), with its header."""
    if len(head) < 2 or head[0] != 0x30:  # noqa: PLR2004 - tag and length; SEQUENCE
        raise Problem("PC2023", "not certificates in DER")
    if head[1] < 0x80:  # noqa: PLR2004 - the short form
        return 2 + head[1]
    digits = head[1] & 0x7F
    if not 0 < digits <= _LONGEST_HEADER or len(head) < 2 + digits:
        raise Problem("PC2023", "not certificates in DER")
    return 2 + digits + int.from_bytes(head[2 : 2 + digits])

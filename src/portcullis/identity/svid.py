"""The rules of an X509-SVID (X509-SVID.md section 5.2), on a chain that TLS has verified."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.core.spiffe import parse
from portcullis.identity.x509 import serial_text

_PURPOSES: Final = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH})


def thumbprint(der: bytes) -> str:
    """A certificate's ``x5t#S256`` (RFC 8705 section 3.1)."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def peer_of(chain: Sequence[bytes], *, anchor: str, now: float | None = None) -> Peer:
    """Who the leaf of a verified chain (DER, leaf first) is.

    ``anchor`` is the SHA-256 (hex) of the authority that TLS verified the chain up to; ``now``
    is seconds since the epoch, the machine's clock by default. ``issued_at`` is the certificate's
    notBefore. Raises Problem PC2020 (no certificate), PC2021 (unreadable), PC2022 (not valid
    now), PC2023 (not exactly one URI), PC2024 (not a workload's SPIFFE ID), PC2025 (an
    authority), PC2026 (key usage).
    """
    if not chain:
        raise Problem("PC2020", "no certificate was shown")
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
        extensions = {each.oid: each for each in leaf.extensions}
        serial = serial_text(leaf.serial_number)
        begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    except Exception:  # noqa: BLE001 - hostile DER: whatever the parser says, it is no SVID
        raise Problem("PC2021", "the certificate cannot be read") from None
    _leaf_only(extensions)
    names = extensions.get(x509.SubjectAlternativeName.oid)
    uris = names.value.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    if len(uris) != 1:
        raise Problem("PC2023", f"the certificate has {len(uris)} URIs, an X509-SVID exactly one")
    spiffe_id = parse(uris[0])
    issued_at, expires_at = begins.timestamp(), ends.timestamp()
    moment = time.time() if now is None else now
    if not issued_at <= moment < expires_at:
        raise Problem("PC2022", "the certificate has expired or is not valid yet")
    return Peer(
        id=spiffe_id,
        serial=serial,
        thumbprint=thumbprint(chain[0]),
        anchor=anchor,
        issued_at=issued_at,
        expires_at=expires_at,
    )


def _leaf_only(extensions: dict[x509.ObjectIdentifier, x509.Extension[Any]]) -> None:
    """A leaf's constraints and key usage (X509-SVID.md sections 4.1, 4.3 and 4.4)."""
    constraints = extensions.get(x509.BasicConstraints.oid)
    usage = extensions.get(x509.KeyUsage.oid)
    purposes = extensions.get(x509.ExtendedKeyUsage.oid)
    if constraints is not None and constraints.value.ca:
        raise Problem("PC2025", "the certificate is an authority's")
    if usage is not None and (usage.value.key_cert_sign or usage.value.crl_sign):
        raise Problem("PC2026", "the certificate may sign certificates or revocation lists")
    if usage is None or not usage.critical or not usage.value.digital_signature:
        raise Problem("PC2026", "the certificate has no critical key usage digitalSignature")
    if purposes is not None and not _PURPOSES.issubset(purposes.value):
        raise Problem("PC2026", "the certificate is not for both clients and servers")

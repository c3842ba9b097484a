"""Which authorities could be taken for each other by who verifies a chain.

OpenSSL finds the certificate above another by name and key identifier, in one heap of all trust
domains' authorities, and looks for no second one when a signature then turns out wrong. So an
authority that goes by another domain's name would cut that domain's workloads off.
"""

from __future__ import annotations

from typing import TypeAlias

from cryptography import x509

from portcullis.identity.x509 import SIGNING_NAME

_Name: TypeAlias = tuple[frozenset[tuple[str, str]], ...]


def shadows(authority: bytes, other: bytes) -> bool:
    """Whether a chain that ends in ``other`` (DER) may be looked for below ``authority`` (DER)."""
    if authority == other:
        return False
    one, two = map(x509.load_der_x509_certificate, (authority, other))
    ours, theirs = _key_id(one), _key_id(two)
    distinct = ours is not None and theirs is not None and ours != theirs
    return not distinct and _name(one) == _name(two)


def poses_as_signing(authority: bytes) -> bool:
    """Whether it goes by the name of a signing authority of ours, which no bundle ever holds."""
    prefix = " ".join(SIGNING_NAME.lower().split())
    name = _name(x509.load_der_x509_certificate(authority))
    return any(value.startswith(prefix) for part in name for _, value in part)


def _name(certificate: x509.Certificate) -> _Name:
    """The subject as OpenSSL compares it: without regard to case and spaces."""
    return tuple(
        frozenset(
            (attribute.oid.dotted_string, " ".join(str(attribute.value).lower().split()))
            for attribute in part
        )
        for part in certificate.subject.rdns
    )


def _key_id(certificate: x509.Certificate) -> bytes | None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    return found.value.digest

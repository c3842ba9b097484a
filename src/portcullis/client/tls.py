"""TLS towards the gate: its chain, its host name and its SPIFFE ID, before a byte is sent."""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography import x509

from portcullis.client.svid import Svid
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.core.spiffe import parse
from portcullis.wire.certificates import der, load_identity, pem
from portcullis.wire.json import decode


class GateContext(ssl.SSLContext):
    """A TLS 1.3 context that speaks to a gateway of one trust domain and to nobody else.

    A peer passes when its chain ends in one of the authorities, its certificate names the host
    that was dialled, and its one URI is the SPIFFE ID of a gateway of ``trust_domain``. Anyone
    else ends the handshake with ``ssl.SSLCertVerificationError``, before anything is sent.
    """

    trust_domain: str


def context(trust_domain: str, roots: Iterable[bytes], svid: Svid | None = None) -> GateContext:
    """Make a context; with ``svid`` it can show who we are. Problem PC7009 for useless roots."""
    made = GateContext(ssl.PROTOCOL_TLS_CLIENT)
    made.trust_domain = trust_domain
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # an authority may be no root
    made.sslobject_class = _Checked
    try:
        made.load_verify_locations(cadata=pem(roots))
    except (ssl.SSLError, ValueError):
        raise Problem("PC7009", "the bundle holds no certificate of an authority") from None
    if svid is not None:
        load_identity(made, svid.chain, svid.key)
    return made


class _Checked(ssl.SSLObject):
    """A connection that holds the peer's SPIFFE ID against its context's."""

    def do_handshake(self) -> None:
        """Complete the handshake or fail as the base class does."""
        super().do_handshake()
        if not _is_gateway(self.getpeercert() or {}, self.context):
            message = "the peer is not a gateway of this trust domain"
            raise ssl.SSLCertVerificationError(message)


def _is_gateway(certificate: Any, made: ssl.SSLContext) -> bool:
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(uris) != 1 or not isinstance(made, GateContext):
        return False
    try:
        found = parse(uris[0])
    except Problem:
        return False
    principal = found.principal()
    return (
        found.trust_domain == made.trust_domain
        and principal is not None
        and principal[0] is PrincipalKind.GATEWAY
    )


def authorities(text: str) -> tuple[bytes, ...]:
    """The X.509 authorities (DER) of a PEM text or a SPIFFE bundle document.

    Raises Problem PC7009 for anything else.
    """
    try:
        found = _of_document(text) if text.lstrip().startswith("{") else der(text)
    except (Problem, ValueError, TypeError, KeyError, AttributeError, binascii.Error):
        raise Problem("PC7009", "neither PEM nor a SPIFFE bundle document") from None
    if not found:
        raise Problem("PC7009", "the bundle holds no certificate of an authority")
    return found


def _of_document(text: str) -> tuple[bytes, ...]:
    """SPIFFE Trust Domain and Bundle, section 4.2: keys used for ``x509-svid``."""
    keys = decode(text.encode())["keys"]
    return tuple(
        base64.b64decode(key["x5c"][0], validate=True) for key in keys if key["use"] == "x509-svid"
    )


def domain_of(roots: Iterable[bytes]) -> str:
    """The one trust domain that the authorities' certificates name (X509-SVID section 4.1).

    Raises Problem PC7009 when they name none, or two.
    """
    found: set[str] = set()
    for each in roots:
        try:
            certificate = x509.load_der_x509_certificate(each)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (ValueError, x509.ExtensionNotFound):
            continue
        for uri in names.value.get_values_for_type(x509.UniformResourceIdentifier):
            found.add(uri.removeprefix("spiffe://").rstrip("/"))
    if len(found) != 1:
        raise Problem("PC7009", "the authorities do not name one trust domain; say which it is")
    return found.pop()


def read_authorities(path: Path) -> tuple[bytes, ...]:
    """``authorities`` of a file. Raises Problem PC7009."""
    try:
        return authorities(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("PC7009", f"cannot read {path}: {type(error).__name__}") from None

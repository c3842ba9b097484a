"""TLS at the gate's door: whom it shows itself as, whom it asks for, and why it refuses.

TLS 1.3 only and without session tickets: a resumed session is not verified again, and would
outlive the authority under which it was accepted (docs/decisions/013-listeners.md).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.wire.certificates import load_identity, verified_chain

log = structlog.get_logger(__name__)

_VERIFY_CODES: Final = {
    9: ("PC2022", "a certificate of the chain is not valid yet"),
    10: ("PC2022", "a certificate of the chain has expired"),
    26: ("PC2026", "the certificate is not for clients"),
}
"""OpenSSL's X509_V_ERR_ codes that say more than `not trusted` (openssl-verification-options)."""
_NO_CERTIFICATE: Final = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
_NOT_TLS13: Final = frozenset(
    {
        "BAD_PROTOCOL_VERSION_NUMBER",
        "HTTPS_PROXY_REQUEST",
        "HTTP_REQUEST",
        "NO_PROTOCOLS_AVAILABLE",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "RECORD_TOO_SMALL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "UNEXPECTED_MESSAGE",
        "UNKNOWN_PROTOCOL",
        "UNSUPPORTED_PROTOCOL",
        "VERSION_TOO_LOW",
        "WRONG_SSL_VERSION",
        "WRONG_VERSION_NUMBER",
    }
)
"""OpenSSL's reasons that say that the bytes are not TLS 1.3, or not TLS."""


class Chain(Protocol):
    """An SVID as ``identity.authority.X509Svid`` has it: DER, leaf first."""

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The leaf and what signed it, without the root."""
        ...


class Own(Protocol):
    """The gate's own SVID (``identity.own.OwnSvid``)."""

    def current(self) -> tuple[Chain, bytes]:
        """The SVID and its key (PEM, PKCS #8)."""
        ...

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called when there is a new one."""


class Trusted(Protocol):
    """Whom the gate trusts (``identity.trust.Trust``)."""

    def anchors(self) -> tuple[bytes, ...]:
        """The DER of all authorities of all trust domains."""
        ...

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called after every change."""

    def peer(self, verified_chain: Sequence[bytes]) -> Peer:
        """Who a verified chain's leaf is, by the rules of its trust domain."""
        ...

    def holds(self, peer: Peer) -> bool:
        """Whether its authority is still one of its trust domain."""
        ...


class ServerTls:
    """What each new handshake is made under; made anew when our SVID or the trust changes.

    ``mutual`` asks for an SVID, and nobody gets in without one; ``protocol`` is spoken (ALPN). A
    context that cannot be made leaves none: no handshake is made under what was trusted before.
    """

    def __init__(
        self, own: Own, trust: Trusted, *, mutual: bool, protocol: str = "http/1.1"
    ) -> None:
        self.mutual = mutual
        self._protocol = protocol
        self._own = own
        self._trust = trust
        self._context: ssl.SSLContext | None = self._made()
        own.subscribe(self._changed)
        trust.subscribe(self._changed)

    def context(self) -> ssl.SSLContext:
        """The context in force. Raises Problem PC7008 when none could be made."""
        if self._context is None:
            raise Problem("PC7008", "no TLS context could be made of our SVID and the bundles")
        return self._context

    def peer(self, tls: ssl.SSLObject) -> Peer | None:
        """Who is at the other end of a handshake that is done; None when it is one-way.

        Raises the Problems of ``Trust.peer``, PC2020 to PC2027.
        """
        return self._trust.peer(verified_chain(tls)) if self.mutual else None

    def _changed(self) -> None:
        try:
            self._context = self._made()
        except Exception:
            self._context = None
            log.exception("tls_context_failed")

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.set_alpn_protocols([self._protocol])
        svid, key = self._own.current()
        load_identity(context, svid.chain, key)
        if self.mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # any authority in it is one
            anchors = self._trust.anchors()
            if anchors:
                context.load_verify_locations(cadata=b"".join(anchors))
        return context


def refusal(error: Exception) -> Problem | None:
    """Why a handshake failed, for the record; None when the other side just went away."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ssl.SSLError):
        return _refused_by_tls(error)
    if isinstance(error, ConnectionAbortedError | TimeoutError):
        return Problem("PC1012", "the handshake took too long")
    if isinstance(error, OSError):
        return None
    log.error("handshake_failed", exc_info=error)
    return Problem("PC9002", "the handshake could not be made")


def _refused_by_tls(error: ssl.SSLError) -> Problem | None:
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = ("PC2021", "the certificate's chain does not end in a trusted authority")
        return Problem(*_VERIFY_CODES.get(error.verify_code, unknown))
    if isinstance(error, ssl.SSLEOFError):
        return None
    if reason == _NO_CERTIFICATE:
        return Problem("PC2020", "the client showed no certificate")
    if reason in _NOT_TLS13:
        return Problem("PC1011", "the bytes are not TLS 1.3")
    return Problem("PC2021", f"the handshake failed: {reason.lower() or 'no reason given'}")

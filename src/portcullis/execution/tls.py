"""TLS towards upstreams: by host name and the system's authorities, or by SPIFFE ID.

Our own SVID is shown to whoever asks for a certificate. It is looked at for every new connection,
so a rotation takes effect with the next one; connections that are open live on.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId
from portcullis.execution.endpoint import Endpoint
from portcullis.identity.own import OwnSvid
from portcullis.identity.trust import Trust
from portcullis.wire.certificates import load_identity, pem, verified_chain


class Tls(Protocol):
    """How one upstream is verified, and what it is shown.

    ``context`` is for the next connection. ``peer`` is called when a handshake is over and before
    anything is sent: it returns who was verified as a workload (None where a host name was) or
    raises Problem PC5001. ``trusts`` says whether such a peer's connection may carry another
    request. ``untrusted`` is what to say when OpenSSL refuses the certificate.
    """

    untrusted: str

    def context(self) -> ssl.SSLContext: ...  # noqa: D102 - see above
    def peer(self, tls: ssl.SSLObject) -> Peer | None: ...  # noqa: D102 - see above
    def trusts(self, peer: Peer) -> bool: ...  # noqa: D102 - see above


class _Shown:
    """Puts our own SVID into contexts, again when it was renewed."""

    def __init__(self, own: OwnSvid | None) -> None:
        self._own = own
        self._serial = ""

    def give(self, context: ssl.SSLContext, *, fresh: bool) -> None:
        if self._own is None:
            return
        svid, key = self._own.current()
        if fresh or svid.serial != self._serial:
            load_identity(context, svid.chain, key)
            self._serial = svid.serial


class WebTls:
    """TLS 1.2 or newer, HTTP/1.1, the host name and the system's authorities.

    OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR name other authorities, ``authorities`` is a file
    (PEM) of the only ones. Reading them takes some 20 ms, once.
    """

    untrusted = "the upstream's certificate is not trusted"

    def __init__(self, own: OwnSvid | None = None, *, authorities: Path | None = None) -> None:
        self._shown = _Shown(own)
        self._authorities = authorities
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """The one context; a renewed SVID is put into it, where handshakes begun do not see it."""
        context, fresh = self._context, self._context is None
        if context is None:
            context = ssl.create_default_context(cafile=self._authorities)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
        self._shown.give(context, fresh=fresh)
        self._context = context
        return context

    def peer(self, tls: ssl.SSLObject) -> None:
        """Nobody: OpenSSL has held the certificate against the host name."""

    def trusts(self, peer: Peer) -> bool:
        """There are no such peers."""
        del peer
        return False


class SpiffeTls:
    """TLS 1.2 or newer, HTTP/1.1 or another ``protocol``, and exactly this workload at the end.

    Its chain must end in the bundle of its own trust domain, as that bundle is when the
    connection is made; host names do not matter. A connection is not used again once the
    authority that vouched for it has left the bundle.
    """

    def __init__(
        self,
        workload: SpiffeId,
        trust: Trust,
        own: OwnSvid | None = None,
        *,
        protocol: str = "http/1.1",
    ) -> None:
        self.untrusted = f"the upstream's certificate is not of {workload.trust_domain}"
        self._workload = workload
        self._trust = trust
        self._protocol = protocol
        self._shown = _Shown(own)
        self._anchors: tuple[bytes, ...] = ()
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """A context that trusts the domain's authorities and no other."""
        domain = self._workload.trust_domain
        bundle = self._trust.bundle(domain)
        if bundle is None or not bundle.x509:
            raise Problem("PC5001", f"no trust bundle of {domain} is held")
        context, fresh = self._context, self._context is None or bundle.x509 != self._anchors
        if context is None or fresh:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # any authority in it is one
            context.set_alpn_protocols([self._protocol])
            context.load_verify_locations(cadata=pem(bundle.x509))
        self._shown.give(context, fresh=fresh)
        self._context, self._anchors = context, bundle.x509
        return context

    def peer(self, tls: ssl.SSLObject) -> Peer:
        """The workload, or Problem PC5001 when it is another."""
        try:
            peer = self._trust.peer(verified_chain(tls))
        except Problem as problem:
            raise Problem(
                "PC5001", f"the upstream's certificate is no SVID: {problem.detail}"
            ) from None
        if peer.id != self._workload:
            raise Problem("PC5001", f"the upstream is another workload than {self._workload}")
        return peer

    def trusts(self, peer: Peer) -> bool:
        """Whether its authority is still in the bundle."""
        return self._trust.holds(peer)


def upstream_tls(
    own: OwnSvid | None = None, trust: Trust | None = None
) -> Callable[[Endpoint], Tls]:
    """What gives each endpoint its TLS; those verified by host name share two contexts.

    Raises Problem PC7001 for an endpoint with a SPIFFE ID where there is no ``trust``.
    """
    web = {True: WebTls(own), False: WebTls()}

    def choose(endpoint: Endpoint) -> Tls:
        if endpoint.spiffe_id is None:
            return web[endpoint.svid]
        if trust is None:
            raise Problem("PC7001", "tls.spiffe_id needs the gate's trust bundles")
        return SpiffeTls(endpoint.spiffe_id, trust, own if endpoint.svid else None)

    return choose

"""Whom we trust: our own bundle and those of federated trust domains, never mixed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

import msgspec

from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.identity.bundle import Bundle
from portcullis.identity.shadows import poses_as_signing, shadows
from portcullis.identity.svid import peer_of
from portcullis.identity.x509 import made_at


class Trust:
    """The bundles in memory. Reads are safe from any thread; changes belong to one (the loop's).

    ``own`` gives our own bundle, always the present one: it is asked every time, and must return
    the same object until it changes. ``now`` is seconds since the epoch.
    """

    def __init__(self, own: Callable[[], Bundle], now: Callable[[], float] = time.time) -> None:
        self._own = own
        self._now = now
        self._foreign: dict[str, Bundle] = {}
        self._anchors: dict[str, tuple[Bundle, frozenset[str]]] = {}
        self._subscribers: list[Callable[[], None]] = []

    def bundle(self, trust_domain: str) -> Bundle | None:
        """The bundle of one trust domain, or None when we do not know it."""
        own = self._own()
        return own if trust_domain == own.trust_domain else self._foreign.get(trust_domain)

    def bundles(self) -> tuple[Bundle, ...]:
        """All bundles, our own first."""
        return (self._own(), *self._foreign.values())

    def put(self, bundle: Bundle) -> bool:
        """Take a federated domain's bundle; False when it is not newer than the one we have.

        One without a sequence number (0) is newer when its keys are other ones. Whether it may
        stand beside the others, ``check`` says. Raises Problem PC7009 for our own trust domain:
        nobody else speaks for it.
        """
        if bundle.trust_domain == self._own().trust_domain:
            raise Problem("PC7009", "nobody gives us a bundle of our own trust domain")
        held = self._foreign.get(bundle.trust_domain)
        if held is not None:
            uncounted = held.sequence == bundle.sequence == 0
            if bundle.sequence <= held.sequence and (not uncounted or bundle.same_keys(held)):
                return False
        self._foreign = {**self._foreign, bundle.trust_domain: bundle}
        self.refresh()
        return True

    def check(self, bundle: Bundle) -> None:
        """Refuse a bundle with an authority that goes by the name of another domain's.

        That domain's workloads would be refused. Raises Problem PC7009.
        """
        others = [each for each in self.bundles() if each.trust_domain != bundle.trust_domain]
        for authority in bundle.x509:
            if poses_as_signing(authority):
                raise Problem("PC7009", "an authority goes by the name of a signing authority")
            for other in others:
                if any(shadows(authority, each) for each in other.x509):
                    detail = f"an authority goes by the name of one of {other.trust_domain}"
                    raise Problem("PC7009", detail)

    def remove(self, trust_domain: str) -> None:
        """Trust a federated domain no longer. Nothing happens when we do not."""
        if trust_domain in self._foreign:
            self._foreign = {
                name: each for name, each in self._foreign.items() if name != trust_domain
            }
            self._anchors.pop(trust_domain, None)
            self.refresh()

    def refresh(self) -> None:
        """Tell the subscribers that a bundle changed; call it when our own did."""
        for changed in tuple(self._subscribers):
            changed()

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called after every change, in the thread that made it."""
        self._subscribers.append(changed)

    def anchors(self) -> tuple[bytes, ...]:
        """The DER of all authorities, each once, for a TLS context."""
        return tuple(dict.fromkeys(der for bundle in self.bundles() for der in bundle.x509))

    def peer(self, verified_chain: Sequence[bytes]) -> Peer:
        """Who is at the other end: the chain is DER, leaf to root, as TLS verified it.

        Raises what ``peer_of`` raises, and Problem PC2027 when the chain does not end in an
        authority of the leaf's own trust domain: one domain's authority never speaks for
        another's workloads, although the TLS context trusts both.
        """
        root = verified_chain[-1] if verified_chain else b""
        anchor = hashlib.sha256(root).hexdigest()
        peer = peer_of(verified_chain, anchor=anchor, now=self._now())
        if not self.holds(peer):
            raise Problem("PC2027", "no authority of the certificate's trust domain vouches for it")
        if peer.id.trust_domain == self._own().trust_domain:
            return msgspec.structs.replace(peer, issued_at=made_at(peer.serial))
        return peer

    def holds(self, peer: Peer) -> bool:
        """Whether the authority that vouched for it is still one of its trust domain."""
        bundle = self.bundle(peer.id.trust_domain)
        if bundle is None:
            return False
        held, anchors = self._anchors.get(peer.id.trust_domain, (None, frozenset()))
        if held is not bundle:
            anchors = bundle.anchors()
            self._anchors[peer.id.trust_domain] = (bundle, anchors)
        return peer.anchor in anchors

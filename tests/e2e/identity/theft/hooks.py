"""The one place that reaches into the gate: its signing keys, so that a forgery can be malformed in
one point and right in all others. A thief has none of them."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from e2e.identity.theft.forge import Ca
from portcullis.identity.keys import issuer_key
from standins import Stage


def signing_authority(stage: Stage) -> Ca:
    """The trust domain's signing authority: what it signs chains to our root."""
    leaves = stage.gate.domain.authority._in_force.leaves
    return Ca(x509.load_der_x509_certificate(leaves.der), leaves._key, (leaves.der,))


def access_token_key(stage: Stage) -> Ed25519PrivateKey:
    """What access tokens are signed with."""
    return issuer_key(stage.config.parent / "state" / "keys", stage.gate.services.sealer)

"""What a caller shows: a verified certificate, a token, a proof that it holds the token's key."""

from __future__ import annotations

import msgspec

from portcullis.core.spiffe import SpiffeId


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Who is at the other end of a mutually authenticated TLS connection.

    Made once per connection, after the chain was verified and the SVID's rules were applied.
    ``serial`` is the certificate's serial number in hex, ``thumbprint`` its SHA-256 in base64url
    without padding (RFC 8705 section 3.1), ``anchor`` the SHA-256 (hex) of the authority in the
    bundle that the chain ends in. ``issued_at`` is exact (milliseconds) for certificates of ours.
    """

    id: SpiffeId
    serial: str
    thumbprint: str
    anchor: str
    issued_at: float
    expires_at: float


class Presented(msgspec.Struct, frozen=True, kw_only=True):
    """The credentials of one request.

    ``dpop`` is the DPoP header's value (RFC 9449), ``method`` and ``url`` what its proof has to
    name: the URL as our listener knows it, without query. ``local`` says that this very process
    vouches for the caller (standard streams); it is never set for what came over a socket.
    """

    token: str = ""
    peer: Peer | None = None
    dpop: str = ""
    method: str = ""
    url: str = ""
    local: bool = False

"""What a refusal for want of a good credential says in its WWW-Authenticate header."""

from __future__ import annotations

from typing import Final

RESOURCE: Final = "/.well-known/oauth-protected-resource"
"""Where a resource's metadata is, followed by the resource's path (RFC 9728 section 3.1)."""

_ABSENT: Final = frozenset({"PC2001", "PC2020"})
_PROOF: Final = frozenset({f"PC{number}" for number in range(2042, 2049)})


def challenge(code: str, origin: str, path: str = "") -> str:
    """The header's value: RFC 6750 section 3, RFC 9449 section 7.1, RFC 9728 section 5.1.

    ``origin`` is the listener's as the client knows it, or empty where there is no metadata;
    ``path`` is that of the resource, such as ``/mcp/orders``, or empty for the gate as a whole.
    """
    words = [f'resource_metadata="{origin}{RESOURCE}{path}"'] if origin else []
    if code in _PROOF:
        words = ['error="invalid_dpop_proof"', 'algs="ES256 EdDSA"', *words]
        return f"DPoP {', '.join(words)}"
    if code not in _ABSENT:
        words.insert(0, 'error="invalid_token"')
    return f"Bearer {', '.join(words)}".rstrip()

"""What every answer of the console says to the browser."""

from __future__ import annotations

from typing import Final

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""CSP level 3: nothing but our own files, no inline script or style, no markup made from text."""

_CLOSED: Final = (
    "camera",
    "display-capture",
    "geolocation",
    "microphone",
    "payment",
    "serial",
    "usb",
)

HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": ", ".join(f"{name}=()" for name in _CLOSED),
    "cache-control": "no-store",
}
"""On all answers. ``same-origin`` and not ``no-referrer``: under that, browsers send a form with
``Origin: null`` (Fetch, section 3.2), and its origin could not be checked."""

ASSET_HEADERS: Final = HEADERS | {"cache-control": "public, max-age=31536000, immutable"}
"""On files whose name holds the digest of their content."""

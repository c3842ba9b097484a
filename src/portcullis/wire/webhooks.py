"""Standard Webhooks 1.0 (standardwebhooks.com): the headers that sign a message.

``webhook-signature`` has, for each key and with a space between, ``v1,`` and the Base64 of
HMAC-SHA256 over ``id.timestamp.body``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from portcullis.core.errors import Problem


def headers(message_id: str, at: float, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """The three headers. ``at`` is when it is sent, in seconds since the epoch.

    ``whsec_`` and Base64 is the form of a secret that the specification's libraries take; of any
    other the UTF-8 is the key. Raises Problem PC5007 for one that is not Base64 after ``whsec_``.
    """
    seconds = str(int(at))
    signed = b".".join((message_id.encode(), seconds.encode(), body))
    made = (hmac.digest(key(secret), signed, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in made),
    }


def key(secret: str) -> bytes:
    """The key that a secret stands for. Raises Problem PC5007 as ``headers`` does."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise Problem("PC5007", "the signing secret after whsec_ is not Base64") from None

"""Ids that say which gateway keeps what they name, where there are several.

    NAME.UNIQUE.MAC     MAC: HMAC-SHA-256 over purpose, name and the rest, 96 bits of it, base64url

A gateway's name in an id is not the client's to choose: the MAC is made under a key that only the
gateways of a deployment have. Whom the thing belongs to is not said here: its gateway knows.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import Final

from portcullis.config import NAME

LONGEST: Final = 160
"""Characters of the longest id."""
_MAC: Final = 12
_ID: Final = re.compile(rf"({NAME.strip('^$')})\.([A-Za-z0-9_-]{{1,64}})\.([A-Za-z0-9_-]{{16}})")


class Owned:
    """The ids of one purpose that the gateway ``name`` gives, and what other gateways' say."""

    def __init__(self, purpose: str, name: str, key: bytes) -> None:
        self._purpose = purpose
        self._name = name
        self._key = key

    def __call__(self, unique: str) -> str:
        """The id that clients know a thing of this gateway's by; always the same."""
        return f"{self._name}.{unique}.{self._mac(self._name, unique)}"

    def elsewhere(self, id_: str) -> str | None:
        """The name of the other gateway that keeps what an id names; None for any other id."""
        found = _ID.fullmatch(id_)
        if found is None or found[1] == self._name:
            return None
        genuine = hmac.compare_digest(self._mac(found[1], found[2]), found[3])
        return found[1] if genuine else None

    def _mac(self, name: str, unique: str) -> str:
        said = f"portcullis/owned/1\0{self._purpose}\0{name}\0{unique}".encode()
        mac = hmac.digest(self._key, said, "sha256")[:_MAC]
        return base64.urlsafe_b64encode(mac).decode()


def unowned(unique: str) -> str:
    """The id of a thing where there is one gateway."""
    return unique

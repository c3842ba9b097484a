"""SPIFFE IDs (SPIFFE-ID.md sections 2.1 to 2.4), and which of ours stand for which principals."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind

SCHEME: Final = "spiffe://"
MAX_ID: Final = 2048
MAX_TRUST_DOMAIN: Final = 255
TRUST_DOMAIN: Final = r"^[a-z0-9][a-z0-9._-]{0,254}$"

_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+")
_OURS: Final = re.compile(r"/(agent|application|operator|gateway)/([a-z0-9][a-z0-9_-]{0,62})")


class SpiffeId(msgspec.Struct, frozen=True):
    """A workload's SPIFFE ID: ``path`` is never empty and begins with a slash."""

    trust_domain: str
    path: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.trust_domain}{self.path}"

    def principal(self) -> tuple[PrincipalKind, str] | None:
        """The kind and name that a path of ours stands for, such as ``/agent/shop-1``, or None."""
        match = _OURS.fullmatch(self.path)
        return None if match is None else (PrincipalKind(match[1]), match[2])


def parse(text: str) -> SpiffeId:
    """Read a workload's SPIFFE ID.

    Raises Problem PC2024 for any other text: another scheme, a user, port, query or fragment,
    upper case or percent-encoding in the trust domain, an empty path, an empty segment, ``.`` or
    ``..`` as a segment, a trailing slash, a character outside the set, or too long a text.
    """
    if len(text) > MAX_ID or not text.startswith(SCHEME):
        raise Problem("PC2024", "not a spiffe:// URI of at most 2048 characters")
    domain, slash, rest = text[len(SCHEME) :].partition("/")
    if not _DOMAIN.fullmatch(domain):
        raise Problem("PC2024", "the trust domain is not a-z, 0-9, dots, dashes and underscores")
    segments = rest.split("/")
    if not slash or any(
        not _SEGMENT.fullmatch(segment) or segment in {".", ".."} for segment in segments
    ):
        raise Problem("PC2024", "the path is empty or has an empty, dot or foreign segment")
    return SpiffeId(domain, f"/{rest}")


def ours(trust_domain: str, kind: PrincipalKind, name: str) -> SpiffeId:
    """The SPIFFE ID of a principal of ours: ``spiffe://DOMAIN/KIND/NAME``."""
    return SpiffeId(trust_domain, f"/{kind.value}/{name}")

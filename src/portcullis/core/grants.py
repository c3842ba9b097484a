"""What users granted at upstreams' authorization servers."""

from __future__ import annotations

import msgspec


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Whose a grant is: this user, as this application knows him, at this upstream.

    Another application's user of the same name is another holder: no application vouches for
    what was granted through another.
    """

    upstream: str
    application: str
    user: str


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A user's grant. ``account`` is whom the authorization server says it is of, or empty.

    ``version`` counts the refresh tokens that it had. Times are seconds since the epoch.
    """

    id: str
    holding: Holding
    scopes: tuple[str, ...]
    created_at: float
    account: str = ""
    issuer: str = ""
    version: int = 1
    refreshed_at: float = 0.0


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a one-time link is good for: connecting an account of this holder."""

    holding: Holding
    session: str
    expires_at: float
    by: str
    """``KIND:NAME`` of who asked for it."""

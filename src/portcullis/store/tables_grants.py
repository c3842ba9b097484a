"""The tables of what users granted at upstreams (``core.grants``); see ``store.tables``.

``handle`` stands for the user: an HMAC under a key of the subjects'. What is ``sealed`` is under
the user's own key; a link's ``document``, which lives for minutes, under the deployment's.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Column, Double, Index, Integer, LargeBinary, String, Table

from portcullis.store.tables import METADATA

USER_GRANTS: Final = Table(
    "user_grants",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("upstream", String(70), nullable=False),
    Column("application", String(63), nullable=False),
    Column("handle", LargeBinary, nullable=False, index=True),
    Column("scopes", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("refreshed_at", Double, nullable=False),
    Column("version", Integer, nullable=False),
    Column("claimed_until", Double, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_user_grants_holder", "upstream", "application", "handle", unique=True),
)

CONNECT_LINKS: Final = Table(
    "connect_links",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("expires_at", Double, nullable=False, index=True),
    Column("document", LargeBinary, nullable=False),
)

USER_TOKENS: Final = Table(
    "user_tokens",
    METADATA,
    Column("session", String(64), primary_key=True),
    Column("expires_at", Double, nullable=False, index=True),
    Column("handle", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

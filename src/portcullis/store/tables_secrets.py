"""The tables about secrets: who used which, and when which was rotated. No value is in them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, Integer, String, Table

from portcullis.store.tables import METADATA

SECRET_USES: Final = Table(
    "secret_uses",
    METADATA,
    Column("reference", String(512), primary_key=True),
    Column("version", String(16), primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("session", String(64), primary_key=True),
    Column("upstream", String(128), primary_key=True),
    Column("scope", String(256), primary_key=True),
    Column("first", Double, nullable=False),
    Column("last", Double, nullable=False, index=True),
    Column("count", BigInteger, nullable=False),
    Index("ix_secret_uses_agent", "agent", "last"),
)
"""Uses merged by who and what for; ``version`` is a keyed digest of the value."""

SECRET_ROTATIONS: Final = Table(
    "secret_rotations",
    METADATA,
    Column("reference", String(512), primary_key=True),
    Column("at", Double, nullable=False),
    Column("rotated", Integer, nullable=False),
    Column("verified", Integer, nullable=False),
    Column("fault", String(16), nullable=False),
)
"""The last rotation of each secret, or the last try."""

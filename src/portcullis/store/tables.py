"""The tables as they are after the last migration; a test holds the two together.

Times are seconds since the epoch. ``sessions.document`` is the MessagePack form of
``core.principal.Session``: it holds the user's prompt, so the file is its owner's alone.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    Double,
    LargeBinary,
    MetaData,
    String,
    Table,
)

REVISION: Final = "0001"
"""The last migration."""

METADATA: Final = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_name)s"})

PRINCIPALS: Final = Table(
    "principals",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("id", String(63), primary_key=True),
    Column("owner", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    CheckConstraint("state IN ('active', 'disabled')", name="principals_state"),
)

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("expires_at", Double, nullable=False, index=True),
    Column("document", LargeBinary, nullable=False),
)

CUTS: Final = Table(
    "cuts",
    METADATA,
    Column("scope", String(16), primary_key=True),
    Column("value", String(64), primary_key=True),
    Column("reason", String(200), nullable=False),
    Column("made_at", Double, nullable=False),
)

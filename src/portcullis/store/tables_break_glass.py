"""The table of operators who broke the glass, for good: a review is never forgotten."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Column, Double, String, Table

from portcullis.store.tables import METADATA

BREAK_GLASS: Final = Table(
    "break_glass",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("operator", String(128), nullable=False),
    Column("credential", String(64), nullable=False),
    Column("reason", String(200), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("began_at", Double, nullable=False),
    Column("ends_at", Double, nullable=False),
    Column("reminded_at", Double, nullable=False),
    Column("ended_at", Double, nullable=False),
    Column("closed_at", Double, nullable=False, index=True),
    Column("closed_by", String(128), nullable=False),
    Column("judgement", String(16), nullable=False),
    Column("note", String(200), nullable=False),
)

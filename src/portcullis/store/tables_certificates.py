"""The tables of access reviews; see ``store.tables``. Times are seconds since the epoch.

A report holds names of agents, tools and rules, never content.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Double, Integer, LargeBinary, String, Table

from portcullis.store.tables import METADATA

CERTIFICATES: Final = Table(
    "policy_certificates",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("agent", String(255), nullable=False, index=True),
    Column("at", Double, nullable=False),
    Column("by", String(128), nullable=False),
    Column("said", String(16), nullable=False),
    Column("release", Integer, nullable=False),
    Column("policy", String(71), nullable=False),
    Column("owner", String(256), nullable=False),
    Column("grant", String(1024), nullable=False),
    Column("led_to", Integer, nullable=False),
    Column("reason", String(200), nullable=False),
)

POLICY_REVIEWS: Final = Table(
    "policy_reviews",
    METADATA,
    Column("one", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("release", Integer, nullable=False),
    Column("why", String(16), nullable=False),
    Column("report", LargeBinary, nullable=False),
)
"""The last review; ``one`` is 1."""

CERTIFICATES_DUE: Final = Table(
    "policy_certificates_due",
    METADATA,
    Column("agent", String(255), primary_key=True),
    Column("due", Double, nullable=False),
)
"""Of which agents it was told that a review is overdue, and since when it was due."""

"""The tables about releases of policy. What is counted holds names and codes, never content."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, String, Table

from portcullis.store.tables import METADATA

POLICY_RELEASES: Final = Table(
    "policy_releases",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("digest", String(71), nullable=False),
    Column("text", String(71), nullable=False, index=True),
    Column("origin", String(16), nullable=False),
    Column("proposed_by", String(128), nullable=False),
    Column("proposed_at", Double, nullable=False),
    Column("note", String(200), nullable=False),
    Column("revision", String(128), nullable=False),
    Column("stage", String(16), nullable=False, index=True),
    Column("share", Integer, nullable=False),
    Column("approvals", String, nullable=False),
    Column("by", String(128), nullable=False),
    Column("reason", String(512), nullable=False),
    Column("changed_at", Double, nullable=False),
    Column("active_at", Double, nullable=False),
)
"""``approvals`` is JSON: who, when and what was said."""

POLICY_TEXTS: Final = Table(
    "policy_texts",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)
"""The files of each release, sealed for its number and the digest of its text."""

POLICY_TALLIES: Final = Table(
    "policy_tallies",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("gateway", String(255), primary_key=True),
    Column("canary_decisions", BigInteger, nullable=False),
    Column("canary_denials", BigInteger, nullable=False),
    Column("rest_decisions", BigInteger, nullable=False),
    Column("rest_denials", BigInteger, nullable=False),
    Column("compared", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("others", BigInteger, nullable=False),
)

POLICY_DIFFERENCES: Final = Table(
    "policy_differences",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("gateway", String(255), primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("was", String(64), primary_key=True),
    Column("now", String(64), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

POLICY_SOURCES: Final = Table(
    "policy_sources",
    METADATA,
    Column("source", String(512), primary_key=True),
    Column("revision", String(128), nullable=False),
)
"""The last revision that was taken from each bundle server: nothing older is."""

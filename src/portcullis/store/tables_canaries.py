"""What gateways counted of a canary by sessions, which weigh alike however often they call."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Integer, String, Table

from portcullis.store.tables import METADATA

POLICY_CANARIES: Final = Table(
    "policy_canaries",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("gateway", String(255), primary_key=True),
    Column("canary_sessions", BigInteger, nullable=False),
    Column("canary_share", Double, nullable=False),
    Column("rest_sessions", BigInteger, nullable=False),
    Column("rest_share", Double, nullable=False),
    Column("hit", String, nullable=False),
)
"""``hit`` is JSON: fingerprints of sessions that were newly denied something."""

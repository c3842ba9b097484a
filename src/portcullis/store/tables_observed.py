"""The table of which agents are observed, and what became of it; see ``store.tables``.

Times are seconds since the epoch, 0 for not yet. ``draft`` is the folder of the mined policy, or
the code that says why there is none.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, String, Table

from portcullis.store.tables import METADATA

OBSERVED: Final = Table(
    "policy_observed",
    METADATA,
    Column("agent", String(255), primary_key=True),
    Column("until", BigInteger, primary_key=True),
    Column("begun_at", Double, nullable=False),
    Column("told_at", Double, nullable=False),
    Column("ended_at", Double, nullable=False),
    Column("draft", String(255), nullable=False),
)

"""Whom administrative events are about, so that what was done to an agent is found by its name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, and have the logs projected anew: rows that are there say nothing of it."""
    op.create_table(
        "audit_about",
        sa.Column("log", sa.String(128), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("subject", sa.String(80), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_index("ix_audit_about_subject", "audit_about", ["subject", "at", "log", "number"])
    op.execute("DELETE FROM audit_positions")


def downgrade() -> None:
    """Take it away again."""
    op.drop_index("ix_audit_about_subject", "audit_about")
    op.drop_table("audit_about")

"""What sessions have used of their budgets: gone with their session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "session_spent",
        sa.Column("session", sa.String(64), primary_key=True),
        sa.Column("measure", sa.String(16), primary_key=True),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_session_spent_expires_at", "session_spent", ["expires_at"])


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("session_spent")

"""Which agents are observed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "policy_observed",
        sa.Column("agent", sa.String(255), primary_key=True),
        sa.Column("until", sa.BigInteger, primary_key=True),
        sa.Column("begun_at", sa.Double, nullable=False),
        sa.Column("told_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double, nullable=False),
        sa.Column("draft", sa.String(255), nullable=False),
    )


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("policy_observed")

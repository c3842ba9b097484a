"""Operators who broke the glass, and the reviews of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "break_glass",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("operator", sa.String(128), nullable=False),
        sa.Column("credential", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("began_at", sa.Double, nullable=False),
        sa.Column("ends_at", sa.Double, nullable=False),
        sa.Column("reminded_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double, nullable=False),
        sa.Column("closed_at", sa.Double, nullable=False),
        sa.Column("closed_by", sa.String(128), nullable=False),
        sa.Column("judgement", sa.String(16), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
    )
    op.create_index("ix_break_glass_closed_at", "break_glass", ["closed_at"])


def downgrade() -> None:
    """Take it away again."""
    op.drop_index("ix_break_glass_closed_at", "break_glass")
    op.drop_table("break_glass")

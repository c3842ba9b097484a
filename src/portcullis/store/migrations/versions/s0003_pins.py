"""Tools as they were approved, and what servers say in their place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "pins",
        sa.Column("server", sa.String(63), primary_key=True),
        sa.Column("tool", sa.String(256), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("pinned_at", sa.Double, nullable=False),
        sa.Column("approved_by", sa.String(63), nullable=False),
    )
    op.create_table(
        "sightings",
        sa.Column("server", sa.String(63), primary_key=True),
        sa.Column("tool", sa.String(256), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Take them away again: every tool is pinned anew when it is next seen."""
    op.drop_table("sightings")
    op.drop_table("pins")

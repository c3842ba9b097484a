"""How unusual agents behave, and what is usual for each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "behaviour",
        sa.Column("agent", sa.String(63), primary_key=True),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("scored_at", sa.Double, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("decided_at", sa.Double, nullable=False),
        sa.Column("standing", sa.LargeBinary, nullable=False),
        sa.Column("profile", sa.LargeBinary, nullable=True),
    )
    op.create_table(
        "behaviour_positions",
        sa.Column("log", sa.String(128), primary_key=True),
        sa.Column("next", sa.BigInteger, nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("behaviour_positions")
    op.drop_table("behaviour")

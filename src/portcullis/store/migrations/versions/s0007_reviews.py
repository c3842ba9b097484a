"""Calls that policy let pass, to be looked at afterwards; and what was done about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "reviews",
        sa.Column("log", sa.String(128), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("agent", "session", "application", "action", "server", "name")
        ),
        sa.Column("risk", sa.String(16), nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("clear", sa.JSON, nullable=False),
        sa.Column("commitments", sa.JSON, nullable=False),
    )
    op.create_index("ix_reviews_id", "reviews", ["id"])
    op.create_table(
        "review_acts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("log", sa.String(128), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("entry", sa.String(64), nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("verb", sa.String(16), nullable=False),
        sa.Column("disposition", sa.String(16), nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_review_acts_entry", "review_acts", ["entry"])
    op.create_index("ix_review_acts_log", "review_acts", ["log", "number"])


def downgrade() -> None:
    """Take them away again; the logs have all of it."""
    op.drop_table("review_acts")
    op.drop_table("reviews")

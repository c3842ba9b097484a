"""Access reviews of agents, and the last review of the policy."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "policy_certificates",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("agent", sa.String(255), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("by", sa.String(128), nullable=False),
        sa.Column("said", sa.String(16), nullable=False),
        sa.Column("release", sa.Integer, nullable=False),
        sa.Column("policy", sa.String(71), nullable=False),
        sa.Column("owner", sa.String(256), nullable=False),
        sa.Column("grant", sa.String(1024), nullable=False),
        sa.Column("led_to", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
    )
    op.create_index("ix_policy_certificates_agent", "policy_certificates", ["agent"])
    op.create_table(
        "policy_reviews",
        sa.Column("one", sa.Integer, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("release", sa.Integer, nullable=False),
        sa.Column("why", sa.String(16), nullable=False),
        sa.Column("report", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "policy_certificates_due",
        sa.Column("agent", sa.String(255), primary_key=True),
        sa.Column("due", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("policy_certificates_due")
    op.drop_table("policy_reviews")
    op.drop_index("ix_policy_certificates_agent", "policy_certificates")
    op.drop_table("policy_certificates")

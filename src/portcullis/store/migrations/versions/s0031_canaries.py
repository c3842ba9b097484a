"""What gateways count of a canary by sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "policy_canaries",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("gateway", sa.String(255), primary_key=True),
        sa.Column("canary_sessions", sa.BigInteger, nullable=False),
        sa.Column("canary_share", sa.Double, nullable=False),
        sa.Column("rest_sessions", sa.BigInteger, nullable=False),
        sa.Column("rest_share", sa.Double, nullable=False),
        sa.Column("hit", sa.String, nullable=False),
    )


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("policy_canaries")

"""Where to look in the audit log: a projection of its events, made again at any time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "audit_positions",
        sa.Column("log", sa.String(128), primary_key=True),
        sa.Column("next", sa.BigInteger, nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
    )
    op.create_table(
        "audit_events",
        sa.Column("log", sa.String(128), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("credential", sa.Text, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("risk", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("trace", sa.Text, nullable=False),
    )
    op.create_index("ix_audit_events_principal", "audit_events", ["principal", "at"])
    op.create_index("ix_audit_events_session", "audit_events", ["session"])
    op.create_index("ix_audit_events_user", "audit_events", ["user"])
    op.create_index("ix_audit_events_trace", "audit_events", ["trace"])
    op.create_index("ix_audit_events_at", "audit_events", ["at"])
    op.create_table(
        "audit_findings",
        sa.Column("log", sa.String(128), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("type", sa.String(256), primary_key=True),
    )
    op.create_index("ix_audit_findings_type", "audit_findings", ["type"])


def downgrade() -> None:
    """Take them away again: the log itself is untouched."""
    op.drop_table("audit_findings")
    op.drop_table("audit_events")
    op.drop_table("audit_positions")

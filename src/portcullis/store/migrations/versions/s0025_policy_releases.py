"""Releases of policy, and what is counted of those in shadow and canary."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "policy_releases",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("text", sa.String(71), nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("proposed_by", sa.String(128), nullable=False),
        sa.Column("proposed_at", sa.Double, nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("revision", sa.String(128), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("share", sa.Integer, nullable=False),
        sa.Column("approvals", sa.String, nullable=False),
        sa.Column("by", sa.String(128), nullable=False),
        sa.Column("reason", sa.String(512), nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.Column("active_at", sa.Double, nullable=False),
    )
    op.create_index("ix_policy_releases_text", "policy_releases", ["text"])
    op.create_index("ix_policy_releases_stage", "policy_releases", ["stage"])
    op.create_table(
        "policy_texts",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "policy_tallies",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("gateway", sa.String(255), primary_key=True),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in (
                "canary_decisions",
                "canary_denials",
                "rest_decisions",
                "rest_denials",
                "compared",
                "dropped",
                "others",
            )
        ),
    )
    op.create_table(
        "policy_differences",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("gateway", sa.String(255), primary_key=True),
        sa.Column("agent", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(256), primary_key=True),
        sa.Column("was", sa.String(64), primary_key=True),
        sa.Column("now", sa.String(64), primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "policy_sources",
        sa.Column("source", sa.String(512), primary_key=True),
        sa.Column("revision", sa.String(128), nullable=False),
    )


def downgrade() -> None:
    """Take them away again."""
    for table in ("policy_sources", "policy_differences", "policy_tallies", "policy_texts"):
        op.drop_table(table)
    op.drop_index("ix_policy_releases_stage", "policy_releases")
    op.drop_index("ix_policy_releases_text", "policy_releases")
    op.drop_table("policy_releases")

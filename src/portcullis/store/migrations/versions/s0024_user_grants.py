"""What users granted at upstreams, the links by which they do, and sessions' ID tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "user_grants",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("upstream", sa.String(70), nullable=False),
        sa.Column("application", sa.String(63), nullable=False),
        sa.Column("handle", sa.LargeBinary, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("refreshed_at", sa.Double, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("claimed_until", sa.Double, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_user_grants_handle", "user_grants", ["handle"])
    holder = ["upstream", "application", "handle"]
    op.create_index("ix_user_grants_holder", "user_grants", holder, unique=True)
    op.create_table(
        "connect_links",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_connect_links_expires_at", "connect_links", ["expires_at"])
    op.create_table(
        "user_tokens",
        sa.Column("session", sa.String(64), primary_key=True),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("handle", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_user_tokens_expires_at", "user_tokens", ["expires_at"])


def downgrade() -> None:
    """Take them away again; users have to connect their accounts anew."""
    op.drop_index("ix_user_tokens_expires_at", "user_tokens")
    op.drop_table("user_tokens")
    op.drop_index("ix_connect_links_expires_at", "connect_links")
    op.drop_table("connect_links")
    op.drop_index("ix_user_grants_holder", "user_grants")
    op.drop_index("ix_user_grants_handle", "user_grants")
    op.drop_table("user_grants")

"""What operators are told, until it is delivered."""

from __future__ import annotations

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what it needs."""


def downgrade() -> None:
    """Take it away again."""

"""Counts of hits by day, which stay when the hits go."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "hit_count",
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("purpose", sa.String(16), primary_key=True),
        sa.Column("verdict", sa.String(16), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Refuse, as the first revision does."""
    raise RuntimeError("The ledger is not downgraded: that would lose consent events. Restore a backup instead.")

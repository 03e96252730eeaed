"""Other people's trackers that were found in messages."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "foreign_tracker",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("message_id", sa.String(32), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("class", sa.String(16), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("vendor", sa.String(64)),
        sa.Column("surface", sa.String(16), nullable=False),
        sa.Column("tier", sa.String(1), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("host", sa.String(253), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("sender_hash", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_foreign_tracker_message_id", "foreign_tracker", ["message_id"])
    op.create_index("ix_foreign_tracker_at", "foreign_tracker", ["at"])
    op.create_index("foreign_tracker_by_vendor", "foreign_tracker", ["vendor", "at"])
    op.create_index("foreign_tracker_by_sender", "foreign_tracker", ["sender_hash", "at"])


def downgrade() -> None:
    """Refuse, as the first migration does."""
    raise RuntimeError("The ledger is not downgraded: that would lose consent events. Restore a backup instead.")

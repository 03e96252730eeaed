"""The merge window: keyed fingerprints of single messages."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "look_alike",
        sa.Column("message_id", sa.String(32), primary_key=True),
        sa.Column("sender_hash", sa.String(64), nullable=False),
        sa.Column("recipient_hash", sa.String(64), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("bulk", sa.Boolean(), nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=False),
    )
    op.create_index("look_alike_by_sender", "look_alike", ["sender_hash", "at"])
    op.create_index("look_alike_by_time", "look_alike", ["at"])


def downgrade() -> None:
    """Refuse, as the first revision does."""
    raise RuntimeError("The ledger is not downgraded: that would lose consent events. Restore a backup instead.")

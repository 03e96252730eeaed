"""Policy versions that ruled, what senders saved for their messages, and why an administrator looked."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and the column of ledger.schema as they were at this revision."""
    op.create_table(
        "policy_version",
        sa.Column("version", sa.String(16), primary_key=True),
        sa.Column("first_at", sa.String(27), nullable=False),
        sa.Column("last_began_at", sa.String(27), nullable=False),
        sa.Column("author", sa.String(128), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
    )
    op.create_table(
        "sender_setting",
        sa.Column("sender_hash", sa.String(64), primary_key=True),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("click", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.String(27), nullable=False),
    )
    op.add_column("access", sa.Column("reason", sa.Text()))


def downgrade() -> None:
    """Refuse: going back would forget refusals."""
    raise RuntimeError("The ledger is not downgraded: that would lose consent events. Restore a backup instead.")

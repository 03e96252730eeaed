"""Accounts with their passwords, and failed logins."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "account",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("folded_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "account_password",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("account_id", sa.String(32), nullable=False, index=True),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("tag", sa.String(16)),
        sa.Column("hash", sa.String(128), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "login_attempt",
        sa.Column("account_hash", sa.String(32), primary_key=True),
        sa.Column("network_hash", sa.String(32), primary_key=True),
        sa.Column("secret_hash", sa.String(32), primary_key=True),
        sa.Column("at", sa.String(27), nullable=False),
    )
    op.create_index("login_attempt_by_network", "login_attempt", ["network_hash", "at"])
    op.create_index("login_attempt_by_time", "login_attempt", ["at"])


def downgrade() -> None:
    """Refuse, as the first revision does."""
    raise RuntimeError("The ledger is not downgraded: that would lose consent events. Restore a backup instead.")

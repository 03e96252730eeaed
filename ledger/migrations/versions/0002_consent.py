"""Notices with versions, imports, questions, links that prove a mailbox, outgoing system mail, requests."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables from the revision before to ledger.schema as it was at this one."""
    op.add_column("consent_event", sa.Column("collection_point", sa.String(64)))
    op.add_column("consent_event", sa.Column("batch", sa.String(32)))
    op.add_column("consent_event", sa.Column("request", sa.String(32)))
    op.create_index("consent_event_by_batch", "consent_event", ["batch"])
    op.add_column("notice", sa.Column("version", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("notice", sa.Column("created_by", sa.String(128), nullable=False, server_default="system"))
    op.create_table(
        "import_batch",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("collection_point", sa.String(64)),
        sa.Column("imported_at", sa.String(27), nullable=False),
        sa.Column("imported_by", sa.String(128), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("suspended_at", sa.String(27)),
    )
    op.create_table(
        "chain_checkpoint",
        sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("row_hash", sa.String(64), nullable=False),
        sa.Column("cut_at", sa.String(27), nullable=False),
        sa.Column("kept", sa.BigInteger(), nullable=False),
        sa.Column("kept_digest", sa.String(64), nullable=False),
        sa.Column("signature", sa.String(64), nullable=False),
    )
    op.create_table(
        "mailbox_link",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("folded_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("expires_at", sa.String(27), nullable=False),
        sa.Column("used_at", sa.String(27)),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("mailbox_link_by_person", "mailbox_link", ["folded_hash", "created_at"])
    op.create_table(
        "question",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("folded_hash", sa.String(64), nullable=False),
        sa.Column("asked_at", sa.String(27), nullable=False),
        sa.Column("way", sa.String(16), nullable=False),
    )
    op.create_index("question_by_person", "question", ["folded_hash", "asked_at"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("folded_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("due_at", sa.String(27), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sent_at", sa.String(27)),
        sa.Column("sealed", sa.LargeBinary()),
    )
    op.create_index("outbox_by_due", "outbox", ["state", "due_at"])
    op.create_index("outbox_by_person", "outbox", ["folded_hash", "created_at"])
    op.create_table(
        "request_case",
        sa.Column("number", sa.String(16), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("folded_hash", sa.String(64), nullable=False),
        sa.Column("opened_at", sa.String(27), nullable=False),
        sa.Column("acknowledge_by", sa.String(10)),
        sa.Column("acknowledged_at", sa.String(27)),
        sa.Column("due_by", sa.String(10), nullable=False),
        sa.Column("extended_at", sa.String(27)),
        sa.Column("answered_at", sa.String(27)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("batch", sa.String(32)),
        sa.Column("sealed", sa.LargeBinary()),
    )
    op.create_index("request_case_by_due", "request_case", ["state", "due_by"])
    op.create_index("request_case_by_person", "request_case", ["folded_hash"])


def downgrade() -> None:
    """Refuse: going back would forget refusals."""
    raise RuntimeError("The ledger is not downgraded: that would lose consent events. Restore a backup instead.")

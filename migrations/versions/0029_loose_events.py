"""Batches of the event spool that may be sent together with others."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.add_column("event_spool", sa.Column("is_loose", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index("ix_event_spool_loose", "event_spool", ["id"], postgresql_where=sa.text("is_loose"))


def downgrade() -> None:
    op.drop_index("ix_event_spool_loose", "event_spool")
    op.drop_column("event_spool", "is_loose")

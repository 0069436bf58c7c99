"""Events that wait in PostgreSQL while ClickHouse is away."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "event_spool",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("lines", sa.LargeBinary(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("events > 0", name=op.f("ck_event_spool_events_positive")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_event_spool_attempts_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_spool")),
    )
    op.create_index("ix_event_spool_due_at_id", "event_spool", ["due_at", "id"])


def downgrade() -> None:
    op.drop_table("event_spool")

"""Refunds, and the keys under which mutations were sent."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"

KINDS = "'CREATED', 'RESERVED', 'AUTHORIZED', 'CHARGED', 'DECLINED', 'HELD', 'COMPLETED', 'FAILED', 'EXPIRED', 'CANCELLED', 'REFUNDED'"


def upgrade() -> None:
    op.drop_constraint(op.f("ck_order_events_kind"), "order_events", type_="check")
    op.create_check_constraint(op.f("ck_order_events_kind"), "order_events", f"kind in ({KINDS}, 'REFUND_FAILED', 'RESTOCKED')")
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=19, scale=4), nullable=False),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        sa.Column("reason", sa.String(255)),
        sa.Column("restock", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("idempotency_key", sa.String(255), nullable=False),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("transaction_id", sa.String(255)),
        sa.Column("failure_code", sa.String(64)),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.Column("failed_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("status in ('PENDING', 'COMPLETED', 'FAILED')", name=op.f("ck_refunds_status")),
        sa.CheckConstraint("(status = 'COMPLETED') = (completed_at is not null)", name=op.f("ck_refunds_completed_at_set")),
        sa.CheckConstraint("(status = 'FAILED') = (failed_at is not null)", name=op.f("ck_refunds_failed_at_set")),
        sa.CheckConstraint("failure_code is null or status = 'FAILED'", name=op.f("ck_refunds_failure_of_failed")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_refunds_amount_positive")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_refunds_currency")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_refunds_payment_id_payments"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_refunds_created_by_users"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("payment_id", "idempotency_key", name=op.f("uq_refunds_payment_id_idempotency_key")),
    )
    op.create_index("ix_refunds_created_at_id", "refunds", ["created_at", "id"])
    op.create_index("ix_refunds_payment_id_created_at_id", "refunds", ["payment_id", "created_at", "id"])
    op.create_index("ix_refunds_created_by", "refunds", ["created_by"], postgresql_where=sa.text("created_by is not null"))
    op.create_index("ix_refunds_unsettled", "refunds", ["updated_at"], postgresql_where=sa.text("status = 'PENDING'"))
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("operation", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("input_hash", sa.String(64), nullable=False),
        sa.Column("answer", postgresql.JSONB()),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("jsonb_typeof(answer) = 'object'", name=op.f("ck_idempotency_keys_answer_is_object")),
        sa.CheckConstraint("input_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_idempotency_keys_input_hash")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_idempotency_keys_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint("user_id", "operation", "key", name=op.f("uq_idempotency_keys_user_id_operation_key")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_table("refunds")
    op.execute("alter table order_events disable trigger order_events_append_only")
    op.execute("delete from order_events where kind = 'REFUND_FAILED'")
    op.execute("alter table order_events enable trigger order_events_append_only")
    op.drop_constraint(op.f("ck_order_events_kind"), "order_events", type_="check")
    op.create_check_constraint(op.f("ck_order_events_kind"), "order_events", f"kind in ({KINDS}, 'RESTOCKED')")

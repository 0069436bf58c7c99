"""The log of orders, what payments have taken and given back, and the test provider's memory."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"

REFUSE = """
create function refuse_order_event_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and not exists (select from orders where id = old.order_id) then
    return old;
  end if;
  raise exception 'order_events is only ever added to' using errcode = 'restrict_violation';
end $$
"""

ON_CHANGE = """
create trigger order_events_append_only before update or delete on order_events
  for each row execute function refuse_order_event_change()
"""

PAYMENT_CHECKS = {
    "capture": "capture in ('AUTOMATIC', 'MANUAL')",
    "authorized_by_hand": "authorized_at is null or capture = 'MANUAL'",
    "held_pending": "held_reason is null or status = 'PENDING'",
    "captured_amount_not_negative": "captured_amount >= 0",
    "refunded_amount_not_negative": "refunded_amount >= 0",
    "captured_amount": "captured_amount <= amount",
    "captured_of_completed": "captured_amount = 0 or status in ('COMPLETED', 'REFUNDED')",
    "refunded_amount": "refunded_amount <= captured_amount",
    "refunded_whole": "status <> 'REFUNDED' or refunded_amount = captured_amount",
}


def upgrade() -> None:
    _create_events()
    _add_amounts()
    _create_ledger()


def downgrade() -> None:
    op.drop_table("test_refunds")
    op.drop_table("test_charges")
    op.drop_index("ix_payments_unsettled", "payments")
    for name in ("captured_amount", "refunded_amount", "capture", "held_reason", "authorized_at"):
        op.drop_column("payments", name)
    op.drop_table("order_events")
    op.execute("drop function refuse_order_event_change()")


def _create_events() -> None:
    kinds = "'CREATED', 'RESERVED', 'AUTHORIZED', 'CHARGED', 'DECLINED', 'HELD', 'COMPLETED', 'FAILED', 'EXPIRED', 'CANCELLED', 'REFUNDED'"
    op.create_table(
        "order_events",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), server_default=sa.text("'SYSTEM'"), nullable=False),
        sa.Column("actor_id", sa.Uuid()),
        sa.Column("payment_id", sa.Uuid()),
        sa.Column("amount", sa.Numeric(precision=19, scale=4)),
        sa.Column("currency", sa.String(3)),
        sa.Column("data", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(f"kind in ({kinds}, 'RESTOCKED')", name=op.f("ck_order_events_kind")),
        sa.CheckConstraint("actor in ('BUYER', 'STAFF', 'SYSTEM')", name=op.f("ck_order_events_actor")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_order_events_amount_not_negative")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_order_events_currency")),
        sa.CheckConstraint("(amount is null) = (currency is null)", name=op.f("ck_order_events_amount_has_currency")),
        sa.CheckConstraint("jsonb_typeof(data) = 'object'", name=op.f("ck_order_events_data_is_object")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_events_order_id_orders"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_events")),
    )
    op.create_index(op.f("ix_order_events_order_id"), "order_events", ["order_id"])
    op.execute(REFUSE)
    op.execute(ON_CHANGE)


def _add_amounts() -> None:
    money = sa.Numeric(precision=19, scale=4)
    op.add_column("payments", sa.Column("captured_amount", money, server_default=sa.text("0"), nullable=False))
    op.add_column("payments", sa.Column("refunded_amount", money, server_default=sa.text("0"), nullable=False))
    op.add_column("payments", sa.Column("capture", sa.Text(), server_default=sa.text("'AUTOMATIC'"), nullable=False))
    op.add_column("payments", sa.Column("held_reason", sa.String(255)))
    op.add_column("payments", sa.Column("authorized_at", sa.DateTime(timezone=True)))
    op.execute("update payments set captured_amount = amount where status in ('COMPLETED', 'REFUNDED')")
    op.execute("update payments set refunded_amount = amount where status = 'REFUNDED'")
    for name, condition in PAYMENT_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_payments_{name}"), "payments", condition)
    op.create_index("ix_payments_unsettled", "payments", ["updated_at"], postgresql_where=sa.text("status = 'PENDING'"))


def _create_ledger() -> None:
    money = sa.Numeric(precision=19, scale=4)
    op.create_table(
        "test_charges",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("transaction_id", sa.String(255), nullable=False),
        sa.Column("amount", money, nullable=False),
        sa.Column("captured", money, server_default=sa.text("0"), nullable=False),
        sa.Column("refunded", money, server_default=sa.text("0"), nullable=False),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("failure_code", sa.String(64)),
        sa.Column("failure_message", sa.String(500)),
        sa.CheckConstraint("state in ('OPEN', 'PENDING', 'AUTHORIZED', 'SUCCEEDED', 'FAILED')", name=op.f("ck_test_charges_state")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_test_charges_amount_not_negative")),
        sa.CheckConstraint("captured >= 0", name=op.f("ck_test_charges_captured_not_negative")),
        sa.CheckConstraint("refunded >= 0", name=op.f("ck_test_charges_refunded_not_negative")),
        sa.CheckConstraint("captured <= amount", name=op.f("ck_test_charges_captured_amount")),
        sa.CheckConstraint("refunded <= captured", name=op.f("ck_test_charges_refunded_amount")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_test_charges_currency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_charges")),
        sa.UniqueConstraint("key", name=op.f("uq_test_charges_key")),
        sa.UniqueConstraint("transaction_id", name=op.f("uq_test_charges_transaction_id")),
    )
    op.create_table(
        "test_refunds",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("charge_id", sa.Uuid(), nullable=False),
        sa.Column("amount", money, nullable=False),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_test_refunds_currency")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_test_refunds_amount_not_negative")),
        sa.ForeignKeyConstraint(
            ["charge_id"], ["test_charges.id"], name=op.f("fk_test_refunds_charge_id_test_charges"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_refunds")),
        sa.UniqueConstraint("key", name=op.f("uq_test_refunds_key")),
    )
    op.create_index(op.f("ix_test_refunds_charge_id"), "test_refunds", ["charge_id"])

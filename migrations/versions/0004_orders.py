"""Orders, their lines, and their payments."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cart_id", sa.Uuid()),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("store_id", sa.Uuid()),
        sa.Column("status", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        sa.Column("total", sa.Numeric(precision=19, scale=4), nullable=False),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.Column("payment_method", sa.String(64)),
        sa.Column("payment_id", sa.Uuid()),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.Column("cancelled_at", sa.DateTime(timezone=True)),
        sa.Column("failed_at", sa.DateTime(timezone=True)),
        sa.Column("metadata", postgresql.JSONB()),
        sa.CheckConstraint("(status = 'CANCELLED') = (cancelled_at is not null)", name=op.f("ck_orders_cancelled_at_set")),
        sa.CheckConstraint("(status = 'COMPLETED') = (completed_at is not null)", name=op.f("ck_orders_completed_at_set")),
        sa.CheckConstraint("(status = 'FAILED') = (failed_at is not null)", name=op.f("ck_orders_failed_at_set")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_orders_currency")),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_orders_metadata_is_object")),
        sa.CheckConstraint("status in ('PENDING', 'COMPLETED', 'CANCELLED', 'FAILED')", name=op.f("ck_orders_status")),
        sa.CheckConstraint("total >= 0", name=op.f("ck_orders_total_not_negative")),
        sa.ForeignKeyConstraint(["cart_id"], ["carts.id"], name=op.f("fk_orders_cart_id_carts"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_orders_store_id_stores"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_orders_user_id_users"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("cart_id", name=op.f("uq_orders_cart_id")),
        sa.UniqueConstraint("user_id", "idempotency_key", name=op.f("uq_orders_user_id_idempotency_key")),
    )
    op.create_index("ix_orders_created_at_id", "orders", ["created_at", "id"])
    op.create_index("ix_orders_payment_id", "orders", ["payment_id"], postgresql_where=sa.text("payment_id is not null"))
    op.create_index("ix_orders_status_created_at_id", "orders", ["status", "created_at", "id"])
    op.create_index("ix_orders_store_id_created_at_id", "orders", ["store_id", "created_at", "id"])
    op.create_index("ix_orders_user_id_created_at_id", "orders", ["user_id", "created_at", "id"])
    op.create_table(
        "order_items",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("sku", sa.String(128)),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("price", sa.Numeric(precision=19, scale=4), nullable=False),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_order_items_currency")),
        sa.CheckConstraint("price >= 0", name=op.f("ck_order_items_price_not_negative")),
        sa.CheckConstraint("quantity between 1 and 1000", name=op.f("ck_order_items_quantity")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_items_order_id_orders"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_order_items_product_id_products"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_items")),
        sa.UniqueConstraint("order_id", "product_id", name=op.f("uq_order_items_order_id_product_id")),
    )
    op.create_index(op.f("ix_order_items_product_id"), "order_items", ["product_id"])
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=19, scale=4), nullable=False),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        sa.Column("provider", sa.String(50)),
        sa.Column("method", sa.String(64)),
        sa.Column("transaction_id", sa.String(255)),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("failure_code", sa.String(64)),
        sa.Column("failure_message", sa.String(500)),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.Column("failed_at", sa.DateTime(timezone=True)),
        sa.Column("refunded_at", sa.DateTime(timezone=True)),
        sa.Column("metadata", postgresql.JSONB()),
        sa.CheckConstraint(
            "(failure_code is null and failure_message is null) or status = 'FAILED'", name=op.f("ck_payments_failure_of_failed")
        ),
        sa.CheckConstraint("(status = 'FAILED') = (failed_at is not null)", name=op.f("ck_payments_failed_at_set")),
        sa.CheckConstraint("(status = 'REFUNDED') = (refunded_at is not null)", name=op.f("ck_payments_refunded_at_set")),
        sa.CheckConstraint("(status in ('COMPLETED', 'REFUNDED')) = (completed_at is not null)", name=op.f("ck_payments_completed_at_set")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_payments_currency")),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_payments_metadata_is_object")),
        sa.CheckConstraint("status in ('PENDING', 'COMPLETED', 'FAILED', 'REFUNDED')", name=op.f("ck_payments_status")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_payments_amount_not_negative")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_payments_order_id_orders"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("order_id", "idempotency_key", name=op.f("uq_payments_order_id_idempotency_key")),
    )
    op.create_index("ix_payments_created_at_id", "payments", ["created_at", "id"])
    op.create_index("ix_payments_order_id_created_at_id", "payments", ["order_id", "created_at", "id"])
    op.create_index("ix_payments_status_created_at_id", "payments", ["status", "created_at", "id"])
    op.create_index("uq_payments_completed", "payments", ["order_id"], unique=True, postgresql_where=sa.text("status = 'COMPLETED'"))
    op.create_index(
        "uq_payments_transaction_id_provider",
        "payments",
        ["transaction_id", "provider"],
        unique=True,
        postgresql_where=sa.text("transaction_id is not null"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_foreign_key(op.f("fk_orders_payment_id_payments"), "orders", "payments", ["payment_id"], ["id"], ondelete="RESTRICT")


def downgrade() -> None:
    op.drop_constraint("fk_orders_payment_id_payments", "orders", type_="foreignkey")
    op.drop_table("payments")
    op.drop_table("order_items")
    op.drop_table("orders")

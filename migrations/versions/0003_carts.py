"""Carts, their lines, and the attempts to recover them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "carts",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("is_deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("cart_token_hash", sa.String(64)),
        sa.Column("store_id", sa.Uuid()),
        sa.Column("status", sa.Text(), server_default=sa.text("'ACTIVE'"), nullable=False),
        sa.Column("total", sa.Numeric(precision=19, scale=4), server_default=sa.text("0"), nullable=False),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("converted_at", sa.DateTime(timezone=True)),
        sa.Column("metadata", postgresql.JSONB()),
        sa.CheckConstraint("(status = 'CONVERTED') = (converted_at is not null)", name=op.f("ck_carts_converted_at_set")),
        sa.CheckConstraint("cart_token_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_carts_cart_token_hash")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_carts_currency")),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_carts_metadata_is_object")),
        sa.CheckConstraint("status in ('ACTIVE', 'ABANDONED', 'CONVERTED', 'EXPIRED')", name=op.f("ck_carts_status")),
        sa.CheckConstraint("(is_deleted) = (deleted_at is not null)", name=op.f("ck_carts_deleted_at_set")),
        sa.CheckConstraint("total >= 0", name=op.f("ck_carts_total_not_negative")),
        sa.CheckConstraint("user_id is not null or cart_token_hash is not null", name=op.f("ck_carts_owner")),
        sa.CheckConstraint("version > 0", name=op.f("ck_carts_version_positive")),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_carts_store_id_stores"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_carts_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_carts")),
    )
    op.create_index("ix_carts_created_at_id", "carts", ["created_at", "id"])
    op.create_index(
        "ix_carts_idle", "carts", ["status", "updated_at"], postgresql_where=sa.text("status in ('ACTIVE', 'ABANDONED') and not is_deleted")
    )
    op.create_index("ix_carts_status_created_at_id", "carts", ["status", "created_at", "id"])
    op.create_index("ix_carts_store_id_created_at_id", "carts", ["store_id", "created_at", "id"])
    op.create_index("ix_carts_user_id_created_at_id", "carts", ["user_id", "created_at", "id"])
    op.create_index(
        "uq_carts_active_of_guest",
        "carts",
        ["cart_token_hash", "store_id"],
        unique=True,
        postgresql_where=sa.text("status = 'ACTIVE' and not is_deleted and cart_token_hash is not null"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_index(
        "uq_carts_active_of_user",
        "carts",
        ["user_id", "store_id"],
        unique=True,
        postgresql_where=sa.text("status = 'ACTIVE' and not is_deleted and user_id is not null"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "cart_items",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cart_id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("price", sa.Numeric(precision=19, scale=4), nullable=False),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_cart_items_currency")),
        sa.CheckConstraint("price >= 0", name=op.f("ck_cart_items_price_not_negative")),
        sa.CheckConstraint("quantity between 1 and 1000", name=op.f("ck_cart_items_quantity")),
        sa.ForeignKeyConstraint(["cart_id"], ["carts.id"], name=op.f("fk_cart_items_cart_id_carts"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_cart_items_product_id_products"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cart_items")),
        sa.UniqueConstraint("cart_id", "product_id", name=op.f("uq_cart_items_cart_id_product_id")),
    )
    op.create_index(op.f("ix_cart_items_product_id"), "cart_items", ["product_id"])
    op.create_table(
        "recovery_events",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cart_id", sa.Uuid(), nullable=False),
        sa.Column("store_id", sa.Uuid()),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("session_id", sa.Uuid()),
        sa.Column("event_type", sa.String(128), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        sa.Column("outcome", sa.String(255)),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("metadata", postgresql.JSONB()),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_recovery_events_metadata_is_object")),
        sa.CheckConstraint("status in ('PENDING', 'SUCCESS', 'FAILED', 'IGNORED')", name=op.f("ck_recovery_events_status")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_recovery_events_attempts_not_negative")),
        sa.ForeignKeyConstraint(["cart_id"], ["carts.id"], name=op.f("fk_recovery_events_cart_id_carts"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["user_sessions.id"], name=op.f("fk_recovery_events_session_id_user_sessions"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_recovery_events_store_id_stores"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_recovery_events_user_id_users"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_events")),
    )
    op.create_index("ix_recovery_events_cart_id_created_at_id", "recovery_events", ["cart_id", "created_at", "id"])
    op.create_index("ix_recovery_events_created_at_id", "recovery_events", ["created_at", "id"])
    op.create_index("ix_recovery_events_session_id", "recovery_events", ["session_id"], postgresql_where=sa.text("session_id is not null"))
    op.create_index("ix_recovery_events_status_created_at_id", "recovery_events", ["status", "created_at", "id"])
    op.create_index("ix_recovery_events_store_id_created_at_id", "recovery_events", ["store_id", "created_at", "id"])
    op.create_index("ix_recovery_events_user_id", "recovery_events", ["user_id"], postgresql_where=sa.text("user_id is not null"))
    op.create_index(
        "uq_recovery_events_pending", "recovery_events", ["cart_id"], unique=True, postgresql_where=sa.text("status = 'PENDING'")
    )


def downgrade() -> None:
    op.drop_table("recovery_events")
    op.drop_table("cart_items")
    op.drop_table("carts")

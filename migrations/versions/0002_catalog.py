"""Products, the stores that sell them, and their inventory."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "products",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("is_deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("price", sa.Numeric(precision=19, scale=4), nullable=False),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.Column("sku", sa.String(128)),
        sa.Column("image_url", sa.String(2048)),
        sa.Column("category", sa.String(100)),
        sa.Column("status", sa.Text(), server_default=sa.text("'ACTIVE'"), nullable=False),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("updated_by", sa.Uuid()),
        sa.Column("metadata", postgresql.JSONB()),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_products_currency")),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_products_metadata_is_object")),
        sa.CheckConstraint("status <> 'DELETED' or is_deleted", name=op.f("ck_products_status_deleted")),
        sa.CheckConstraint("status in ('ACTIVE', 'INACTIVE', 'ARCHIVED', 'DELETED')", name=op.f("ck_products_status")),
        sa.CheckConstraint("(is_deleted) = (deleted_at is not null)", name=op.f("ck_products_deleted_at_set")),
        sa.CheckConstraint("price >= 0", name=op.f("ck_products_price_not_negative")),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_products_created_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["updated_by"], ["users.id"], name=op.f("fk_products_updated_by_users"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
    )
    op.create_index("ix_products_category_created_at_id", "products", ["category", "created_at", "id"])
    op.create_index("ix_products_created_at_id", "products", ["created_at", "id"])
    op.create_index("ix_products_created_by", "products", ["created_by"], postgresql_where=sa.text("created_by is not null"))
    op.create_index(
        "ix_products_public", "products", ["created_at", "id"], postgresql_where=sa.text("status = 'ACTIVE' and not is_deleted")
    )
    op.create_index("ix_products_status_created_at_id", "products", ["status", "created_at", "id"])
    op.create_index("ix_products_updated_by", "products", ["updated_by"], postgresql_where=sa.text("updated_by is not null"))
    op.create_index("uq_products_sku", "products", ["sku"], unique=True, postgresql_where=sa.text("not is_deleted"))
    op.create_table(
        "product_stores",
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("store_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_product_stores_product_id_products"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_product_stores_store_id_stores"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("product_id", "store_id", name=op.f("pk_product_stores")),
    )
    op.create_index("ix_product_stores_store_id_product_id", "product_stores", ["store_id", "product_id"])
    op.create_table(
        "inventory",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("on_hand", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("available", sa.Integer(), sa.Computed("on_hand - reserved", persisted=False), nullable=False),
        sa.CheckConstraint("on_hand >= 0", name=op.f("ck_inventory_on_hand_not_negative")),
        sa.CheckConstraint("reserved <= on_hand", name=op.f("ck_inventory_reserved_on_hand")),
        sa.CheckConstraint("reserved >= 0", name=op.f("ck_inventory_reserved_not_negative")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_inventory_product_id_products"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inventory")),
        sa.UniqueConstraint("product_id", name=op.f("uq_inventory_product_id")),
    )


def downgrade() -> None:
    op.drop_table("inventory")
    op.drop_table("product_stores")
    op.drop_table("products")

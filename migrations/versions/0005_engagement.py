"""Features of carts, notifications, webhooks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "features",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cart_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.Column("version", sa.String(32), server_default=sa.text("'1.0'"), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("ttl", sa.Integer()),
        sa.Column("metadata", postgresql.JSONB()),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_features_metadata_is_object")),
        sa.CheckConstraint("ttl > 0", name=op.f("ck_features_ttl_positive")),
        sa.ForeignKeyConstraint(["cart_id"], ["carts.id"], name=op.f("fk_features_cart_id_carts"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_features")),
        sa.UniqueConstraint("cart_id", "name", "version", name=op.f("uq_features_cart_id_name_version")),
    )
    op.create_index("ix_features_created_at_id", "features", ["created_at", "id"])
    op.create_index("ix_features_version_created_at_id", "features", ["version", "created_at", "id"])
    op.create_table(
        "notifications",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("message", sa.String(1000), nullable=False),
        sa.Column("read", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True)),
        sa.Column("priority", sa.Text(), server_default=sa.text("'NORMAL'"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("metadata", postgresql.JSONB()),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_notifications_metadata_is_object")),
        sa.CheckConstraint("priority in ('LOW', 'NORMAL', 'HIGH')", name=op.f("ck_notifications_priority")),
        sa.CheckConstraint("(read) = (read_at is not null)", name=op.f("ck_notifications_read_at_set")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_notifications_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index("ix_notifications_created_at_id", "notifications", ["created_at", "id"])
    op.create_index("ix_notifications_expiring", "notifications", ["expires_at"], postgresql_where=sa.text("expires_at is not null"))
    op.create_index("ix_notifications_unread", "notifications", ["user_id", "created_at", "id"], postgresql_where=sa.text("not read"))
    op.create_index("ix_notifications_user_id_created_at_id", "notifications", ["user_id", "created_at", "id"])
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("store_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("event_type", sa.String(128), nullable=False),
        sa.Column("secret", sa.String(255), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("failure_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_triggered_at", sa.DateTime(timezone=True)),
        sa.Column("metadata", postgresql.JSONB()),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_webhooks_metadata_is_object")),
        sa.CheckConstraint("failure_count >= 0", name=op.f("ck_webhooks_failure_count_not_negative")),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_webhooks_store_id_stores"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index("ix_webhooks_active", "webhooks", ["store_id", "event_type"], postgresql_where=sa.text("is_active"))
    op.create_index("ix_webhooks_created_at_id", "webhooks", ["created_at", "id"])
    op.create_index("ix_webhooks_store_id_created_at_id", "webhooks", ["store_id", "created_at", "id"])


def downgrade() -> None:
    op.drop_table("webhooks")
    op.drop_table("notifications")
    op.drop_table("features")

"""What was delivered to webhooks, and their secrets' rotation."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"

EVENTS = (
    "event_type in ('ORDER_CREATED', 'ORDER_COMPLETED', 'ORDER_CANCELLED', 'ORDER_REFUNDED', 'CART_ABANDONED', 'CART_RECOVERED', "
    "'PRODUCT_UPDATED', 'INVENTORY_LOW')"
)


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("previous_secret", sa.String(255)))
    op.add_column("webhooks", sa.Column("previous_secret_expires_at", sa.DateTime(timezone=True)))
    op.alter_column("webhooks", "event_type", type_=sa.Text())
    op.create_check_constraint(op.f("ck_webhooks_event_type"), "webhooks", EVENTS)
    op.create_check_constraint(
        op.f("ck_webhooks_previous_secret_expires_at_set"),
        "webhooks",
        "(previous_secret is not null) = (previous_secret_expires_at is not null)",
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True)),
        sa.Column("response_status", sa.Integer()),
        sa.Column("duration_ms", sa.Integer()),
        sa.Column("error", sa.String(255)),
        sa.Column("delivered_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(EVENTS, name=op.f("ck_webhook_deliveries_event_type")),
        sa.CheckConstraint("status in ('PENDING', 'DELIVERED', 'FAILED')", name=op.f("ck_webhook_deliveries_status")),
        sa.CheckConstraint("(status = 'PENDING') = (next_attempt_at is not null)", name=op.f("ck_webhook_deliveries_next_attempt_at_set")),
        sa.CheckConstraint("(status = 'DELIVERED') = (delivered_at is not null)", name=op.f("ck_webhook_deliveries_delivered_at_set")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_webhook_deliveries_attempts_not_negative")),
        sa.CheckConstraint("duration_ms >= 0", name=op.f("ck_webhook_deliveries_duration_ms_not_negative")),
        sa.CheckConstraint("jsonb_typeof(payload) = 'object'", name=op.f("ck_webhook_deliveries_payload_is_object")),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_webhook_deliveries_webhook_id_webhooks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint("webhook_id", "event_id", name=op.f("uq_webhook_deliveries_webhook_id_event_id")),
    )
    op.create_index("ix_webhook_deliveries_created_at_id", "webhook_deliveries", ["created_at", "id"])
    op.create_index("ix_webhook_deliveries_webhook_id_created_at_id", "webhook_deliveries", ["webhook_id", "created_at", "id"])
    op.create_index("ix_webhook_deliveries_due", "webhook_deliveries", ["next_attempt_at"], postgresql_where=sa.text("status = 'PENDING'"))


def downgrade() -> None:
    op.drop_table("webhook_deliveries")
    op.drop_constraint(op.f("ck_webhooks_previous_secret_expires_at_set"), "webhooks", type_="check")
    op.drop_constraint(op.f("ck_webhooks_event_type"), "webhooks", type_="check")
    op.alter_column("webhooks", "event_type", type_=sa.String(128))
    op.drop_column("webhooks", "previous_secret_expires_at")
    op.drop_column("webhooks", "previous_secret")

"""Winning back carts that were left: when they are, who is written to and who not, and what became of it."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

FORMER = "status in ('PENDING', 'SUCCESS', 'FAILED', 'IGNORED')"
STATUSES = "status in ('PENDING', 'SENT', 'OPENED', 'RECOVERED', 'EXPIRED', 'SUPPRESSED', 'FAILED')"
OPEN = "status in ('PENDING', 'SENT', 'OPENED')"
OPEN_CART = "status in ('ACTIVE', 'ABANDONED') and not is_deleted"
MOMENTS = ("sent_at", "opened_at", "expires_at", "recovered_at")
EVENTS = "recovery_events"


def upgrade() -> None:
    op.add_column("store_settings", sa.Column("cart_idle_minutes", sa.Integer(), server_default=sa.text("60")))
    op.add_column("store_settings", sa.Column("recovery_days", sa.Integer(), server_default=sa.text("7"), nullable=False))
    op.create_check_constraint(op.f("ck_store_settings_cart_idle_minutes"), "store_settings", "cart_idle_minutes between 5 and 43200")
    op.create_check_constraint(op.f("ck_store_settings_recovery_days"), "store_settings", "recovery_days between 1 and 30")
    op.create_table(
        "mail_opt_outs",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("address_hash", sa.String(64), nullable=False),
        sa.CheckConstraint("address_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_mail_opt_outs_address_hash")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_opt_outs")),
        sa.UniqueConstraint("address_hash", name=op.f("uq_mail_opt_outs_address_hash")),
    )
    op.create_index("ix_mail_opt_outs_created_at_id", "mail_opt_outs", ["created_at", "id"])
    op.add_column("carts", sa.Column("email", sa.String(254)))
    user, guest = (sa.text(f"{OPEN_CART} and {owner} is not null") for owner in ("user_id", "cart_token_hash"))
    op.create_index("ix_carts_open_of_user", "carts", ["user_id", "store_id"], postgresql_where=user)
    op.create_index("ix_carts_open_of_guest", "carts", ["cart_token_hash"], postgresql_where=guest)
    _widen_events()


def _widen_events() -> None:
    op.drop_constraint(op.f("ck_recovery_events_status"), EVENTS, type_="check")
    op.execute("update recovery_events set status = 'SUPPRESSED' where status in ('SUCCESS', 'IGNORED')")
    op.create_check_constraint(op.f("ck_recovery_events_status"), EVENTS, STATUSES)
    op.add_column(EVENTS, sa.Column("recipient_hash", sa.String(64)))
    for name in MOMENTS:
        op.add_column(EVENTS, sa.Column(name, sa.DateTime(timezone=True)))
    op.add_column(EVENTS, sa.Column("order_id", sa.Uuid()))
    op.add_column(EVENTS, sa.Column("recovered_amount", sa.Numeric(19, 4)))
    op.add_column(EVENTS, sa.Column("currency", sa.String(3)))
    op.create_foreign_key(op.f("fk_recovery_events_order_id_orders"), EVENTS, "orders", ["order_id"], ["id"], ondelete="SET NULL")
    for name, condition in (
        ("recipient_hash", "recipient_hash ~ '^[0-9a-f]{64}$'"),
        ("recovered_at_set", "(status = 'RECOVERED') = (recovered_at is not null)"),
        ("recovered_amount_set", "(recovered_amount is null) = (recovered_at is null)"),
        ("amount_has_currency", "(recovered_amount is null) = (currency is null)"),
        ("recovered_amount_not_negative", "recovered_amount >= 0"),
    ):
        op.create_check_constraint(op.f(f"ck_recovery_events_{name}"), EVENTS, condition)
    known = sa.text(f"{OPEN} and recipient_hash is not null")
    op.create_index("uq_recovery_events_open", EVENTS, ["store_id", "recipient_hash"], unique=True, postgresql_where=known)
    op.create_index("ix_recovery_events_recipient", EVENTS, ["store_id", "recipient_hash", "created_at"])
    op.create_index("ix_recovery_events_expiring", EVENTS, ["expires_at"], postgresql_where=sa.text(OPEN))
    op.create_index("ix_recovery_events_order_id", EVENTS, ["order_id"], postgresql_where=sa.text("order_id is not null"))


def downgrade() -> None:
    op.drop_constraint(op.f("ck_recovery_events_status"), EVENTS, type_="check")
    for name in ("recipient_hash", *MOMENTS, "order_id", "recovered_amount", "currency"):
        op.execute(f"alter table recovery_events drop column {name} cascade")
    op.execute("update recovery_events set status = 'IGNORED' where status not in ('PENDING', 'FAILED')")
    op.create_check_constraint(op.f("ck_recovery_events_status"), EVENTS, FORMER)
    op.drop_index("ix_carts_open_of_user", "carts")
    op.drop_index("ix_carts_open_of_guest", "carts")
    op.drop_column("carts", "email")
    op.drop_table("mail_opt_outs")
    op.drop_column("store_settings", "recovery_days")
    op.drop_column("store_settings", "cart_idle_minutes")

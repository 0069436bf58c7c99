"""Money that was set aside and is let go of, and payments that staff have brought to their end."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

KINDS = (
    "'CREATED', 'RESERVED', 'AUTHORIZED', 'CHARGED', 'DECLINED', 'HELD', 'COMPLETED', 'FAILED', 'EXPIRED', 'CANCELLED', 'REFUNDED', "
    "'REFUND_FAILED', 'RESTOCKED'"
)
MORE = KINDS.replace("'HELD'", "'VOIDED', 'HELD', 'RESOLVED'")


def upgrade() -> None:
    op.add_column("payments", sa.Column("voiding_at", sa.DateTime(timezone=True)))
    op.create_check_constraint(op.f("ck_payments_voided_by_hand"), "payments", "voiding_at is null or capture = 'MANUAL'")
    _allow(MORE)


def downgrade() -> None:
    op.execute("alter table order_events disable trigger order_events_append_only")
    op.execute("delete from order_events where kind in ('VOIDED', 'RESOLVED')")
    op.execute("alter table order_events enable trigger order_events_append_only")
    _allow(KINDS)
    op.drop_column("payments", "voiding_at")


def _allow(kinds: str) -> None:
    op.drop_constraint(op.f("ck_order_events_kind"), "order_events", type_="check")
    op.create_check_constraint(op.f("ck_order_events_kind"), "order_events", f"kind in ({kinds})")

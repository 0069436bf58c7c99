"""Numbers that people call orders by."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

NUMBER_ALL = """
with numbered as (select id, store_id, row_number() over (partition by store_id order by created_at, id) as number from orders),
counted as (insert into order_counters (store_id, last) select store_id, max(number) from numbered group by store_id)
update orders set number = numbered.number from numbered where numbered.id = orders.id
"""


def upgrade() -> None:
    op.create_table(
        "order_counters",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("store_id", sa.Uuid()),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.CheckConstraint("last >= 0", name=op.f("ck_order_counters_last_not_negative")),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_order_counters_store_id_stores"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_counters")),
        sa.UniqueConstraint("store_id", name=op.f("uq_order_counters_store_id"), postgresql_nulls_not_distinct=True),
    )
    op.add_column("orders", sa.Column("number", sa.Integer()))
    op.create_check_constraint(op.f("ck_orders_number_positive"), "orders", "number > 0")
    op.execute(NUMBER_ALL)
    op.create_index(
        "uq_orders_store_id_number",
        "orders",
        ["store_id", "number"],
        unique=True,
        postgresql_where=sa.text("number is not null"),
        postgresql_nulls_not_distinct=True,
    )


def downgrade() -> None:
    op.drop_column("orders", "number")
    op.drop_table("order_counters")

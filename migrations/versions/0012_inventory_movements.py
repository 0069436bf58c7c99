"""The ledger of stock, and what happens when a product is out of stock."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

FUNCTIONS = (
    """create function follow_inventory_movement() returns trigger language plpgsql as $$
begin
    update inventory set on_hand = on_hand + new.quantity, updated_at = now() where id = new.inventory_id;
    return null;
end $$""",
    """create function record_inventory_movement() returns trigger language plpgsql as $$
begin
    insert into inventory_movements (inventory_id, kind, quantity, reason) values (
        new.id, 'ADJUSTMENT', new.on_hand - coalesce(old.on_hand, 0), case tg_op when 'INSERT' then 'initial stock' else 'direct change' end
    );
    return null;
end $$""",
    """create function refuse_inventory_movement_change() returns trigger language plpgsql as $$
begin
    if tg_op <> 'TRUNCATE' or exists (select from inventory where on_hand <> 0) then
        raise exception 'inventory movements are never changed' using errcode = 'restrict_violation';
    end if;
    return null;
end $$""",
)
TRIGGERS = (
    """create trigger stock_follows after insert on inventory_movements
    for each row when (pg_trigger_depth() = 0) execute function follow_inventory_movement()""",
    """create trigger movements_stay before update or delete on inventory_movements
    for each row when (pg_trigger_depth() = 0) execute function refuse_inventory_movement_change()""",
    """create trigger movements_stay_whole after truncate on inventory_movements
    for each statement execute function refuse_inventory_movement_change()""",
    """create trigger first_stock_is_recorded after insert on inventory
    for each row when (new.on_hand <> 0 and pg_trigger_depth() = 0) execute function record_inventory_movement()""",
    """create trigger stock_is_recorded after update of on_hand on inventory
    for each row when (new.on_hand <> old.on_hand and pg_trigger_depth() = 0) execute function record_inventory_movement()""",
)


def upgrade() -> None:
    _replace_available("greatest(on_hand - reserved, 0)")
    op.add_column("inventory", sa.Column("policy", sa.Text(), server_default=sa.text("'DENY'"), nullable=False))
    op.create_check_constraint(op.f("ck_inventory_policy"), "inventory", "policy in ('DENY', 'CONTINUE', 'UNTRACKED')")
    _replace_check("ck_inventory_on_hand_not_negative", "on_hand >= 0 or policy = 'CONTINUE'")
    _replace_check("ck_inventory_reserved_on_hand", "reserved <= on_hand or policy <> 'DENY'")
    op.create_table(
        "inventory_movements",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("inventory_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(255)),
        sa.Column("order_id", sa.Uuid()),
        sa.Column("user_id", sa.Uuid()),
        sa.CheckConstraint("kind in ('ADJUSTMENT', 'SALE', 'RETURN')", name=op.f("ck_inventory_movements_kind")),
        sa.CheckConstraint("quantity <> 0", name=op.f("ck_inventory_movements_quantity_not_zero")),
        sa.CheckConstraint("kind <> 'SALE' or quantity < 0", name=op.f("ck_inventory_movements_sale_takes")),
        sa.CheckConstraint("kind <> 'RETURN' or quantity > 0", name=op.f("ck_inventory_movements_return_gives")),
        sa.ForeignKeyConstraint(
            ["inventory_id"], ["inventory.id"], name=op.f("fk_inventory_movements_inventory_id_inventory"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_inventory_movements_order_id_orders"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_inventory_movements_user_id_users"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inventory_movements")),
    )
    op.create_index("ix_inventory_movements_inventory_id_created_at_id", "inventory_movements", ["inventory_id", "created_at", "id"])
    for column in ("order_id", "user_id"):
        where = sa.text(f"{column} is not null")
        op.create_index(f"ix_inventory_movements_{column}", "inventory_movements", [column], postgresql_where=where)
    op.execute(
        "insert into inventory_movements (inventory_id, kind, quantity, reason) "
        "select id, 'ADJUSTMENT', on_hand, 'initial stock' from inventory where on_hand <> 0"
    )
    for statement in FUNCTIONS + TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("inventory_movements")
    for trigger in ("first_stock_is_recorded", "stock_is_recorded"):
        op.execute(f"drop trigger {trigger} on inventory")
    for function in ("follow_inventory_movement", "record_inventory_movement", "refuse_inventory_movement_change"):
        op.execute(f"drop function {function}")
    _replace_available("on_hand - reserved")
    _replace_check("ck_inventory_reserved_on_hand", "reserved <= on_hand")
    _replace_check("ck_inventory_on_hand_not_negative", "on_hand >= 0")
    op.drop_column("inventory", "policy")


def _replace_check(name: str, condition: str) -> None:
    op.drop_constraint(op.f(name), "inventory", type_="check")
    op.create_check_constraint(op.f(name), "inventory", condition)


def _replace_available(expression: str) -> None:
    """PostgreSQL cannot alter a virtual column of a table with checks."""
    op.drop_column("inventory", "available")
    op.add_column("inventory", sa.Column("available", sa.Integer(), sa.Computed(expression, persisted=False), nullable=False))

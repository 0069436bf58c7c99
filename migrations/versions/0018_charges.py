"""Vouchers, shipping and taxes: what stores ask for, and each amount of carts, orders and their lines."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

MONEY = sa.Numeric(19, 4)
PERCENT = sa.Numeric()
AMOUNTS = ("discount", "shipping", "tax", "included_tax")
BORNE = ("discount", "tax", "included_tax")
TOTALS = {
    "items_total_not_negative": "items_total >= 0",
    **{f"{name}_not_negative": f"{name} >= 0" for name in AMOUNTS},
    "total_adds_up": "total = items_total - discount + shipping + tax",
    "discount_of_items": "discount <= items_total",
    "tax_once": "tax = 0 or included_tax = 0",
}
LINES = {
    **{f"{name}_not_negative": f"{name} >= 0" for name in BORNE},
    "discount_of_price": "discount <= price * quantity",
    "tax_once": "tax = 0 or included_tax = 0",
}
SETTINGS = {
    "shipping_price_not_negative": "shipping_price >= 0",
    "free_shipping_from_not_negative": "free_shipping_from >= 0",
    "tax_rate": "tax_rate between 0 and 100",
}
PERMIT = "insert into role_permissions (role_id, resource, action) select id, 'vouchers', 'read' from roles where name = 'VIEWER'"


def upgrade() -> None:
    _make_vouchers()
    op.add_column("store_settings", sa.Column("shipping_price", MONEY, server_default=sa.text("0"), nullable=False))
    op.add_column("store_settings", sa.Column("free_shipping_from", MONEY))
    op.add_column("store_settings", sa.Column("tax_rate", PERCENT, server_default=sa.text("0"), nullable=False))
    op.add_column("store_settings", sa.Column("prices_include_tax", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    _check("store_settings", SETTINGS)
    for table in ("carts", "orders"):
        _add_amounts(table, ("items_total", *AMOUNTS))
        op.execute(f"update {table} set items_total = total")
        op.add_column(table, sa.Column("voucher_id", sa.Uuid()))
        op.add_column(table, sa.Column("voucher_code", sa.String(64)))
        rule = "SET NULL" if table == "carts" else "RESTRICT"
        op.create_foreign_key(op.f(f"fk_{table}_voucher_id_vouchers"), table, "vouchers", ["voucher_id"], ["id"], ondelete=rule)
        op.create_index(f"ix_{table}_voucher_id", table, ["voucher_id"], postgresql_where=sa.text("voucher_id is not null"))
        _check(table, TOTALS)
    op.alter_column("orders", "items_total", server_default=None)
    _check("carts", {"voucher_code_of_voucher": "voucher_id is null or voucher_code is not null"})
    _add_amounts("order_items", BORNE)
    _check("order_items", LINES)
    _make_redemptions()
    op.execute(PERMIT)


def _make_vouchers() -> None:
    op.create_table(
        "vouchers",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("store_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("percent", PERCENT),
        sa.Column("amount", MONEY),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.Column("minimum_amount", MONEY),
        sa.Column("max_uses", sa.Integer()),
        sa.Column("uses", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("once_per_user", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True)),
        sa.Column("ends_at", sa.DateTime(timezone=True)),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_by", sa.Uuid()),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_vouchers_currency")),
        sa.CheckConstraint("code = upper(code)", name=op.f("ck_vouchers_code_upper_case")),
        sa.CheckConstraint("(percent is null) <> (amount is null)", name=op.f("ck_vouchers_percent_or_amount")),
        sa.CheckConstraint("percent > 0 and percent <= 100", name=op.f("ck_vouchers_percent")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_vouchers_amount_positive")),
        sa.CheckConstraint("minimum_amount > 0", name=op.f("ck_vouchers_minimum_amount_positive")),
        sa.CheckConstraint("max_uses > 0", name=op.f("ck_vouchers_max_uses_positive")),
        sa.CheckConstraint("uses between 0 and coalesce(max_uses, uses)", name=op.f("ck_vouchers_uses")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_vouchers_dates")),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_vouchers_store_id_stores"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_vouchers_created_by_users"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vouchers")),
        sa.UniqueConstraint("store_id", "code", name=op.f("uq_vouchers_store_id_code")),
    )
    op.create_index("ix_vouchers_created_at_id", "vouchers", ["created_at", "id"])
    op.create_index("ix_vouchers_store_id_created_at_id", "vouchers", ["store_id", "created_at", "id"])
    op.create_index("ix_vouchers_created_by", "vouchers", ["created_by"], postgresql_where=sa.text("created_by is not null"))


def _make_redemptions() -> None:
    op.create_table(
        "voucher_redemptions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("voucher_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True)),
        *(
            sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_voucher_redemptions_{column}_{target.split('.')[0]}"), ondelete=rule)
            for column, target, rule in (
                ("voucher_id", "vouchers.id", "CASCADE"),
                ("order_id", "orders.id", "CASCADE"),
                ("user_id", "users.id", "RESTRICT"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voucher_redemptions")),
        sa.UniqueConstraint("order_id", name=op.f("uq_voucher_redemptions_order_id")),
    )
    op.create_index(op.f("ix_voucher_redemptions_voucher_id"), "voucher_redemptions", ["voucher_id"])
    op.create_index(op.f("ix_voucher_redemptions_user_id"), "voucher_redemptions", ["user_id"])
    op.create_index(
        "ix_voucher_redemptions_held", "voucher_redemptions", ["voucher_id", "user_id"], postgresql_where=sa.text("released_at is null")
    )


def _add_amounts(table: str, names: tuple[str, ...]) -> None:
    for name in names:
        op.add_column(table, sa.Column(name, MONEY, server_default=sa.text("0"), nullable=False))


def _check(table: str, checks: dict[str, str]) -> None:
    for name, condition in checks.items():
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def downgrade() -> None:
    op.execute("delete from role_permissions where resource = 'vouchers'")
    op.drop_table("voucher_redemptions")
    for name in BORNE:
        op.drop_column("order_items", name)
    for table in ("orders", "carts"):
        for name in ("voucher_id", "voucher_code", "items_total", *AMOUNTS):
            op.drop_column(table, name)
    for name in ("shipping_price", "free_shipping_from", "tax_rate", "prices_include_tax"):
        op.drop_column("store_settings", name)
    op.drop_table("vouchers")

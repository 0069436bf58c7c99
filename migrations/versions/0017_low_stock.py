"""At how many free pieces of a product its stores are told."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("store_settings", sa.Column("low_stock_threshold", sa.Integer(), server_default=sa.text("5")))
    op.create_check_constraint(op.f("ck_store_settings_low_stock_threshold_not_negative"), "store_settings", "low_stock_threshold >= 0")


def downgrade() -> None:
    op.drop_column("store_settings", "low_stock_threshold")

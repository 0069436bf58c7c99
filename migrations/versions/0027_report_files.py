"""Reports are made into files of a form, over a time, and removed after a while."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("format", sa.Text(), server_default=sa.text("'CSV'"), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True)),
        sa.Column("ends_at", sa.DateTime(timezone=True)),
        sa.Column("row_count", sa.Integer()),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
    ]


CHECKS = {
    "format": "format in ('CSV', 'JSON', 'PARQUET')",
    "period": "starts_at < ends_at",
    **{f"{name}_not_negative": f"{name} >= 0" for name in ("row_count", "size_bytes", "attempts")},
}


def upgrade() -> None:
    for column in columns():
        op.add_column("reports", column)
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_reports_{name}"), "reports", condition)


def downgrade() -> None:
    for column in columns():
        op.drop_column("reports", column.name)

"""Archives of what is known of a person."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"


def moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True))


def upgrade() -> None:
    op.create_table(
        "data_exports",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        sa.Column("url", sa.String(length=2048)),
        moment("generated_at"),
        sa.Column("error", sa.String(length=1000)),
        sa.Column("row_count", sa.Integer()),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        moment("leased_until"),
        moment("expires_at"),
        sa.CheckConstraint("status in ('PENDING', 'PROCESSING', 'READY', 'FAILED')", name=op.f("ck_data_exports_status")),
        sa.CheckConstraint("(status = 'READY') = (generated_at is not null)", name=op.f("ck_data_exports_generated_at_set")),
        sa.CheckConstraint("error is null or status = 'FAILED'", name=op.f("ck_data_exports_error_of_failed")),
        sa.CheckConstraint("row_count >= 0", name=op.f("ck_data_exports_row_count_not_negative")),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_data_exports_size_bytes_not_negative")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_data_exports_attempts_not_negative")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_data_exports_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_exports")),
    )
    op.create_index("ix_data_exports_user_id_created_at_id", "data_exports", ["user_id", "created_at", "id"])
    unfinished = sa.text("status in ('PENDING', 'PROCESSING')")
    op.create_index("uq_data_exports_unfinished", "data_exports", ["user_id"], unique=True, postgresql_where=unfinished)


def downgrade() -> None:
    op.drop_table("data_exports")

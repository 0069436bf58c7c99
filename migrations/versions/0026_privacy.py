"""Accounts that were deleted, of which traces may be left in ClickHouse."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.create_table(
        "account_erasures",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_account_erasures_user_id_users"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_erasures")),
        sa.UniqueConstraint("user_id", name=op.f("uq_account_erasures_user_id")),
    )
    op.create_index("ix_account_erasures_unfinished", "account_erasures", ["created_at"], postgresql_where=sa.text("finished_at is null"))


def downgrade() -> None:
    op.drop_table("account_erasures")

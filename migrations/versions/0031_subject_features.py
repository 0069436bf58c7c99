"""Features of a store's shoppers and products."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0031"
down_revision = "0030"

SUBJECTS = {"user_features": ("user_id", "users"), "product_features": ("product_id", "products")}


def upgrade() -> None:
    for table, (subject, parent) in SUBJECTS.items():
        op.create_table(
            table,
            sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
            sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
            sa.Column(subject, sa.Uuid(), nullable=False),
            sa.Column("store_id", sa.Uuid(), nullable=False),
            sa.Column("name", sa.String(128), nullable=False),
            sa.Column("value", postgresql.JSONB(), nullable=False),
            sa.Column("version", sa.String(32), server_default=sa.text("'1.0'"), nullable=False),
            sa.Column("ttl", sa.Integer()),
            sa.CheckConstraint("ttl > 0", name=op.f(f"ck_{table}_ttl_positive")),
            sa.ForeignKeyConstraint([subject], [f"{parent}.id"], name=op.f(f"fk_{table}_{subject}_{parent}"), ondelete="CASCADE"),
            sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f(f"fk_{table}_store_id_stores"), ondelete="CASCADE"),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        )
        op.create_index(op.f(f"ix_{table}_store_id"), table, ["store_id"])
        op.create_index(f"ix_{table}_latest", table, [subject, "store_id", "name", "version", "created_at"])


def downgrade() -> None:
    for table in SUBJECTS:
        op.drop_table(table)

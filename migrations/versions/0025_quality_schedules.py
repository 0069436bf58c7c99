"""Checks of the data that run by themselves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0024"

TYPES = ("NULL_CHECK", "DUPLICATE_CHECK", "RANGE_CHECK", "FORMAT_CHECK", "REFERENCE_CHECK", "CONSISTENCY_CHECK", "FRESHNESS_CHECK")


def upgrade() -> None:
    op.create_table(
        "quality_schedules",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("table_name", sa.String(128), nullable=False),
        sa.Column("column_name", sa.String(128)),
        sa.Column("check_type", sa.Text(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("interval_minutes", sa.Integer(), server_default=sa.text("1440"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("last_run_at", sa.DateTime(timezone=True)),
        sa.Column("next_run_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(f"check_type in ({', '.join(repr(name) for name in TYPES)})", name=op.f("ck_quality_schedules_check_type")),
        sa.CheckConstraint("interval_minutes between 5 and 44640", name=op.f("ck_quality_schedules_interval_minutes")),
        sa.CheckConstraint("jsonb_typeof(parameters) = 'object'", name=op.f("ck_quality_schedules_parameters_is_object")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quality_schedules")),
    )
    op.create_index("ix_quality_schedules_created_at_id", "quality_schedules", ["created_at", "id"])
    op.create_index("ix_quality_schedules_due", "quality_schedules", ["next_run_at"], postgresql_where=sa.text("enabled"))


def downgrade() -> None:
    op.drop_table("quality_schedules")

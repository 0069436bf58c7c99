"""What a check finds is noted once, until somebody resolves it."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_index(
        "uq_quality_anomalies_open_by_check",
        "quality_anomalies",
        ["type", "table_name", "column_name", "record_id", sa.text("(details ->> 'rule')")],
        unique=True,
        postgresql_where=sa.text("not resolved and validation_id is not null"),
        postgresql_nulls_not_distinct=True,
    )


def downgrade() -> None:
    op.drop_index("uq_quality_anomalies_open_by_check", "quality_anomalies")

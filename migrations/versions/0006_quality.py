"""Quality checks and anomalies, reconciliation and repairs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "quality_validations",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("table_name", sa.String(128), nullable=False),
        sa.Column("column_name", sa.String(128)),
        sa.Column("check_type", sa.Text(), nullable=False),
        sa.Column("check_name", sa.String(255), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'PASSED'"), nullable=False),
        sa.Column("severity", sa.Text(), server_default=sa.text("'MEDIUM'"), nullable=False),
        sa.Column("details", postgresql.JSONB()),
        sa.Column("affected_rows", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("executed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("execution_time", sa.Numeric(precision=12, scale=3)),
        sa.CheckConstraint(
            "check_type in ('NULL_CHECK', 'DUPLICATE_CHECK', 'RANGE_CHECK', 'FORMAT_CHECK', 'REFERENCE_CHECK', 'CONSISTENCY_CHECK')",
            name=op.f("ck_quality_validations_check_type"),
        ),
        sa.CheckConstraint("severity in ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')", name=op.f("ck_quality_validations_severity")),
        sa.CheckConstraint("status in ('PASSED', 'FAILED', 'WARNING', 'ERROR')", name=op.f("ck_quality_validations_status")),
        sa.CheckConstraint("affected_rows >= 0", name=op.f("ck_quality_validations_affected_rows_not_negative")),
        sa.CheckConstraint("execution_time >= 0", name=op.f("ck_quality_validations_execution_time_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quality_validations")),
    )
    op.create_index("ix_quality_validations_created_at_id", "quality_validations", ["created_at", "id"])
    op.create_index("ix_quality_validations_status_executed_at", "quality_validations", ["status", "executed_at"])
    op.create_index("ix_quality_validations_table_name_executed_at", "quality_validations", ["table_name", "executed_at"])
    op.create_table(
        "quality_anomalies",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("validation_id", sa.Uuid()),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("table_name", sa.String(128), nullable=False),
        sa.Column("column_name", sa.String(128)),
        sa.Column("record_id", sa.Text()),
        sa.Column("severity", sa.Text(), server_default=sa.text("'MEDIUM'"), nullable=False),
        sa.Column("details", postgresql.JSONB()),
        sa.Column("sample_data", postgresql.JSONB()),
        sa.Column("affected_rows", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("resolved", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        sa.Column("resolved_by", sa.Uuid()),
        sa.CheckConstraint("severity in ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')", name=op.f("ck_quality_anomalies_severity")),
        sa.CheckConstraint(
            "type in ('OUTLIER', 'MISSING_DATA', 'DUPLICATE', 'INCONSISTENT', 'INVALID_FORMAT', 'REFERENCE_ERROR')",
            name=op.f("ck_quality_anomalies_type"),
        ),
        sa.CheckConstraint("(resolved) = (resolved_at is not null)", name=op.f("ck_quality_anomalies_resolved_at_set")),
        sa.CheckConstraint("affected_rows >= 0", name=op.f("ck_quality_anomalies_affected_rows_not_negative")),
        sa.CheckConstraint("resolved_by is null or resolved", name=op.f("ck_quality_anomalies_resolved_by")),
        sa.ForeignKeyConstraint(["resolved_by"], ["users.id"], name=op.f("fk_quality_anomalies_resolved_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["validation_id"],
            ["quality_validations.id"],
            name=op.f("fk_quality_anomalies_validation_id_quality_validations"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quality_anomalies")),
    )
    op.create_index("ix_quality_anomalies_created_at_id", "quality_anomalies", ["created_at", "id"])
    op.create_index("ix_quality_anomalies_open", "quality_anomalies", ["created_at", "id"], postgresql_where=sa.text("not resolved"))
    op.create_index(
        "ix_quality_anomalies_resolved_by", "quality_anomalies", ["resolved_by"], postgresql_where=sa.text("resolved_by is not null")
    )
    op.create_index("ix_quality_anomalies_table_name_created_at_id", "quality_anomalies", ["table_name", "created_at", "id"])
    op.create_index("ix_quality_anomalies_type_created_at_id", "quality_anomalies", ["type", "created_at", "id"])
    op.create_index(
        "ix_quality_anomalies_validation_id", "quality_anomalies", ["validation_id"], postgresql_where=sa.text("validation_id is not null")
    )
    op.create_table(
        "reconciliation_rules",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("source_table", sa.String(128), nullable=False),
        sa.Column("target_table", sa.String(128), nullable=False),
        sa.Column("join_key", sa.String(128), nullable=False),
        sa.Column("source_columns", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("target_columns", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("tolerance", sa.Numeric(precision=9, scale=6), server_default=sa.text("0.01"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("schedule", sa.Text(), server_default=sa.text("'DAILY'"), nullable=False),
        sa.Column("last_run_at", sa.DateTime(timezone=True)),
        sa.Column("next_run_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("schedule in ('HOURLY', 'DAILY', 'WEEKLY')", name=op.f("ck_reconciliation_rules_schedule")),
        sa.CheckConstraint("cardinality(source_columns) = cardinality(target_columns)", name=op.f("ck_reconciliation_rules_columns_pair")),
        sa.CheckConstraint("tolerance between 0 and 1", name=op.f("ck_reconciliation_rules_tolerance")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_rules")),
        sa.UniqueConstraint("name", name=op.f("uq_reconciliation_rules_name")),
    )
    op.create_index("ix_reconciliation_rules_created_at_id", "reconciliation_rules", ["created_at", "id"])
    op.create_index("ix_reconciliation_rules_due", "reconciliation_rules", ["next_run_at"], postgresql_where=sa.text("enabled"))
    op.create_table(
        "reconciliation_executions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("records_checked", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("discrepancies", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("executed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("execution_time", sa.Numeric(precision=12, scale=3)),
        sa.Column("details", postgresql.JSONB()),
        sa.Column("error_message", sa.String(1000)),
        sa.CheckConstraint("status in ('PASSED', 'FAILED', 'WARNING', 'ERROR')", name=op.f("ck_reconciliation_executions_status")),
        sa.CheckConstraint("discrepancies >= 0", name=op.f("ck_reconciliation_executions_discrepancies_not_negative")),
        sa.CheckConstraint("execution_time >= 0", name=op.f("ck_reconciliation_executions_execution_time_not_negative")),
        sa.CheckConstraint("records_checked >= 0", name=op.f("ck_reconciliation_executions_records_checked_not_negative")),
        sa.ForeignKeyConstraint(
            ["rule_id"],
            ["reconciliation_rules.id"],
            name=op.f("fk_reconciliation_executions_rule_id_reconciliation_rules"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_executions")),
    )
    op.create_index("ix_reconciliation_executions_created_at_id", "reconciliation_executions", ["created_at", "id"])
    op.create_index("ix_reconciliation_executions_rule_id_created_at_id", "reconciliation_executions", ["rule_id", "created_at", "id"])
    op.create_index("ix_reconciliation_executions_status_executed_at", "reconciliation_executions", ["status", "executed_at"])
    op.create_table(
        "repair_operations",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("operation_id", sa.String(128), nullable=False),
        sa.Column("execution_id", sa.Uuid()),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.String(1000)),
        sa.Column("executed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("details", postgresql.JSONB()),
        sa.CheckConstraint("error is null or status = 'FAILED'", name=op.f("ck_repair_operations_error_of_failed")),
        sa.CheckConstraint("status in ('SUCCESS', 'FAILED')", name=op.f("ck_repair_operations_status")),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["reconciliation_executions.id"],
            name=op.f("fk_repair_operations_execution_id_reconciliation_executions"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repair_operations")),
    )
    op.create_index("ix_repair_operations_created_at_id", "repair_operations", ["created_at", "id"])
    op.create_index(
        "ix_repair_operations_execution_id", "repair_operations", ["execution_id"], postgresql_where=sa.text("execution_id is not null")
    )
    op.create_index("ix_repair_operations_operation_id_created_at_id", "repair_operations", ["operation_id", "created_at", "id"])


def downgrade() -> None:
    op.drop_table("repair_operations")
    op.drop_table("reconciliation_executions")
    op.drop_table("reconciliation_rules")
    op.drop_table("quality_anomalies")
    op.drop_table("quality_validations")

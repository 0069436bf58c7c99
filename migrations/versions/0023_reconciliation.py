"""Runs of reconciliation that go on where another process left off, one at a time per rule, and repairs that are made once."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

EXECUTIONS, REPAIRS = "reconciliation_executions", "repair_operations"
COUNTS = (("expected", sa.BigInteger()), *((kind, sa.BigInteger()) for kind in ("missing_in_target", "missing_in_source", "differing")))
UNFINISHED = sa.text("status in ('PENDING', 'RUNNING')")
CLAIM = "uq_repair_operations_execution_id_operation_id"


def upgrade() -> None:
    for name, kind in (*COUNTS, ("progress", sa.Integer()), ("attempts", sa.Integer())):
        op.add_column(EXECUTIONS, sa.Column(name, kind, server_default=sa.text("0"), nullable=False))
    op.add_column(EXECUTIONS, sa.Column("cursor", sa.String(64)))
    for name in ("leased_until", "finished_at"):
        op.add_column(EXECUTIONS, sa.Column(name, sa.DateTime(timezone=True)))
    for name in (*(name for name, _ in COUNTS), "attempts"):
        op.create_check_constraint(op.f(f"ck_{EXECUTIONS}_{name}_not_negative"), EXECUTIONS, f"{name} >= 0")
    op.create_check_constraint(op.f(f"ck_{EXECUTIONS}_progress"), EXECUTIONS, "progress between 0 and 100")
    _allow(EXECUTIONS, "'PENDING', 'RUNNING', 'PASSED', 'WARNING', 'FAILED', 'ERROR'")
    op.alter_column(EXECUTIONS, "status", server_default=sa.text("'PENDING'"))
    op.create_index("uq_reconciliation_executions_unfinished", EXECUTIONS, ["rule_id"], unique=True, postgresql_where=UNFINISHED)
    _allow(REPAIRS, "'PENDING', 'SUCCESS', 'FAILED'")
    op.drop_index("ix_repair_operations_execution_id", REPAIRS)
    known = sa.text("execution_id is not null")
    op.create_index(CLAIM, REPAIRS, ["execution_id", "operation_id"], unique=True, postgresql_where=known)
    op.create_index("ix_orders_updated_at_id", "orders", ["updated_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_orders_updated_at_id", "orders")
    op.drop_index(CLAIM, REPAIRS)
    known = sa.text("execution_id is not null")
    op.create_index("ix_repair_operations_execution_id", REPAIRS, ["execution_id"], postgresql_where=known)
    op.execute("delete from repair_operations where status = 'PENDING'")
    _allow(REPAIRS, "'SUCCESS', 'FAILED'")
    op.drop_index("uq_reconciliation_executions_unfinished", EXECUTIONS)
    op.execute("delete from reconciliation_executions where status in ('PENDING', 'RUNNING')")
    op.alter_column(EXECUTIONS, "status", server_default=None)
    _allow(EXECUTIONS, "'PASSED', 'FAILED', 'WARNING', 'ERROR'")
    for name in (*(name for name, _ in COUNTS), "progress", "attempts", "cursor", "leased_until", "finished_at"):
        op.drop_column(EXECUTIONS, name)


def _allow(table: str, statuses: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_status"), table, type_="check")
    op.create_check_constraint(op.f(f"ck_{table}_status"), table, f"status in ({statuses})")

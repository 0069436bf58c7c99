"""Checks of how fresh a table is, and an index of all runs by their time."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

BEFORE = ("NULL_CHECK", "DUPLICATE_CHECK", "RANGE_CHECK", "FORMAT_CHECK", "REFERENCE_CHECK", "CONSISTENCY_CHECK")


def upgrade() -> None:
    _allow((*BEFORE, "FRESHNESS_CHECK"))
    op.create_index("ix_quality_validations_executed_at_id", "quality_validations", ["executed_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_quality_validations_executed_at_id", "quality_validations")
    op.execute("delete from quality_validations where check_type = 'FRESHNESS_CHECK'")
    _allow(BEFORE)


def _allow(types: tuple[str, ...]) -> None:
    op.drop_constraint(op.f("ck_quality_validations_check_type"), "quality_validations")
    listed = ", ".join(f"'{name}'" for name in types)
    op.create_check_constraint(op.f("ck_quality_validations_check_type"), "quality_validations", sa.text(f"check_type in ({listed})"))

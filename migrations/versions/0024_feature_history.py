"""What features were before: each change of a value with its time, so that they can be read as they were."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.add_column("features", sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.create_check_constraint(op.f("ck_features_revision_positive"), "features", "revision > 0")
    op.create_table(
        "feature_history",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("feature_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.Column("ttl", sa.Integer()),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name=op.f("fk_feature_history_feature_id_features"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feature_history")),
        sa.UniqueConstraint("feature_id", "revision", name=op.f("uq_feature_history_feature_id_revision")),
    )
    history = "insert into feature_history (feature_id, revision, value, ttl, created_at)"
    op.execute(f"{history} select id, revision, value, ttl, updated_at from features")


def downgrade() -> None:
    op.drop_table("feature_history")
    op.drop_constraint(op.f("ck_features_revision_positive"), "features", type_="check")
    op.drop_column("features", "revision")

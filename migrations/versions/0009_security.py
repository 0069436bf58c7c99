"""What happens to the security of accounts, and the delays after failed sign-ins."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "sign_in_delays",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("key ~ '^[0-9a-f]{64}$'", name=op.f("ck_sign_in_delays_key")),
        sa.CheckConstraint("failures > 0", name=op.f("ck_sign_in_delays_failures_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_delays")),
        sa.UniqueConstraint("key", name=op.f("uq_sign_in_delays_key")),
    )
    op.create_index("ix_sign_in_delays_updated_at", "sign_in_delays", ["updated_at"])
    op.create_table(
        "security_events",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Uuid()),
        sa.Column("performed_by", sa.Uuid()),
        sa.Column("ip_address", sa.String(45)),
        sa.Column("user_agent", sa.String(500)),
        sa.Column("details", postgresql.JSONB()),
        sa.CheckConstraint("jsonb_typeof(details) = 'object'", name=op.f("ck_security_events_details_is_object")),
        sa.CheckConstraint(
            "type in ('SIGNED_UP', 'SIGNED_IN', 'SIGN_IN_FAILED', 'SIGNED_OUT', 'SESSION_REVOKED', 'SESSIONS_REVOKED', 'EMAIL_VERIFIED', "
            "'PASSWORD_CHANGED', 'PASSWORD_RESET_REQUESTED', 'PASSWORD_RESET', 'ROLE_ASSIGNED', 'ROLE_REVOKED', 'API_KEY_CREATED', "
            "'API_KEY_REVOKED')",
            name=op.f("ck_security_events_type"),
        ),
        sa.ForeignKeyConstraint(["performed_by"], ["users.id"], name=op.f("fk_security_events_performed_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["user_sessions.id"], name=op.f("fk_security_events_session_id_user_sessions"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_security_events_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_events")),
    )
    op.create_index("ix_security_events_created_at_id", "security_events", ["created_at", "id"])
    op.create_index(
        "ix_security_events_performed_by", "security_events", ["performed_by"], postgresql_where=sa.text("performed_by is not null")
    )
    op.create_index("ix_security_events_session_id", "security_events", ["session_id"], postgresql_where=sa.text("session_id is not null"))
    op.create_index("ix_security_events_user_id_created_at_id", "security_events", ["user_id", "created_at", "id"])


def downgrade() -> None:
    op.drop_table("security_events")
    op.drop_table("sign_in_delays")

"""One-time tokens that travel by mail."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "verifications",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("mails", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("mails_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(purpose = 'SIGN_UP') = (user_id is null)", name=op.f("ck_verifications_user_id_of_account")),
        sa.CheckConstraint("purpose in ('EMAIL_VERIFICATION', 'PASSWORD_RESET', 'SIGN_UP')", name=op.f("ck_verifications_purpose")),
        sa.CheckConstraint("token_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_verifications_token_hash")),
        sa.CheckConstraint("mails >= 0", name=op.f("ck_verifications_mails_not_negative")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_verifications_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verifications")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_verifications_token_hash")),
    )
    op.create_index("ix_verifications_expires_at", "verifications", ["expires_at"])
    op.create_index("ix_verifications_user_id", "verifications", ["user_id"], postgresql_where=sa.text("user_id is not null"))
    op.create_index("uq_verifications_email_purpose", "verifications", [sa.literal_column("lower(email)"), "purpose"], unique=True)


def downgrade() -> None:
    op.drop_table("verifications")

"""The stores, their settings and reports, the platform's configuration; users, roles, sessions and API keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "stores",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("is_deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("domain", sa.String(253), nullable=False),
        sa.Column("url", sa.String(2048)),
        sa.Column("owner_id", sa.Uuid()),
        sa.Column("status", sa.Text(), server_default=sa.text("'ACTIVE'"), nullable=False),
        sa.CheckConstraint("status <> 'DELETED' or is_deleted", name=op.f("ck_stores_status_deleted")),
        sa.CheckConstraint("status in ('ACTIVE', 'SUSPENDED', 'DELETED')", name=op.f("ck_stores_status")),
        sa.CheckConstraint("(is_deleted) = (deleted_at is not null)", name=op.f("ck_stores_deleted_at_set")),
        sa.CheckConstraint("domain = lower(domain)", name=op.f("ck_stores_domain_lower_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stores")),
    )
    op.create_index("ix_stores_created_at_id", "stores", ["created_at", "id"])
    op.create_index("ix_stores_owner_id", "stores", ["owner_id"], postgresql_where=sa.text("owner_id is not null"))
    op.create_index("ix_stores_status_created_at_id", "stores", ["status", "created_at", "id"])
    op.create_index("uq_stores_domain", "stores", ["domain"], unique=True, postgresql_where=sa.text("not is_deleted"))
    op.create_table(
        "store_settings",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("store_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.Column("timezone", sa.String(64), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("language", sa.String(35), server_default=sa.text("'en'"), nullable=False),
        sa.Column("config", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_store_settings_currency")),
        sa.CheckConstraint("jsonb_typeof(config) = 'object'", name=op.f("ck_store_settings_config_is_object")),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_store_settings_store_id_stores"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store_settings")),
        sa.UniqueConstraint("store_id", name=op.f("uq_store_settings_store_id")),
    )
    op.create_table(
        "config",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_config")),
        sa.UniqueConstraint("key", name=op.f("uq_config_key")),
    )
    op.create_table(
        "roles",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("display_name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("category", sa.String(64), server_default=sa.text("'functional'"), nullable=False),
        sa.Column("level", sa.Integer(), server_default=sa.text("5"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("parent_role_id", sa.Uuid()),
        sa.CheckConstraint("level >= 0", name=op.f("ck_roles_level_not_negative")),
        sa.CheckConstraint("parent_role_id <> id", name=op.f("ck_roles_parent_is_another")),
        sa.ForeignKeyConstraint(["parent_role_id"], ["roles.id"], name=op.f("fk_roles_parent_role_id_roles"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("name", name=op.f("uq_roles_name")),
    )
    op.create_index("ix_roles_created_at_id", "roles", ["created_at", "id"])
    op.create_index(op.f("ix_roles_parent_role_id"), "roles", ["parent_role_id"])
    op.create_table(
        "role_permissions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.Column("resource", sa.String(128), nullable=False),
        sa.Column("action", sa.String(128), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("conditions", postgresql.JSONB()),
        sa.CheckConstraint("jsonb_typeof(conditions) in ('object', 'array')", name=op.f("ck_role_permissions_conditions")),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_role_permissions_role_id_roles"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role_permissions")),
        sa.UniqueConstraint("role_id", "resource", "action", name=op.f("uq_role_permissions_role_id_resource_action")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("is_deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("username", sa.String(50), nullable=False),
        sa.Column("password_hash", sa.String(255)),
        sa.Column("first_name", sa.String(255)),
        sa.Column("last_name", sa.String(255)),
        sa.Column("name", sa.String(255)),
        sa.Column("image_url", sa.String(2048)),
        sa.Column("phone", sa.String(32)),
        sa.Column("status", sa.Text(), server_default=sa.text("'ACTIVE'"), nullable=False),
        sa.Column("email_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("phone_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True)),
        sa.Column("login_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("role_id", sa.Uuid()),
        sa.Column("role_assigned_at", sa.DateTime(timezone=True)),
        sa.Column("role_assigned_by", sa.Uuid()),
        sa.Column("role_revoked_at", sa.DateTime(timezone=True)),
        sa.Column("role_revoked_by", sa.Uuid()),
        sa.Column("role_expires_at", sa.DateTime(timezone=True)),
        sa.Column("store_id", sa.Uuid()),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("updated_by", sa.Uuid()),
        sa.Column("metadata", postgresql.JSONB()),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_users_metadata_is_object")),
        sa.CheckConstraint("status <> 'DELETED' or is_deleted", name=op.f("ck_users_status_deleted")),
        sa.CheckConstraint("status in ('ACTIVE', 'BANNED', 'INACTIVE', 'DELETED')", name=op.f("ck_users_status")),
        sa.CheckConstraint("(is_deleted) = (deleted_at is not null)", name=op.f("ck_users_deleted_at_set")),
        sa.CheckConstraint("login_count >= 0", name=op.f("ck_users_login_count_not_negative")),
        sa.CheckConstraint("role_revoked_by is null or role_revoked_at is not null", name=op.f("ck_users_role_revoked_by")),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_users_created_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["role_assigned_by"], ["users.id"], name=op.f("fk_users_role_assigned_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_users_role_id_roles"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["role_revoked_by"], ["users.id"], name=op.f("fk_users_role_revoked_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_users_store_id_stores"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["updated_by"], ["users.id"], name=op.f("fk_users_updated_by_users"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index("ix_users_created_at_id", "users", ["created_at", "id"])
    op.create_index("ix_users_created_by", "users", ["created_by"], postgresql_where=sa.text("created_by is not null"))
    op.create_index("ix_users_role_assigned_by", "users", ["role_assigned_by"], postgresql_where=sa.text("role_assigned_by is not null"))
    op.create_index("ix_users_role_id_created_at_id", "users", ["role_id", "created_at", "id"])
    op.create_index("ix_users_role_revoked_by", "users", ["role_revoked_by"], postgresql_where=sa.text("role_revoked_by is not null"))
    op.create_index("ix_users_status_created_at_id", "users", ["status", "created_at", "id"])
    op.create_index("ix_users_store_id_created_at_id", "users", ["store_id", "created_at", "id"])
    op.create_index("ix_users_updated_by", "users", ["updated_by"], postgresql_where=sa.text("updated_by is not null"))
    op.create_index("uq_users_email", "users", [sa.literal_column("lower(email)")], unique=True, postgresql_where=sa.text("not is_deleted"))
    op.create_index(
        "uq_users_username", "users", [sa.literal_column("lower(username)")], unique=True, postgresql_where=sa.text("not is_deleted")
    )
    op.create_table(
        "user_sessions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("ip_address", sa.String(45)),
        sa.Column("user_agent", sa.String(500)),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("last_accessed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("end_reason", sa.Text()),
        sa.CheckConstraint(
            "end_reason in ('SIGNED_OUT', 'REVOKED', 'EXPIRED', 'IDLE_TIMEOUT', 'CONCURRENT_LIMIT', 'ROTATED', "
            "'CREDENTIALS_CHANGED', 'SUSPICIOUS_ACTIVITY', 'ACCOUNT_CLOSED')",
            name=op.f("ck_user_sessions_end_reason"),
        ),
        sa.CheckConstraint("token_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_user_sessions_token_hash")),
        sa.CheckConstraint("(not is_active) = (ended_at is not null)", name=op.f("ck_user_sessions_ended_at_set")),
        sa.CheckConstraint("end_reason is null or ended_at is not null", name=op.f("ck_user_sessions_end_reason_of_ended")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_sessions_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_user_sessions_token_hash")),
    )
    op.create_index("ix_user_sessions_created_at_id", "user_sessions", ["created_at", "id"])
    op.create_index("ix_user_sessions_ended", "user_sessions", ["ended_at"], postgresql_where=sa.text("not is_active"))
    op.create_index("ix_user_sessions_expiring", "user_sessions", ["expires_at"], postgresql_where=sa.text("is_active"))
    op.create_index("ix_user_sessions_user_id_created_at_id", "user_sessions", ["user_id", "created_at", "id"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("key_hash", sa.String(255), nullable=False),
        sa.Column("key_identifier", sa.String(64), nullable=False),
        sa.Column("key_preview", sa.String(64), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("store_id", sa.Uuid()),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'ACTIVE'"), nullable=False),
        sa.Column("is_active", sa.Boolean(), sa.Computed("status = 'ACTIVE'", persisted=False), nullable=False),
        sa.Column("usage_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rate_limit", sa.Integer(), server_default=sa.text("1000"), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_by", sa.Uuid()),
        sa.CheckConstraint("(status = 'REVOKED') = (revoked_at is not null)", name=op.f("ck_api_keys_revoked_at_set")),
        sa.CheckConstraint("key_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_api_keys_key_hash")),
        sa.CheckConstraint("status in ('ACTIVE', 'REVOKED', 'EXPIRED')", name=op.f("ck_api_keys_status")),
        sa.CheckConstraint("rate_limit > 0", name=op.f("ck_api_keys_rate_limit_positive")),
        sa.CheckConstraint("revoked_by is null or revoked_at is not null", name=op.f("ck_api_keys_revoked_by")),
        sa.CheckConstraint("usage_count >= 0", name=op.f("ck_api_keys_usage_count_not_negative")),
        sa.ForeignKeyConstraint(["revoked_by"], ["users.id"], name=op.f("fk_api_keys_revoked_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_api_keys_store_id_stores"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_keys_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
        sa.UniqueConstraint("key_identifier", name=op.f("uq_api_keys_key_identifier")),
    )
    op.create_index("ix_api_keys_created_at_id", "api_keys", ["created_at", "id"])
    op.create_index(
        "ix_api_keys_expiring", "api_keys", ["expires_at"], postgresql_where=sa.text("status = 'ACTIVE' and expires_at is not null")
    )
    op.create_index("ix_api_keys_revoked_by", "api_keys", ["revoked_by"], postgresql_where=sa.text("revoked_by is not null"))
    op.create_index("ix_api_keys_store_id", "api_keys", ["store_id"], postgresql_where=sa.text("store_id is not null"))
    op.create_index("ix_api_keys_user_id_created_at_id", "api_keys", ["user_id", "created_at", "id"])
    op.create_table(
        "reports",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("store_id", sa.Uuid(), nullable=False),
        sa.Column("requested_by", sa.Uuid()),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("parameters", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        sa.Column("data", postgresql.JSONB()),
        sa.Column("url", sa.String(2048)),
        sa.Column("generated_at", sa.DateTime(timezone=True)),
        sa.Column("error", sa.String(1000)),
        sa.CheckConstraint("(status = 'READY') = (generated_at is not null)", name=op.f("ck_reports_generated_at_set")),
        sa.CheckConstraint("error is null or status = 'FAILED'", name=op.f("ck_reports_error_of_failed")),
        sa.CheckConstraint("jsonb_typeof(parameters) = 'object'", name=op.f("ck_reports_parameters_is_object")),
        sa.CheckConstraint("status in ('PENDING', 'PROCESSING', 'READY', 'FAILED')", name=op.f("ck_reports_status")),
        sa.ForeignKeyConstraint(["requested_by"], ["users.id"], name=op.f("fk_reports_requested_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_reports_store_id_stores"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
    )
    op.create_index("ix_reports_created_at_id", "reports", ["created_at", "id"])
    op.create_index("ix_reports_requested_by", "reports", ["requested_by"], postgresql_where=sa.text("requested_by is not null"))
    op.create_index("ix_reports_store_id_created_at_id", "reports", ["store_id", "created_at", "id"])
    op.create_index(
        "ix_reports_unfinished", "reports", ["created_at", "id"], postgresql_where=sa.text("status in ('PENDING', 'PROCESSING')")
    )
    op.create_foreign_key(op.f("fk_stores_owner_id_users"), "stores", "users", ["owner_id"], ["id"], ondelete="RESTRICT")


def downgrade() -> None:
    op.drop_constraint("fk_stores_owner_id_users", "stores", type_="foreignkey")
    op.drop_table("reports")
    op.drop_table("api_keys")
    op.drop_table("user_sessions")
    op.drop_table("users")
    op.drop_table("role_permissions")
    op.drop_table("roles")
    op.drop_table("config")
    op.drop_table("store_settings")
    op.drop_table("stores")

"""The roles that every installation has: a shopper's USER, then VIEWER, ANALYST and ADMIN, each with what its parent may do."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

# Name, display name, description, level, parent, permissions: parents first.
ROLES = (
    ("USER", "Shopper", "Buys for itself; sees only what is its own.", 5, None, ()),
    (
        "VIEWER",
        "Viewer",
        "Staff who look things up.",
        3,
        "USER",
        (
            "carts:read",
            "inventory:read",
            "notifications:read",
            "orders:read",
            "payments:read",
            "products:read",
            "roles:read",
            "stores:read",
            "users:read",
        ),
    ),
    (
        "ANALYST",
        "Analyst",
        "Staff who study the shop and the quality of its data.",
        2,
        "VIEWER",
        (
            "analytics:read",
            "events:read",
            "features:read",
            "features:write",
            "quality:read",
            "reconciliation:read",
            "recovery:read",
            "reports:read",
            "reports:write",
            "webhooks:read",
        ),
    ),
    ("ADMIN", "Administrator", "May do everything.", 0, "ANALYST", ("*:*",)),
)

INSERT_ROLE = sa.text(
    "insert into roles (name, display_name, description, level, category, parent_role_id) "
    "values (:name, :display_name, :description, :level, 'system', (select id from roles where name = :parent))"
)
INSERT_PERMISSION = sa.text(
    "insert into role_permissions (role_id, resource, action) select id, :resource, :action from roles where name = :role"
)
DELETE_ROLE = sa.text("delete from roles where name = :name")


def upgrade() -> None:
    for name, display_name, description, level, parent, permissions in ROLES:
        role = {"name": name, "display_name": display_name, "description": description, "level": level, "parent": parent}
        op.get_bind().execute(INSERT_ROLE, role)
        for permission in permissions:
            resource, action = permission.split(":")
            op.get_bind().execute(INSERT_PERMISSION, {"role": name, "resource": resource, "action": action})


def downgrade() -> None:
    for name, *_ in reversed(ROLES):
        op.get_bind().execute(DELETE_ROLE, {"name": name})

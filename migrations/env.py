"""How Alembic finds the tables and runs: `app.core.migrations` opens the connection and holds the lock."""

import importlib
from typing import Any, Literal

from alembic import context
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import AutoString, SQLModel

DOMAINS = ("stores", "accounts", "catalog", "carts", "orders", "engagement", "quality", "analytics")

for domain in DOMAINS:
    importlib.import_module(f"app.{domain}.models")


def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Whether a table is one of the models': the job queue keeps its own tables in the same database."""
    return kind != "table" or name is None or not name.startswith("pgqueuer")


def plainly(kind: str, item: Any, autogenerate: Any) -> str | Literal[False]:
    """How new revisions write the types that Alembic would write at length."""
    if kind == "type" and isinstance(item, AutoString):
        return f"sa.String({item.length or ''})"
    if kind == "type" and isinstance(item, JSONB):
        autogenerate.imports.add("from sqlalchemy.dialects import postgresql")
        return "postgresql.JSONB()"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    include_name=is_ours,
    render_item=plainly,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()

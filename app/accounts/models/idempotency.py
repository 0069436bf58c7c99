"""The keys under which mutations were sent, and what was answered."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint

from app.core import model
from app.core.model import JSON, TIMESTAMP, Created, column


class IdempotencyKey(Created, table=True):
    """One request of one account: its operation, its key, a fingerprint of its input, and its answer once there is one.

    Until then it is under way, and after `leased_until` its process must have died. The answer names objects by table and id.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        UniqueConstraint("user_id", "operation", "key"),
        CheckConstraint("input_hash ~ '^[0-9a-f]{64}$'", name="input_hash"),
        *model.is_object("answer"),
        Index("ix_idempotency_keys_created_at", "created_at"),
    )

    user_id: UUID = model.reference("users.id", "CASCADE")
    operation: str = column(max_length=64)
    key: str = column(max_length=255)
    input_hash: str = column(max_length=64)
    answer: dict[str, Any] | None = column(None, sa_type=JSON)
    leased_until: datetime = column(sa_type=TIMESTAMP)

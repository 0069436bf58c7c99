"""Writing down what happens to the security of accounts, in the transaction in which it happens."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.accounts.models import SecurityEventType
from app.api.context import RequestInfo


async def record(
    repositories: Any,
    type: SecurityEventType,
    user_id: UUID | None,
    request: RequestInfo,
    *,
    session_id: UUID | None = None,
    performed_by: UUID | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Note that something happened to a user, and from where; `performed_by` whom, if not the user itself."""
    await repositories.security_events.record(
        {
            "user_id": user_id,
            "type": type.value,
            "session_id": session_id,
            "performed_by": performed_by,
            "ip_address": request.ip_address,
            "user_agent": request.user_agent,
            "details": details,
        }
    )

"""Which events of payment providers have been taken in."""

from sqlalchemy import Index, UniqueConstraint

from app.core import model
from app.core.model import Created


class ProviderEvent(Created, table=True):
    """An event that a provider told us of, and that need not be looked at again. Kept for as long as a provider repeats itself."""

    __tablename__ = "provider_events"
    __table_args__ = (UniqueConstraint("provider", "event_id"), Index("ix_provider_events_created_at", "created_at"))

    provider: str = model.column(max_length=50)
    event_id: str = model.column(max_length=255)
    type: str = model.column(max_length=255)

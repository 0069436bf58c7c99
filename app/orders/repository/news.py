"""Events of payment providers: each is taken in once."""

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy.dialects.postgresql import insert

from app.core.repository import Repository
from app.orders.models.news import ProviderEvent
from app.orders.provider import ProviderNews


class ProviderEventRepository(Repository[ProviderEvent]):
    """Remembers events by their provider's names for them."""

    model = ProviderEvent

    async def knows(self, provider: str, news: ProviderNews) -> bool:
        return await self.exists({"provider": provider, "event_id": news.id})

    async def remember(self, provider: str, news: ProviderNews) -> None:
        await self.row(self.statement("remember", self._remembering), provider=provider, event_id=news.id, type=news.type[:255])

    async def delete_older(self, before: datetime) -> int:
        return await self.delete_many({"created_at": {"lt": before}})

    def _remembering(self) -> Any:
        values = {name: bindparam(name, type_=self.columns[name].type) for name in ("provider", "event_id", "type")}
        return insert(self.table).values(values).on_conflict_do_nothing().returning(self.table.c.id)

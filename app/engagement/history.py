"""How long it is known what features were: values that were replaced longer ago than a lifetime are removed, night by night."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from app.engagement.repository import REVISIONS

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FeatureHistories:
    """Of carts, shoppers and products. Repositories are the system's; a lifetime of zero keeps everything."""

    repositories: Any
    lifetime: timedelta

    async def remove_old(self) -> None:
        """One turn: features can be read as they were at any moment of the lifetime, and as they are."""
        if not self.lifetime:
            return
        before = self.repositories.now() - self.lifetime
        for revisions in REVISIONS:
            removed = await self.repositories.of(revisions).remove_superseded(before)
            if removed:
                log.info("feature_history_removed", table=revisions.entity, rows=removed)

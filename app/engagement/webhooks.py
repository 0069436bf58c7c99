"""Making and changing webhooks, for the staff of their store."""

import base64
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from pydantic import SecretStr

from app.core.errors import ErrorCode, UserError
from app.core.repository import as_values
from app.engagement.delivery import enqueue_delivery
from app.engagement.models import Webhook, WebhookCreate, WebhookDelivery, WebhookRequest, WebhookUpdate
from app.engagement.outbound import AddressRefused, AddressRules
from app.settings import Settings

SECRET_BYTES = 32


@dataclass(frozen=True)
class IssuedWebhook:
    """A webhook and its new secret: the only time that it is told."""

    row: Webhook
    secret: str = field(repr=False)


class Webhooks:
    """Makes webhooks and their secrets. After a rotation, the former one is good for `overlap`."""

    def __init__(self, rules: AddressRules, overlap: timedelta) -> None:
        self._rules = rules
        self._overlap = overlap

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(AddressRules(settings.webhook_loopback), timedelta(seconds=settings.webhook_secret_overlap))

    async def create(self, repositories: Any, asked: WebhookRequest) -> IssuedWebhook:
        """A new webhook. Raises `UserError`: an address that nothing may be sent to, a store of others, too many."""
        self._check(asked.url)
        secret = new_secret()
        row = await repositories.webhooks.create_within(WebhookCreate(**asked.model_dump(), secret=SecretStr(secret)))
        return IssuedWebhook(row, secret)

    async def update(self, repositories: Any, id: UUID, change: WebhookUpdate) -> Webhook:
        """Change a webhook; one that is made active begins without failures. Raises `UserError` for the address, `NotFound`."""
        if change.url is not None:
            self._check(change.url)
        forgiven = {"failure_count": 0} if change.is_active else {}
        row: Webhook = await repositories.webhooks.update_by_id(id, {**as_values(change), **forgiven})
        return row

    async def rotate_secret(self, repositories: Any, id: UUID) -> IssuedWebhook:
        """A new secret; messages are signed with the former one as well for a while. Raises `NotFound`."""
        secret = new_secret()
        return IssuedWebhook(await repositories.webhooks.rotate(id, secret, repositories.now() + self._overlap), secret)

    async def redeliver(self, repositories: Any, id: UUID) -> WebhookDelivery:
        """Have a message delivered again, as it was. Raises `UserError`: none such, still tried, its webhook inactive."""
        async with repositories.transaction() as tx:
            row: WebhookDelivery = await tx.webhook_deliveries.reopen(id, repositories.now())
            await enqueue_delivery(tx, row.id)
        return row

    def _check(self, url: str) -> None:
        try:
            self._rules.check_url(url)
        except AddressRefused as refused:
            raise UserError(ErrorCode.INVALID, f"{refused}; name a public address", "url") from None


def new_secret() -> str:
    """A secret as Standard Webhooks writes it: `whsec_` and 256 random bits in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()

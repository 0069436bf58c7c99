"""Sending and reading notifications, and keeping webhooks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from app.api.context import Context, Info
from app.api.inputs import IdInput
from app.api.mutations import given, mutation, validated
from app.api.permissions import mine, own, requires
from app.api.rate_limit import Rate
from app.api.scalars import decode_id
from app.core.errors import ErrorCode, UserError
from app.engagement.features import FeatureStore
from app.engagement.models import NotificationCreate, NotificationPriority, WebhookRequest, WebhookUpdate
from app.engagement.subject_features import VERSION, Subject, SubjectFeatures
from app.engagement.types import (
    DeletedWebhookPayload,
    FeaturesPayload,
    NotificationPayload,
    ReadNotificationsPayload,
    SentNotificationPayload,
    SubjectFeaturesPayload,
    WebhookDeliveryPayload,
    WebhookPayload,
    WebhookSecretPayload,
)
from app.stores.events import StoreEvent

READ = mine("notifications:write")
KEEP = requires("webhooks:write")


@strawberry.input
class ComputeCartFeaturesInput:
    cart_id: strawberry.ID


@strawberry.input
class ComputeUserFeaturesInput:
    user_id: strawberry.ID
    store_id: strawberry.ID


@strawberry.input
class ComputeProductFeaturesInput:
    product_id: strawberry.ID
    store_id: strawberry.ID


@strawberry.input
class SendNotificationInput:
    user_id: strawberry.ID
    type: str = strawberry.field(description="What it is about, such as `order`.")
    message: str
    priority: NotificationPriority = NotificationPriority.NORMAL
    expires_at: datetime | None = UNSET
    metadata: JSON | None = UNSET


@strawberry.input
class CreateWebhookInput:
    store_id: strawberry.ID
    url: str = strawberry.field(description="An https address in the internet.")
    event_type: StoreEvent
    is_active: bool = True
    metadata: JSON | None = UNSET


@strawberry.input(description="What is left out stays as it is.")
class UpdateWebhookInput:
    id: strawberry.ID
    url: str | None = UNSET
    event_type: StoreEvent | None = UNSET
    is_active: bool | None = strawberry.field(default=UNSET, description="True also forgets the failures.")
    metadata: JSON | None = UNSET


@strawberry.type
class EngagementMutation:
    @mutation(
        access=own("features:write"),
        rate=Rate("1200/hour"),
        description="Compute the features of a cart now. While events cannot be reached, those that need them are `unavailable`.",
    )
    async def compute_cart_features(self, info: Info, input: ComputeCartFeaturesInput) -> FeaturesPayload | None:
        repositories, id = info.context.repositories, decode_id(input.cart_id, "Cart", "cartId")
        if not await repositories.features.may_write(id):
            raise UserError(ErrorCode.NOT_FOUND, "you have no cart with this id", "cartId")
        found = await FeatureStore(repositories.unscoped).compute(id)
        features: list[Any] = list(found.features)
        return FeaturesPayload(features=features, unavailable=list(found.unavailable))

    @mutation(
        access=requires("features:write"),
        rate=Rate("1200/hour"),
        description="Compute the features of a shopper in a store now; who has neither cart nor order there has none.",
    )
    async def compute_user_features(self, info: Info, input: ComputeUserFeaturesInput) -> SubjectFeaturesPayload | None:
        rows, store = info.context.repositories.unscoped.user_features, _own_store(info.context, input.store_id)
        subject = decode_id(input.user_id, "User", "userId"), store
        if not await rows.find_bases([subject]):
            raise UserError(ErrorCode.NOT_FOUND, "the store has no shopper with this id", "userId")
        unavailable = await SubjectFeatures(info.context.repositories.unscoped).compute_users([subject])
        return await _computed(rows, subject, unavailable)

    @mutation(
        access=requires("features:write"),
        rate=Rate("1200/hour"),
        description="Compute the features of a product in a store now.",
    )
    async def compute_product_features(self, info: Info, input: ComputeProductFeaturesInput) -> SubjectFeaturesPayload | None:
        rows, store = info.context.repositories.unscoped.product_features, _own_store(info.context, input.store_id)
        subject = decode_id(input.product_id, "Product", "productId"), store
        if not await rows.find_bases([subject], info.context.repositories.now()):
            raise UserError(ErrorCode.NOT_FOUND, "the store sells no product with this id", "productId")
        unavailable = await SubjectFeatures(info.context.repositories.unscoped).compute_products([subject])
        return await _computed(rows, subject, unavailable)

    @mutation(
        access=requires("notifications:write"),
        rate=Rate("600/hour"),
        description="Send a user a notification; staff only to those whom they may see.",
    )
    async def send_notification(self, info: Info, input: SendNotificationInput) -> SentNotificationPayload | None:
        repositories, user_id = info.context.repositories, decode_id(input.user_id, "User", "userId")
        notification = NotificationCreate.model_validate({**given(input), "user_id": user_id})
        if await repositories.users.find_by_id(user_id) is None:
            raise UserError(ErrorCode.NOT_FOUND, "you see no user with this id", "userId")
        await repositories.notifications.create(notification)
        return SentNotificationPayload(sent=True)

    @mutation(access=READ, description="Say that one of the caller's notifications was read; the first time counts.")
    async def mark_notification_as_read(self, info: Info, input: IdInput) -> NotificationPayload | None:
        id = decode_id(input.id, "Notification", "id")
        return NotificationPayload(notification=await info.context.repositories.notifications.mark_as_read(id))

    @mutation(access=READ, description="Say that all of the caller's notifications were read.")
    async def mark_all_notifications_as_read(self, info: Info) -> ReadNotificationsPayload | None:
        context = info.context
        return ReadNotificationsPayload(read=await context.repositories.notifications.mark_all_as_read(context.viewer.user_id))

    @mutation(access=KEEP, description="Have an address of a store told of events of one type. The secret is shown once, here.")
    async def create_webhook(self, info: Info, input: CreateWebhookInput) -> WebhookSecretPayload | None:
        values = {**given(input), "store_id": decode_id(input.store_id, "Store", "storeId")}
        context = info.context
        issued = await context.services.webhooks.create(context.repositories, WebhookRequest.model_validate(values))
        return WebhookSecretPayload(webhook=issued.row, secret=issued.secret)

    @mutation(access=KEEP)
    async def update_webhook(self, info: Info, input: UpdateWebhookInput) -> WebhookPayload | None:
        change, context = validated(WebhookUpdate, input, without=("id",)), info.context
        id = decode_id(input.id, "Webhook", "id")
        return WebhookPayload(webhook=await context.services.webhooks.update(context.repositories, id, change))

    @mutation(access=KEEP, description="Remove a webhook and the log of its deliveries.")
    async def delete_webhook(self, info: Info, input: IdInput) -> DeletedWebhookPayload | None:
        if not await info.context.repositories.webhooks.delete_by_id(decode_id(input.id, "Webhook", "id")):
            raise UserError(ErrorCode.NOT_FOUND, "you have no webhook with this id", "id")
        return DeletedWebhookPayload(deleted=True)

    @mutation(
        access=KEEP,
        description="Replace a webhook's secret. The new one is shown once, here; for a while messages are signed with both.",
    )
    async def rotate_webhook_secret(self, info: Info, input: IdInput) -> WebhookSecretPayload | None:
        context = info.context
        issued = await context.services.webhooks.rotate_secret(context.repositories, decode_id(input.id, "Webhook", "id"))
        return WebhookSecretPayload(webhook=issued.row, secret=issued.secret)

    @mutation(access=KEEP, rate=Rate("600/hour"), description="Deliver a message again, as it was, once its delivery has ended.")
    async def redeliver_webhook(self, info: Info, input: IdInput) -> WebhookDeliveryPayload | None:
        context = info.context
        id = decode_id(input.id, "WebhookDelivery", "id")
        return WebhookDeliveryPayload(delivery=await context.services.webhooks.redeliver(context.repositories, id))


def _own_store(context: Context, store_id: str) -> UUID:
    """The key of a store that the viewer works for. Raises `UserError`."""
    key = decode_id(store_id, "Store", "storeId")
    if not context.viewer.sees_everything and context.viewer.store_id != key:
        raise UserError(ErrorCode.NOT_FOUND, "you work for no store with this id", "storeId")
    return key


async def _computed(rows: Any, subject: Subject, unavailable: Sequence[str]) -> SubjectFeaturesPayload:
    """What a subject's features in one store are now."""
    id, store_id = subject
    features = [feature for feature in await rows.find_latest(id, VERSION) if feature.store_id == store_id]
    return SubjectFeaturesPayload(features=features, unavailable=list(unavailable))

"""What can be asked of notifications and webhooks."""

from dataclasses import replace
from datetime import datetime

import strawberry

from app.accounts.types import CreatedOrder
from app.api.connection import Connection, connection, page_request
from app.api.context import Info
from app.api.permissions import mine, own, protected, requires
from app.api.scalars import decode_id
from app.engagement.types import Feature, Notification, NotificationFilter, SubjectFeature, Webhook, WebhookFilter
from app.execution.declarations import Listing

OWN = Listing("notifications", NotificationFilter, CreatedOrder, (), None, "user_id")


@strawberry.type
class EngagementQuery:
    @strawberry.field(  # type: ignore[untyped-decorator]
        description="The caller's own notifications, newest first.", **protected(mine("notifications:read"))
    )
    async def notifications(
        self,
        info: Info,
        unread_only: bool = False,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        filter: NotificationFilter | None = None,
        order_by: list[CreatedOrder] | None = None,
    ) -> Connection[Notification]:
        request = page_request(OWN, info.context.viewer, first, after, last, before, filter, order_by)
        if unread_only:
            request = replace(request, where={"and": [request.where or {}, {"read": False}]})
        page: Connection[Notification] = await info.context.repositories.notifications.find_page(request)
        return page

    @strawberry.field(  # type: ignore[untyped-decorator]
        description="The features of a cart that have not expired, by name; with `asOf`, as they were then.",
        **protected(own("features:read")),
    )
    async def features(
        self, info: Info, cart_id: strawberry.ID, version: str | None = None, as_of: datetime | None = None
    ) -> list[Feature]:
        id = decode_id(cart_id, "Cart", "cartId")
        found: list[Feature] = await info.context.repositories.features.find_by_cart_id(id, version, as_of)
        return found

    @strawberry.field(  # type: ignore[untyped-decorator]
        description="The features of a shopper, in each store that the caller sees, that have not expired; with `asOf`, as they were then.",
        **protected(own("features:read")),
    )
    async def user_features(
        self, info: Info, user_id: strawberry.ID, version: str | None = None, as_of: datetime | None = None
    ) -> list[SubjectFeature]:
        id = decode_id(user_id, "User", "userId")
        found: list[SubjectFeature] = await info.context.repositories.user_features.find_latest(id, version, as_of)
        return found

    @strawberry.field(  # type: ignore[untyped-decorator]
        description="The features of a product, in each store that the caller sees, that have not expired; with `asOf`, as they were then.",
        **protected(requires("features:read")),
    )
    async def product_features(
        self, info: Info, product_id: strawberry.ID, version: str | None = None, as_of: datetime | None = None
    ) -> list[SubjectFeature]:
        id = decode_id(product_id, "Product", "productId")
        found: list[SubjectFeature] = await info.context.repositories.product_features.find_latest(id, version, as_of)
        return found

    webhooks: Connection[Webhook] = connection(
        "webhooks",
        access=requires("webhooks:read"),
        filter=WebhookFilter,
        order=CreatedOrder,
        description="The webhooks of the store that the caller works for, newest first.",
    )

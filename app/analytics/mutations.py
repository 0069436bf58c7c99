"""What can be done with events: send them."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import strawberry

from app.analytics.arrival import Reception, latest_by_cart
from app.analytics.models import UserEventCreate
from app.analytics.repository import encoded
from app.analytics.tracking import TooManyEvents
from app.analytics.types import TrackEventsInput, TrackEventsPayload
from app.api.context import Context, Info
from app.api.errors import RateLimited
from app.api.mutations import mutation
from app.api.permissions import published
from app.core.errors import ErrorCode, UserError
from app.engagement.models import HAPPENED_AT, FeatureCreate

MOST_EVENTS: Final = 500
INTERACTION: Final = "user_interaction"


@strawberry.type
class AnalyticsMutation:
    @mutation(
        access=published("events:write"),
        description="Store what a shopper did, up to 500 events; what is accepted is durable. RATE_LIMITED where there is no room: "
        "send the same again later.",
    )
    async def track_events(self, info: Info, input: TrackEventsInput) -> TrackEventsPayload | None:
        if len(input.events) > MOST_EVENTS:
            raise UserError(ErrorCode.LIMIT_EXCEEDED, f"has {len(input.events)} events, at most {MOST_EVENTS} are taken at once", "events")
        context = info.context
        received_at = context.repositories.now()
        found = await Reception(context, input, received_at).read()
        await _tell_carts(context, [event for _, event in found.accepted])
        rows = {id: encoded([{"id": id, "received_at": received_at, **event.model_dump()}]) for id, event in found.accepted}
        try:
            await context.services.events.add(rows)
        except TooManyEvents as error:
            message = f"more events arrive than can be stored; send them again in {error.retry_after} s"
            raise RateLimited(message, error.retry_after) from error
        context.repositories.metrics.events.labels("rejected").inc(len(found.rejected))
        return TrackEventsPayload(accepted=len(found.accepted), rejected=found.rejected)


async def _tell_carts(context: Context, events: Sequence[UserEventCreate]) -> None:
    """Note with each cart of the sender's that an event names what happened last, by the events' own time (specification, analytics
    integration), in whatever order they arrive.

    Before the events are stored: noting it once more when they are sent again changes nothing.
    """
    named = latest_by_cart(events)
    if not named or not context.viewer.is_authenticated:
        return
    carts: list[Any] = await context.repositories.carts.find_by_ids(list(named))
    own: list[UUID] = sorted(cart.id for cart in carts if cart is not None and cart.user_id == context.viewer.user_id)
    await context.repositories.unscoped.features.note_latest([_interaction(id, named[id]) for id in own])


def _interaction(cart_id: UUID, event: UserEventCreate) -> FeatureCreate:
    happened = {HAPPENED_AT: event.timestamp.isoformat()}
    return FeatureCreate(cart_id=cart_id, name=INTERACTION, value=event.event_type, description="What happened last.", metadata=happened)

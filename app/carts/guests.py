"""Carts of those who have not signed in: an opaque token opens them, and an account takes them over.

The token has 256 bits and is stored as its hash, as a session's is. It is made with the first product; a browser keeps it in a cookie that
no script reads, other clients send it as `X-Cart-Token`. Nothing else tells guests apart, so a token that opens no cart is worth nothing:
the next product gets a new one, never one that the caller has chosen.
"""

from typing import Any, Self
from uuid import UUID

import structlog
from limits import RateLimitItemPerHour

from app.api.context import Context, RequestInfo
from app.api.rate_limit import Quota, RateLimiter
from app.core.errors import ErrorCode, RepositoryError, UserError
from app.core.security import new_token, token_hash
from app.settings import Settings

log = structlog.get_logger(__name__)


class GuestCarts:
    """Gives tokens to guests, and their carts to accounts. `lifetime` of a cart that nobody changes, in seconds."""

    def __init__(self, limiter: RateLimiter, *, lifetime: int, per_hour: int) -> None:
        self._limiter = limiter
        self._quota = Quota.of("guestCarts", RateLimitItemPerHour(per_hour))
        self.lifetime = lifetime

    @classmethod
    def from_settings(cls, settings: Settings, limiter: RateLimiter) -> Self:
        return cls(limiter, lifetime=settings.guest_cart_lifetime, per_hour=settings.guest_carts_per_hour)

    async def token(self, repositories: Any, request: RequestInfo) -> str:
        """The guest's token where it opens a cart, else a new one. Repositories are the system's.

        Raises `UserError` LIMIT_EXCEEDED where too many guests came from one network.
        """
        given = request.cart_token
        if given is not None and await repositories.guest_carts.is_known(token_hash(given)):
            return given
        if not await self._limiter.is_within(self._quota, request):
            message = "too many carts were begun from this network; sign in, or try again later"
            raise UserError(ErrorCode.LIMIT_EXCEEDED, message, "cart_id")
        return new_token()

    async def hand_over(self, context: Context, user_id: UUID) -> None:
        """Give whoever has just signed in what it had put into carts before. A failure leaves them for the next sign-in."""
        token = context.request.cart_token
        if token is None:
            return
        try:
            await context.repositories.unscoped.guest_carts.give_to(user_id, token_hash(token))
        except RepositoryError as error:
            log.warning("guest_cart_not_merged", user=str(user_id), error=str(error))
            return
        context.drop_cart()

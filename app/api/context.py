"""What every resolver gets: the viewer, the repositories scoped to it, and the loaders of this one request."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import strawberry
from strawberry.dataloader import DataLoader

from app.core.quotas import Standing
from app.core.security import Viewer
from app.execution.declarations import MAX_BATCH_KEYS


class Loader(DataLoader[Any, Any]):
    """A dataloader whose waiters are safe from each other.

    Fields that ask for the same key wait for one future. graphql-core cancels the fields beside one that failed where that leaves no place
    for their values; without a shield, that would cancel the future, and with it fields elsewhere, and the whole operation.
    """

    def load(self, key: Any) -> Awaitable[Any]:
        return asyncio.shield(super().load(key))


@dataclass(slots=True)
class Reply:
    """What an answer carries beside its body; filled on the way to it."""

    quotas: dict[str, tuple[str, Standing]] = field(default_factory=dict)
    """By the name of a quota, its policy as `RateLimit-Policy` writes it, and how the caller stands."""
    session: "SessionCookie | None" = None
    cart: "CartCookie | None" = None


FORGOTTEN = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class SessionCookie:
    """The session that a browser is to keep until it expires; without a token, the one that it is to forget."""

    token: str = field(default="", repr=False)
    expires_at: datetime = FORGOTTEN


@dataclass(frozen=True)
class CartCookie:
    """The token of a guest's carts that a browser is to keep for so many seconds; without a token, the one that it is to forget."""

    token: str = field(default="", repr=False)
    lifetime: int = 0


@dataclass(slots=True)
class RequestInfo:
    """Where a request came from; kept with sessions."""

    id: str
    ip_address: str | None = None
    user_agent: str | None = None
    token: str | None = field(default=None, repr=False)
    by_cookie: bool = False
    """Whether the token came in a cookie, which a browser also sends when another site makes it ask."""
    cart_token: str | None = field(default=None, repr=False)
    """What a guest's carts are known by, who may become a shopper with this request."""
    cart_by_cookie: bool = False
    reply: Reply = field(default_factory=Reply, repr=False, compare=False)


@dataclass(slots=True)
class Context:
    """The context of one GraphQL operation."""

    repositories: Any
    """`app.repositories.Repositories`, scoped to the viewer; imports point down, so its type is not known here."""
    request: RequestInfo
    services: Any
    loaders: dict[Hashable, "Loader"] = field(default_factory=dict)

    @property
    def viewer(self) -> Viewer:
        return cast(Viewer, self.repositories.viewer)

    def loader(self, key: Hashable, load: Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]) -> "Loader":
        """The loader of a relation within this request. Its batches are bounded, and it is never shared between requests."""
        found = self.loaders.get(key)
        if found is None:
            found = self.loaders[key] = Loader(load_fn=cast(Any, load), max_batch_size=MAX_BATCH_KEYS)
        return found

    def keep_session(self, token: str, expires_at: datetime) -> None:
        """A browser that asked gets the session as a cookie; other clients keep the token themselves."""
        self.request.reply.session = SessionCookie(token, expires_at)

    def drop_session(self) -> None:
        """A browser forgets its session."""
        self.request.reply.session = SessionCookie()

    def keep_cart(self, token: str, lifetime: int) -> None:
        """A browser that asked gets the token of its carts as a cookie, for so many seconds; others keep it themselves."""
        self.request.reply.cart = CartCookie(token, lifetime)

    def drop_cart(self) -> None:
        """The carts are somebody's now: a browser forgets their token."""
        if self.request.cart_by_cookie:
            self.request.reply.cart = CartCookie()

    def signed_in_as(self, viewer: Viewer) -> None:
        """Go on as another viewer: after a sign-in, the fields of the payload are read with the new account's rights."""
        self.repositories = self.repositories.scoped(viewer)
        self.loaders.clear()


class Info(strawberry.Info[Context, None]):
    """The resolvers' info, with our context."""

"""What every resolver gets: the viewer, the repositories scoped to it, and the loaders of this one request."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import strawberry
from strawberry.dataloader import DataLoader

from app.core.security import Viewer

MAX_BATCH_KEYS = 1000


@dataclass(frozen=True)
class RequestInfo:
    """Where a request came from; kept with sessions."""

    id: str
    ip_address: str | None = None
    user_agent: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass
class Context:
    """The context of one GraphQL operation."""

    repositories: Any
    """`app.repositories.Repositories`, scoped to the viewer; imports point down, so its type is not known here."""
    request: RequestInfo
    services: Any
    cookies: list[tuple[str, str, int]] = field(default_factory=list)
    loaders: dict[Hashable, DataLoader[Any, Any]] = field(default_factory=dict)

    @property
    def viewer(self) -> Viewer:
        return cast(Viewer, self.repositories.viewer)

    def loader(self, key: Hashable, load: Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]) -> DataLoader[Any, Any]:
        """The loader of a relation within this request. Its batches are bounded, and it is never shared between requests."""
        found = self.loaders.get(key)
        if found is None:
            found = self.loaders[key] = DataLoader(load_fn=cast(Any, load), max_batch_size=MAX_BATCH_KEYS)
        return found

    def signed_in_as(self, viewer: Viewer) -> None:
        """Go on as another viewer: after a sign-in, the fields of the payload are read with the new account's rights."""
        self.repositories = self.repositories.scoped(viewer)
        self.loaders.clear()


class Info(strawberry.Info[Context, None]):
    """The resolvers' info, with our context."""

"""Who may ask for a field, declared beside the field and printed in the schema.

orders: Connection[Order] = connection("orders", ..., access=signed_in)
async def create_product(...): ...        # @mutation(access=requires("products:write"))
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.schema_directive import Location
from strawberry.types.field import StrawberryField

from app.api.errors import FORBIDDEN, UNAUTHENTICATED, AccessDenied
from app.core.security import Viewer, ViewerKind
from app.execution.declarations import Access

__all__ = ["Access", "Guard", "guarded", "personal", "public", "requires", "signed_in"]


@strawberry.schema_directive(locations=[Location.FIELD_DEFINITION], description="Open to everybody.")
class Public:
    pass


@strawberry.schema_directive(locations=[Location.FIELD_DEFINITION], description="Needs a signed-in account.")
class Authenticated:
    pass


@strawberry.schema_directive(locations=[Location.FIELD_DEFINITION], description="Needs this permission, in the form `resource:action`.")
class Requires:
    permission: str


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION], description="Needs this permission, unless it is about the account that asks."
)
class RequiresForOthers:
    permission: str


def directive_of(access: Access) -> object:
    """The access as the printed schema shows it."""
    if isinstance(access, Personal):
        return RequiresForOthers(permission=access.permission or "")
    if access.permission:
        return Requires(permission=access.permission)
    return Authenticated() if access.authenticated else Public()


def check(access: Access, viewer: Viewer) -> None:
    """Raises `AccessDenied` where the viewer may not ask."""
    if access.allows(viewer):
        return
    if not viewer.is_authenticated:
        raise AccessDenied(UNAUTHENTICATED, "sign in first: send `Authorization: Bearer <token>`")
    raise AccessDenied(FORBIDDEN, f"this needs the permission {access.permission}")


public = Access()
signed_in = Access(authenticated=True)


def requires(permission: str) -> Access:
    return Access(authenticated=True, permission=permission)


def show_directive(field: StrawberryField, directive: object) -> None:
    """Print a directive with a field, once: fields outlive a schema, and each schema built of them applies their extensions again."""
    if directive not in field.directives:
        field.directives = [*field.directives, directive]


class Guard(FieldExtension):
    """Checks the declared access before a field resolves."""

    def __init__(self, access: Access) -> None:
        self.access = access

    def apply(self, field: StrawberryField) -> None:
        show_directive(field, directive_of(self.access))

    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        check(self.access, info.context.viewer)
        return next_(source, info, **kwargs)

    async def resolve_async(self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        check(self.access, info.context.viewer)
        return await next_(source, info, **kwargs)


@dataclass(frozen=True)
class Personal(Access):
    """Open to whom a row is about, to others with the permission. Row scopes show a shopper no such row of anybody else."""

    def allows(self, viewer: Viewer) -> bool:
        return super().allows(viewer) or viewer.kind is ViewerKind.SHOPPER


class PersonalGuard(Guard):
    """Checks for each row whether it is about the viewer, whose id is in the row's column `owner`."""

    def __init__(self, access: Access, owner: str) -> None:
        super().__init__(access)
        self.owner = owner

    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        viewer = info.context.viewer
        if not viewer.is_authenticated or getattr(source, self.owner) != viewer.user_id:
            check(requires(self.access.permission or ""), viewer)
        return next_(source, info, **kwargs)


def personal(permission: str, *, owner: str, description: str | None = None) -> Any:
    """A column that others than the person it is about need a permission for; refused as `guarded` ones are."""
    access = Personal(authenticated=True, permission=permission)
    return strawberry.field(extensions=[PersonalGuard(access, owner)], description=description, metadata={"access": access})


def guarded(access: Access, description: str | None = None) -> Any:
    """A column that only some may read; for the others the field is null, with an error that says what it needs."""
    return strawberry.field(extensions=[Guard(access)], description=description, metadata={"access": access})

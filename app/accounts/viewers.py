"""Viewers: from whoever stands behind a credential, and those that are to be expected."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.accounts.conditions import held
from app.core.security import ANONYMOUS, ANY, KeyUse, Viewer, ViewerKind

REMEMBERED = timedelta(seconds=15)
"""For how long a viewer is good without another look, whatever was found."""

MOST_ROLES = 14


@dataclass(frozen=True)
class Known:
    """What a token stood for when it was looked up: good until `good_until`, and while nothing has changed since (`generation`)."""

    viewer: Viewer
    good_until: datetime
    generation: int


def known(holder: Any, now: datetime, generation: int, *, session_id: UUID | None = None, key: KeyUse | None = None) -> Known:
    """The viewer behind a live credential, with the rights that its owner has now; with a key, only those that it is good for.

    `holder` is what `repository.holders.with_rights` finds.
    """
    rights = held(holder.permissions, holder.conditional, now)
    viewer = Viewer(kind_of(rights.permissions), holder.user_id, holder.store_id, session_id, rights.permissions)
    if key is not None:
        viewer = replace(viewer, permissions=frozenset(filter(viewer.can, key.scopes)), key=key)
    ends = [moment for moment in (holder.expires_at, rights.until) if moment is not None]
    return Known(viewer, min([*ends, now + REMEMBERED]), generation)


async def usual_viewers(repositories: Any) -> list[Viewer]:
    """A viewer of each kind that asks: nobody, a shopper, and holders of the active roles, as far as they have different permissions."""
    roles = await repositories.roles.find_many({"is_active": True}, limit=MOST_ROLES)
    found: set[frozenset[str]] = {await repositories.roles.get_all_permissions(role.id) for role in roles} | {frozenset()}
    return [ANONYMOUS, *(Viewer(kind_of(permissions), UUID(int=0), permissions=permissions) for permissions in found)]


def kind_of(permissions: frozenset[str]) -> ViewerKind:
    """How far somebody with these permissions sees."""
    if f"{ANY}:{ANY}" in permissions:
        return ViewerKind.ADMINISTRATOR
    return ViewerKind.STAFF if permissions else ViewerKind.SHOPPER

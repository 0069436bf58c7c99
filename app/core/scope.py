"""Conditions that row scopes are made of."""

from typing import Any, Literal

from sqlalchemy import ColumnElement, bindparam, false, or_

from app.core.security import STORE_RESOURCES, ViewerKind, store_parameter

Action = Literal["read", "write"]


def own_rows(table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
    """The rows whose `user_id` is the viewer."""
    return false() if viewer is ViewerKind.ANONYMOUS else table.c.user_id == bindparam("viewer_id")


def of_store(store_id: Any, resource: str, action: Action = "read") -> ColumnElement[bool]:
    """For staff: that a row is of the store that the viewer works for, and its permissions are for such rows. Who may write may read."""
    assert resource in STORE_RESOURCES
    return store_id == bindparam(store_parameter(resource, action))  # type: ignore[no-any-return]


def store_rows(table: Any, viewer: ViewerKind, resource: str, action: Action = "read") -> ColumnElement[bool]:
    """The rows of the store for its staff, for nobody else."""
    return of_store(table.c.store_id, resource, action) if viewer is ViewerKind.STAFF else false()


def own_or_of_store(table: Any, viewer: ViewerKind, resource: str, action: Action = "read") -> ColumnElement[bool]:
    """A shopper's own rows; for staff also those of their store."""
    own = own_rows(table, viewer)
    return or_(own, of_store(table.c.store_id, resource, action)) if viewer is ViewerKind.STAFF else own

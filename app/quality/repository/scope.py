"""Whose quality is: that of the data is the whole platform's, not a store's."""

from typing import Any

from sqlalchemy import ColumnElement, Uuid, bindparam, false, true

from app.core.security import ViewerKind


def platform_rows(viewer: ViewerKind) -> ColumnElement[bool]:
    """Every row, for staff of whatever store: rows of quality hold names, counts and ids, nothing of what is in the rows they are about."""
    return true() if viewer is ViewerKind.STAFF else false()


def platform_rows_to_change(viewer: ViewerKind) -> ColumnElement[bool]:
    """Every row, for staff who work for no store: what they change is about the rows of all stores."""
    store_id: Any = bindparam("viewer_store_id", type_=Uuid)
    return store_id.is_(None) if viewer is ViewerKind.STAFF else false()

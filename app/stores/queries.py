"""What can be asked of stores."""

import strawberry

from app.api.cache_control import cached
from app.api.connection import Connection, connection
from app.api.lookup import single
from app.api.permissions import public, requires
from app.api.scalars import decode_id
from app.core.errors import BadInput
from app.core.security import Viewer
from app.execution.declarations import Where
from app.stores.types import Report, ReportFilter, ReportOrder, Store, StoreFilter, StoreOrder


def _store(_viewer: Viewer, id: strawberry.ID | None = None, domain: str | None = None) -> Where | None:
    if (id is None) == (domain is None):
        raise BadInput("id", "give either id or domain, and only one of them")
    return {"domain": domain.lower()} if domain is not None else {"id": decode_id(str(id), "Store")}


@strawberry.type
class StoreQuery:
    stores: Connection[Store] = connection(
        "stores", access=public, cache=cached(300), filter=StoreFilter, order=StoreOrder, description="The shops, newest first."
    )

    reports: Connection[Report] = connection(
        "reports",
        access=requires("reports:read"),
        filter=ReportFilter,
        order=ReportOrder,
        description="The reports of the store that the caller works for, newest first.",
    )
    store: Store | None = single("stores", _store, access=public, cache=cached(300), description="One store, by id or by domain.")

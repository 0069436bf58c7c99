"""What can be asked of stores."""

import strawberry

from app.api.connection import Connection, connection
from app.api.context import Info
from app.api.permissions import Guard, public
from app.api.scalars import decode_id
from app.core.errors import BadInput
from app.stores.types import Store, StoreFilter, StoreOrder


@strawberry.type
class StoreQuery:
    stores: Connection[Store] = connection(
        "stores", access=public, filter=StoreFilter, order=StoreOrder, description="The shops, newest first."
    )

    @strawberry.field(extensions=[Guard(public)], description="One store, by id or by domain.")
    async def store(self, info: Info, id: strawberry.ID | None = None, domain: str | None = None) -> Store | None:
        stores = info.context.repositories.stores
        if (id is None) == (domain is None):
            raise BadInput("id", "give either id or domain, and only one of them")
        if id is not None:
            return await stores.find_by_id(decode_id(id, "Store"))  # type: ignore[no-any-return]
        return await stores.find_by_domain(domain)  # type: ignore[no-any-return]

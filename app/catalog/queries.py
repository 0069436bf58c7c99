"""What can be asked of the catalogue."""

import strawberry

from app.api.connection import Connection, connection
from app.api.context import Info
from app.api.permissions import Guard, public
from app.api.scalars import decode_id
from app.catalog.types import Product, ProductFilter, ProductOrder
from app.core.errors import BadInput


@strawberry.type
class CatalogQuery:
    products: Connection[Product] = connection(
        "products",
        access=public,
        filter=ProductFilter,
        order=ProductOrder,
        fixed={"status": "ACTIVE"},
        description="What is for sale, newest first; staff also see their store's other products.",
    )

    @strawberry.field(extensions=[Guard(public)], description="One product, by id or by SKU.")
    async def product(self, info: Info, id: strawberry.ID | None = None, sku: str | None = None) -> Product | None:
        products = info.context.repositories.products
        if (id is None) == (sku is None):
            raise BadInput("id", "give either id or sku, and only one of them")
        if id is not None:
            return await products.find_by_id(decode_id(id, "Product"))  # type: ignore[no-any-return]
        return await products.find_by_sku(sku)  # type: ignore[no-any-return]

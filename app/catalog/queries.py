"""What can be asked of the catalogue."""

import strawberry

from app.api.cache_control import cached
from app.api.connection import Connection, connection
from app.api.lookup import single
from app.api.permissions import public
from app.api.scalars import decode_id
from app.catalog.types import Product, ProductFilter, ProductOrder
from app.core.errors import BadInput
from app.core.security import Viewer
from app.execution.declarations import Where


def _product(_viewer: Viewer, id: strawberry.ID | None = None, sku: str | None = None) -> Where | None:
    if (id is None) == (sku is None):
        raise BadInput("id", "give either id or sku, and only one of them")
    return {"sku": sku} if id is None else {"id": decode_id(id, "Product")}


@strawberry.type
class CatalogQuery:
    products: Connection[Product] = connection(
        "products",
        access=public,
        cache=cached(60),
        filter=ProductFilter,
        order=ProductOrder,
        fixed={"status": "ACTIVE"},
        description="What is for sale, newest first; staff also see their store's other products.",
    )

    product: Product | None = single("products", _product, access=public, cache=cached(60), description="One product, by id or by SKU.")

"""The demo shop's two stores, what they sell and on which terms, and how many pieces there are."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.carts.models import VoucherCreate
from app.catalog.models import ProductCreate, ProductStatus
from app.seed.assortment import ASSORTMENT, Category, Kind
from app.seed.draw import Draw, Values, new_row
from app.stores.models import StoreCreate, StoreSettingsUpdate

CURRENCY: Final = "USD"
STORES: Final = (
    ("Cairn & Compass", "cairn-compass.example.com", "Europe/London"),
    ("Copper Kettle", "copper-kettle.example.com", "America/New_York"),
)
TERMS: Final[tuple[dict[str, Any], ...]] = (
    {"shipping_price": Decimal("4.90"), "free_shipping_from": Decimal(100), "tax_rate": Decimal(20), "prices_include_tax": True},
    {"shipping_price": Decimal("6.50"), "free_shipping_from": Decimal(75), "tax_rate": Decimal("8.875"), "prices_include_tax": False},
)
"""What each store asks for beside its prices: one has the tax in them, the other puts it on top."""

VOUCHERS: Final[tuple[dict[str, Any], ...]] = (
    {"code": "HELLO-10", "percent": Decimal(10)},
    {"code": "FIVE-OFF", "amount": Decimal(5), "minimum_amount": Decimal(40)},
    {"code": "ONE-EACH", "percent": Decimal(20), "once_per_user": True},
    {"code": "LAST-YEAR", "percent": Decimal(25)},
)
"""What either store has; the last is over."""

ENDED: Final = timedelta(days=7)
IMAGES: Final = "https://images.example.com/products"
PRICE_STEPS: Final = tuple(Decimal(step) for step in ("0.7", "0.85", "1", "1.15", "1.35", "1.6"))
"""What a make costs beside the middle of the range, from plain to fine."""

HIDDEN: Final = {ProductStatus.ARCHIVED: 4, ProductStatus.INACTIVE: 2}
SOLD_OUT: Final = 4
SCARCE: Final = 10
"""How many products are off sale, sold out, or down to their last pieces."""


@dataclass
class Shelves:
    """Rows of stores and products; `free` are the pieces of each product that nobody has reserved."""

    stores: list[Values] = field(default_factory=list)
    vouchers: list[Values] = field(default_factory=list)
    settings: list[Values] = field(default_factory=list)
    products: list[Values] = field(default_factory=list)
    links: list[tuple[UUID, UUID]] = field(default_factory=list)
    free: dict[UUID, int] = field(default_factory=dict)

    def for_sale_in(self, store_id: UUID) -> list[Values]:
        """The products that shoppers find in a store."""
        sold = {product for product, store in self.links if store == store_id}
        return [product for product in self.products if product["id"] in sold and product["status"] == ProductStatus.ACTIVE]


def stocked_shelves(draw: Draw) -> Shelves:
    """Both stores with all that they sell."""
    shelves = Shelves()
    for (name, domain, timezone), terms in zip(STORES, TERMS, strict=True):
        settings = StoreSettingsUpdate(currency=CURRENCY, timezone=timezone, language="en", **terms)
        _add_store(draw, shelves, StoreCreate(name=name, domain=domain, url=f"https://{domain}", settings=settings))
    for category in ASSORTMENT:
        for product in _products(draw, category):
            shelves.products.append(product)
            shelves.links.extend((product["id"], shelves.stores[number]["id"]) for number in category.stores)
    _stock(draw, shelves)
    return shelves


def inventory_rows(draw: Draw, shelves: Shelves, reserved: dict[UUID, int]) -> list[Values]:
    """An inventory per product: the free pieces and those that are reserved for orders."""
    return [
        new_row(
            product["created_at"],
            product_id=product["id"],
            on_hand=shelves.free[product["id"]] + reserved.get(product["id"], 0),
            reserved=reserved.get(product["id"], 0),
        )
        | {"updated_at": draw.now}
        for product in shelves.products
    ]


def _add_store(draw: Draw, shelves: Shelves, given: StoreCreate) -> None:
    opened = draw.ago(timedelta(days=60), timedelta(days=58))
    store = new_row(opened, **given.model_dump(exclude={"settings", "owner_id"}))
    shelves.stores.append(store)
    shelves.settings.append(new_row(opened, store_id=store["id"], config={}, **given.settings.model_dump(exclude_unset=True)))
    for terms in VOUCHERS:
        ends_at = draw.now - ENDED if terms is VOUCHERS[-1] else None
        voucher = VoucherCreate(store_id=store["id"], currency=CURRENCY, ends_at=ends_at, **terms)
        shelves.vouchers.append(new_row(opened, **voucher.model_dump()))


def _products(draw: Draw, category: Category) -> Iterator[Values]:
    for number, (make, detail, step) in enumerate(zip(category.makes, category.details, PRICE_STEPS, strict=True), start=1):
        for place, kind in enumerate(category.kinds, start=1):
            sku = f"{category.code}-{number}{place:02d}"
            given = _product(f"{make} {kind.noun}", kind, detail, step, sku, category.name)
            yield new_row(
                draw.ago(timedelta(days=57), timedelta(days=45)),
                **given.model_dump(exclude={"store_ids", "created_by", "inventory_policy"}),
            )


def _product(name: str, kind: Kind, detail: str, step: Decimal, sku: str, category: str) -> ProductCreate:
    return ProductCreate(
        name=name,
        description=f"{kind.purpose} {detail}",
        price=(kind.dollars * step).quantize(Decimal(1)) - Decimal("0.10"),
        currency=CURRENCY,
        sku=sku,
        category=category,
        image_url=f"{IMAGES}/{sku.lower()}.jpg",
    )


def _stock(draw: Draw, shelves: Shelves) -> None:
    """Pieces for every product; a few products are scarce, sold out or no longer on sale."""
    shelves.free = {product["id"]: draw.number(12, 140) for product in shelves.products}
    chosen = draw.some(shelves.products, SOLD_OUT + SCARCE + sum(HIDDEN.values()))
    few = [0] * SOLD_OUT + [draw.number(1, 4) for _ in range(SCARCE)]
    statuses = [status for status, count in HIDDEN.items() for _ in range(count)]
    for product, pieces in zip(chosen[: len(few)], few, strict=True):
        shelves.free[product["id"]] = pieces
    for product, status in zip(chosen[len(few) :], statuses, strict=True):
        product["status"] = status

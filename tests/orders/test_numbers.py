"""The numbers of orders, and what orders come to in currencies of different digits."""

import asyncio

import pytest

from tests.shop import Shop, ids

ORDER = "order { number total currency items { name sku quantity price lineTotal } }"
RACERS = 40


async def test_each_store_counts_its_own_orders(shop: Shop) -> None:
    ann, other = await shop.viewer(), await shop.open_store()
    tea, pot = await shop.product(), await shop.product(stores=(other.id,))
    orders = [await shop.order(ann, (product, 1)) for product in (tea, pot, tea, tea, pot)]
    assert [order.number for order in orders] == [1, 1, 2, 3, 2]


async def test_shoppers_who_race_get_numbers_without_gaps(shop: Shop) -> None:
    """Every third order fails at its last moment: its number is the next one's."""
    tea, scarce = await shop.product(stock=1000), await shop.product(stock=1)
    shoppers = [await shop.viewer() for _ in range(RACERS)]
    carts = [await shop.cart(shopper, (scarce if n % 3 == 0 else tea, 1)) for n, shopper in enumerate(shoppers)]
    calls = (shop.of(shopper).orders.create_from_cart(cart.id, "card") for shopper, cart in zip(shoppers, carts, strict=True))
    made = [result for result in await asyncio.gather(*calls, return_exceptions=True) if not isinstance(result, BaseException)]
    assert sorted(order.number or 0 for order in made) == list(range(1, len(made) + 1))
    assert len(made) == 1 + sum(n % 3 != 0 for n in range(RACERS))


async def test_the_same_key_gives_the_same_number(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1), key="key")
    assert order.cart_id is not None
    assert (await shop.of(ann).orders.create_from_cart(order.cart_id, "card", "key")).number == order.number == 1


async def test_orders_that_were_loaded_are_numbered_after_those_that_are_there(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    await shop.order(ann, (tea, 1))
    rows = [
        {"user_id": ann.user_id, "store_id": store, "items_total": 1, "total": 1, "currency": "USD"}
        for store in (shop.store.id, shop.store.id, None)
    ]
    loaded = await shop.repositories.orders.create_many(rows)
    assert await shop.repositories.orders.number_all() == 3
    numbers = {row.id: row.number for row in await shop.repositories.orders.find_many()}
    assert sorted(numbers[row.id] or 0 for row in loaded if row.store_id) == [2, 3]
    assert (await shop.order(ann, (tea, 1))).number == 4
    assert await shop.repositories.orders.number_all() == 0


@pytest.mark.parametrize(
    ("currency", "prices", "shown", "total"),
    [
        ("JPY", ("150", "1999"), (("150", "450"), ("1999", "1999")), "2449"),
        ("USD", ("1.10", "0.99"), (("1.10", "3.30"), ("0.99", "0.99")), "4.29"),
        ("KWD", ("0.125", "3.999"), (("0.125", "0.375"), ("3.999", "3.999")), "4.374"),
    ],
)
async def test_an_order_adds_up_in_the_digits_of_its_currency(
    shop: Shop, currency: str, prices: tuple[str, str], shown: tuple[tuple[str, str], ...], total: str
) -> None:
    """From the product to what is charged."""
    ann, store = await shop.viewer(), await shop.open_store(currency=currency)
    tea, pot = [await shop.product(price, currency=currency, sku=f"{currency}-{price}", stores=(store.id,)) for price in prices]
    cart = await shop.cart(ann, (tea, 3), (pot, 1))
    made = await shop.change(ann, "createOrder", "order { id }", **ids(cartId=cart), paymentMethod="card")
    shown_of = f"{ORDER[:-1]} payments {{ amount currency status }} }}"
    paid = await shop.change(ann, "processPayment", shown_of, orderId=made["order"]["id"], paymentToken="tok_success")
    order = paid["order"]
    assert (order["total"], order["currency"]) == (total, currency)
    assert order["payments"] == [{"amount": total, "currency": currency, "status": "COMPLETED"}]
    assert [(line["price"], line["lineTotal"]) for line in order["items"]] == list(shown)
    await shop.repositories.products.update_by_id(tea.id, {"name": "Renamed", "sku": None, "price": 1})
    document = f"query ($id: ID!) {{ {ORDER.replace('order', 'order(id: $id)', 1)} }}"
    again = (await shop.ask(ann, document, id=made["order"]["id"]))["data"]["order"]
    assert again["items"] == order["items"]
    assert [line["sku"] for line in again["items"]] == [f"{currency}-{price}" for price in prices]

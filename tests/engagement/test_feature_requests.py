"""The features of carts follow their carts: computed once for many changes, by one worker at a time."""

import asyncio
from typing import Any

from app.carts.repository import FeatureRequestRepository
from app.core.security import Viewer
from app.engagement.features import FeatureStore
from tests.shop import Shop, ids

SETTLED = "update feature_requests set requested_at = requested_at - interval '10 seconds', claimed_until = null"


async def settled(shop: Shop) -> None:
    """Some seconds later."""
    await shop.database.execute_script(SETTLED)


async def count_of(shop: Shop, cart: Any) -> Any:
    found = {row.name: row.value for row in await shop.repositories.features.find_by_cart_id(cart.id)}
    return found.get("item_count")


async def bought(shop: Shop, shopper: Viewer, products: int = 1) -> Any:
    for _ in range(products):
        cart = await shop.cart(shopper, (await shop.product(), 1))
    return cart


async def test_a_cart_that_changes_often_is_computed_once_when_it_has_settled(shop: Shop) -> None:
    store, requests = FeatureStore(shop.repositories), shop.repositories.of(FeatureRequestRepository)
    cart = await bought(shop, await shop.viewer(), 5)
    assert await requests.count() == 1
    assert await store.compute_requested() == 0, "it may change again"
    await settled(shop)
    assert sorted(await asyncio.gather(*(store.compute_requested() for _ in range(4)))) == [0, 0, 0, 1]
    assert await count_of(shop, cart) == 5


async def test_a_change_that_is_undone_asks_for_nothing(shop: Shop) -> None:
    shopper, product = await shop.viewer(), await shop.product()
    try:
        async with shop.repositories.transaction() as tx:
            await tx.carts.put_in(shopper.user_id, product.id, 1)
            raise RuntimeError
    except RuntimeError:
        assert await shop.repositories.of(FeatureRequestRepository).count() == 0


async def test_a_cart_that_changes_while_it_is_computed_is_computed_again(shop: Shop) -> None:
    shopper = await shop.viewer()
    requests = shop.repositories.of(FeatureRequestRepository)
    cart = await bought(shop, shopper)
    await settled(shop)
    [claimed] = await requests.claim(10)
    assert await requests.claim(10) == []
    await bought(shop, shopper)
    await requests.done(claimed)
    await settled(shop)
    assert await FeatureStore(shop.repositories).compute_requested() == 1
    assert await count_of(shop, cart) == 2


async def test_a_worker_that_dies_leaves_its_claim_to_others(shop: Shop) -> None:
    cart = await bought(shop, await shop.viewer())
    await settled(shop)
    assert len(await shop.repositories.of(FeatureRequestRepository).claim(10)) == 1
    assert await FeatureStore(shop.repositories).compute_requested() == 0
    await shop.database.execute_script("update feature_requests set claimed_until = now() - interval '1 second'")
    assert await FeatureStore(shop.repositories).compute_requested() == 1
    assert await count_of(shop, cart) == 1


async def test_a_new_cart_asks_once_by_the_change_that_puts_something_into_it(shop: Shop) -> None:
    def asked() -> float | None:
        labels = {"entity": "feature_requests", "operation": "add", "result": "success"}
        return shop.repositories.metrics.registry.get_sample_value("repository_operation_seconds_count", labels)

    shopper, product = await shop.viewer(), await shop.product()
    await shop.cart(shopper)
    assert asked() is None, "nothing is in it"
    other = await shop.viewer()
    for expected in (1, 2):
        await shop.change(other, "addToCart", "cart { id }", **ids(productId=product))
        assert asked() == expected
    assert await shop.repositories.of(FeatureRequestRepository).count() == 1

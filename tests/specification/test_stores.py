"""Importing types, and store operations."""

import importlib
from typing import Any
from uuid import UUID

import pytest

from app.core.errors import NotFound
from app.repositories import Repositories
from app.stores.models import Store, StoreCreate, StoreSettings, StoreStatus
from tests.specification.conftest import World, global_id
from tests.specification.contents import GRAPHQL, operation

MODELS = {
    "app.accounts.models": "User UserStatus UserSession UserCreate UserUpdate ApiKey ApiKeyStatus ApiKeyCreate",
    "app.stores.models": "Store StoreStatus StoreSettings StoreCreate StoreUpdate",
    "app.catalog.models": "Product",
    "app.carts.models": "Cart CartCreate",
    "app.orders.models": "Order OrderStatus OrderCreate OrderUpdate OrderItemCreate PaymentStatus",
    "app.engagement.models": "Feature Notification FeatureCreate NotificationCreate",
    "app.quality.models": "QualityValidation ReconciliationRule QualityValidationCreate",
}


@operation("importModels")
@pytest.mark.parametrize(("module", "names"), MODELS.items())
def test_the_types_that_examples_import(module: str, names: str) -> None:
    for name in names.split():
        assert isinstance(getattr(importlib.import_module(module), name), type), name


async def create_store(factory: Repositories, name: str, domain: str) -> Store:
    settings = {"currency": "USD", "timezone": "UTC", "language": "en"}
    given = {"name": name, "domain": domain, "status": StoreStatus.ACTIVE, "settings": settings}
    return await factory.stores.create_with_settings(StoreCreate.model_validate(given))


async def update_store_settings(factory: Repositories, store_id: UUID, settings: dict[str, Any]) -> StoreSettings:
    store, [present] = await factory.stores.find_by_id(store_id), await factory.store_settings.find_by_store_ids([store_id])
    if store is None or present is None:
        raise NotFound("store or settings not found")
    kept = {name: present[name] for name in ("currency", "timezone", "language")}
    return await factory.stores.update_settings(store_id, {**kept, **settings})


async def get_active_stores(factory: Repositories) -> list[tuple[Store, StoreSettings]]:
    stores = await factory.stores.find_many({"status": StoreStatus.ACTIVE.value})
    settings = await factory.store_settings.find_by_store_ids([store.id for store in stores])
    return list(zip(stores, settings, strict=True))


@operation("createStore")
async def test_create_store(world: World) -> None:
    store = await create_store(world.factory, "Harbour Books", "harbour.example.com")
    row = await world.row("stores", store.id)
    assert (row["name"], row["domain"], row["status"]) == ("Harbour Books", "harbour.example.com", "ACTIVE")
    settings = await world.found("select * from store_settings where store_id = $1", store.id)
    assert (settings["currency"], settings["timezone"], settings["language"]) == ("USD", "UTC", "en")


CREATE = "mutation ($input: CreateStoreInput!) { createStore(input: $input) { store { id } userErrors { code } } }"


@operation("createStore", GRAPHQL)
async def test_create_store_over_graphql(world: World) -> None:
    input = {"name": "Quay", "domain": "quay.example.com", "settings": {"currency": "EUR"}}
    made = (await world.administrator.ask(CREATE, input=input))["createStore"]
    row = await world.shown("stores", "Store", made["store"]["id"])
    assert (row["domain"], row["status"]) == ("quay.example.com", "ACTIVE")
    assert await world.database.fetchval("select currency from store_settings where store_id = $1", row["id"]) == "EUR"


@operation("updateStoreSettings")
async def test_update_store_settings(world: World) -> None:
    store = await world.store()
    updated = await update_store_settings(world.factory, store.id, {"timezone": "Europe/Berlin"})
    row = await world.row("store_settings", updated.id)
    assert (row["timezone"], row["currency"], row["store_id"]) == ("Europe/Berlin", "USD", store.id)
    with pytest.raises(NotFound):
        await update_store_settings(world.factory, updated.id, {})


UPDATE = """
    mutation ($input: UpdateStoreSettingsInput!) {
      updateStoreSettings(input: $input) { settings { timezone language } userErrors { code } } }
"""


@operation("updateStoreSettings", GRAPHQL)
async def test_update_store_settings_over_graphql(world: World) -> None:
    store = await world.store()
    answer = await world.administrator.ask(UPDATE, input={"storeId": global_id(store), "language": "de"})
    assert answer["updateStoreSettings"] == {"settings": {"timezone": "UTC", "language": "de"}, "userErrors": []}
    assert await world.database.fetchval("select language from store_settings where store_id = $1", store.id) == "de"


async def _two_stores(world: World) -> tuple[Store, Store]:
    open_, closed = await world.store(), await world.store()
    await world.factory.stores.update_by_id(closed.id, {"status": StoreStatus.SUSPENDED.value})
    return open_, closed


@operation("getActiveStores")
async def test_get_active_stores(world: World) -> None:
    open_, closed = await _two_stores(world)
    found = {store.id: settings for store, settings in await get_active_stores(world.factory)}
    assert found[open_.id].currency == "USD"
    assert closed.id not in found


@operation("getActiveStores", GRAPHQL)
async def test_get_active_stores_over_graphql(world: World) -> None:
    open_, closed = await _two_stores(world)
    query = "{ stores(first: 100, filter: { status: { eq: ACTIVE } }) { nodes { id settings { currency } } } }"
    found = {node["id"]: node["settings"] for node in (await world.administrator.ask(query))["stores"]["nodes"]}
    assert found[global_id(open_)] == {"currency": "USD"}
    assert global_id(closed) not in found

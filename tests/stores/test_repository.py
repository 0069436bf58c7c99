"""Stores and their settings as the specification uses them."""

from uuid import uuid4

import pytest

from app.core.errors import NotFound, UserError
from app.repositories import Repositories
from app.stores.models import Store, StoreCreate


async def opened(repositories: Repositories, domain: str) -> Store:
    return await repositories.stores.create_with_settings(StoreCreate(name="Harbour Books", domain=domain))


async def test_a_store_is_found_by_its_domain_in_any_case(repositories: Repositories) -> None:
    store = await opened(repositories, "Harbour.Example.com")
    found = await repositories.stores.find_by_domain("harbour.EXAMPLE.com")
    assert found is not None
    assert found.id == store.id


async def test_a_store_that_cannot_be_made_leaves_no_settings(repositories: Repositories) -> None:
    await opened(repositories, "harbour.example.com")
    with pytest.raises(UserError):
        await opened(repositories, "harbour.example.com")
    assert await repositories.store_settings.count() == 1


async def test_settings_are_merged_into_those_that_are_there(repositories: Repositories) -> None:
    store = await opened(repositories, "harbour.example.com")
    await repositories.stores.update_settings(store.id, {"config": {"theme": "dark", "rows": 20}})
    settings = await repositories.stores.update_settings(store.id, {"config": {"rows": 50}})
    assert settings.config == {"theme": "dark", "rows": 50}
    with pytest.raises(NotFound):
        await repositories.stores.update_settings(uuid4(), {"config": {}})


async def test_store_stats_count_every_store(repositories: Repositories) -> None:
    gone = await opened(repositories, "harbour.example.com")
    await opened(repositories, "quay.example.com")
    await repositories.stores.soft_delete(gone.id)
    assert await repositories.stores.get_store_stats() == {"total": 2, "active": 1, "suspended": 0, "deleted": 1}

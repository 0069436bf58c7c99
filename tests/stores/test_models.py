"""What the database and the inputs refuse of stores, settings, reports and configuration."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from pydantic import ValidationError

from app.stores.models import ConfigSet, ReportCreate, StoreCreate, StoreSettingsUpdate, StoreStatus, StoreUpdate, timezones

Insert = Callable[..., Awaitable[UUID]]

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("table", "values", "constraint"),
    [
        ("stores", {"status": "OPEN"}, "ck_stores_status"),
        ("stores", {"status": "DELETED"}, "ck_stores_status_deleted"),
        ("stores", {"domain": "Shop.Example.com"}, "ck_stores_domain_lower_case"),
        ("store_settings", {"currency": "usd"}, "ck_store_settings_currency"),
        ("store_settings", {"config": "[]"}, "ck_store_settings_config_is_object"),
        ("reports", {"status": "DONE"}, "ck_reports_status"),
        ("reports", {"status": "READY"}, "ck_reports_generated_at_set"),
        ("reports", {"generated_at": NOW}, "ck_reports_generated_at_set"),
        ("reports", {"error": "no data"}, "ck_reports_error_of_failed"),
        ("reports", {"parameters": "1"}, "ck_reports_parameters_is_object"),
    ],
)
async def test_a_bad_row_is_refused(insert: Insert, table: str, values: dict[str, Any], constraint: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert(table, **values)
    assert refused.value.constraint_name == constraint


async def test_a_domain_is_free_again_once_its_store_is_deleted(insert: Insert, connection: asyncpg.Connection) -> None:
    first = await insert("stores", domain="shop.example.com")
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_stores_domain"):
        async with connection.transaction():
            await insert("stores", domain="shop.example.com")
    await connection.execute("update stores set is_deleted = true, deleted_at = now() where id = $1", first)
    await insert("stores", domain="shop.example.com")


async def test_a_store_has_one_settings_row(insert: Insert) -> None:
    store = await insert("stores")
    await insert("store_settings", store_id=store)
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_store_settings_store_id"):
        await insert("store_settings", store_id=store)


async def test_settings_have_defaults(insert: Insert, connection: asyncpg.Connection) -> None:
    identity = await insert("store_settings")
    row = await connection.fetchrow("select currency, timezone, language, config from store_settings where id = $1", identity)
    assert tuple(row or ()) == ("USD", "UTC", "en", "{}")


async def test_an_owner_cannot_be_removed(insert: Insert, connection: asyncpg.Connection) -> None:
    owner = await insert("users")
    await insert("stores", owner_id=owner)
    with pytest.raises(asyncpg.RestrictViolationError, match="fk_stores_owner_id_users"):
        await connection.execute("delete from users where id = $1", owner)


async def test_a_setting_of_the_platform_is_there_once(insert: Insert) -> None:
    await insert("config", key="checkout.enabled")
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_config_key"):
        await insert("config", key="checkout.enabled")


def refused_field(model: type[Any], **values: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        model(**values)
    return str(refused.value.errors()[0]["loc"][-1])


def test_a_store_is_active_and_has_the_default_settings() -> None:
    store = StoreCreate(name=" Harbour Books ", domain=" Shop.Example.COM ")
    assert (store.name, store.domain, store.status) == ("Harbour Books", "shop.example.com", StoreStatus.ACTIVE)
    assert store.settings.model_dump(exclude_unset=True) == {}


@pytest.mark.parametrize(
    "domain",
    ["", "localhost", "a..b", "-a.com", "a-.com", "a b.com", "a.com/", "https://a.com", "ü.com", "a" * 64 + ".com", "a." * 127 + "com"],
)
def test_what_is_no_host_name_is_refused(domain: str) -> None:
    assert refused_field(StoreCreate, name="Shop", domain=domain) == "domain"


@pytest.mark.parametrize("timezone", ["Europe/Atlantis", "localtime", "Factory", "europe/berlin", "../../etc/passwd", "", "UTC+1"])
def test_what_is_no_time_zone_is_refused(timezone: str) -> None:
    assert refused_field(StoreSettingsUpdate, timezone=timezone) == "timezone"


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"])
async def test_time_zones_are_postgresql_s_too(connection: asyncpg.Connection, timezone: str) -> None:
    assert StoreSettingsUpdate(timezone=timezone).timezone in timezones()
    assert await connection.fetchval("select now() at time zone $1", timezone)


@pytest.mark.parametrize("language", ["en", "pt-BR", "zh-Hant-TW", "sl-rozaj-biske"])
def test_languages(language: str) -> None:
    assert StoreSettingsUpdate(language=language).language == language


@pytest.mark.parametrize("language", ["", "e", "english", "en_GB", "en-", "en\n", "en-" + "a" * 9])
def test_what_is_no_language_tag_is_refused(language: str) -> None:
    assert refused_field(StoreSettingsUpdate, language=language) == "language"


def test_settings_change_one_by_one() -> None:
    assert StoreSettingsUpdate(currency="JPY").model_dump(exclude_unset=True) == {"currency": "JPY"}
    assert refused_field(StoreSettingsUpdate, currency=None) == "currency"
    assert refused_field(StoreSettingsUpdate, config=[1]) == "config"


def test_only_the_address_of_a_store_may_be_cleared() -> None:
    assert StoreUpdate(url=None).model_dump(exclude_unset=True) == {"url": None}
    assert refused_field(StoreUpdate, name=None) == "name"
    assert refused_field(StoreUpdate, owner_id=None) == "owner_id"


def test_reports_and_configuration_are_named() -> None:
    assert refused_field(ReportCreate, store_id=UUID(int=1), type="") == "type"
    assert refused_field(ConfigSet, key="No Spaces", value=1) == "key"
    assert ConfigSet(key="checkout.max_lines", value=None).value is None

"""The world of the access tests: two stores, their people, and a victim."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from app.resources import open_resources
from tests.access.world import CLOSED, HARBOUR, MARK, MARKET, Person, World, key
from tests.conftest import fresh_database
from tests.serving import gateway, settings_for

UNLIMITED = {"max_cost": 10**7, "max_depth": 30, "max_visits": 30, "max_tokens": 50_000}


@pytest.fixture(scope="session")
async def world(postgres: str, migrated: str) -> AsyncIterator[World]:
    async with fresh_database(postgres, migrated) as dsn:
        settings = settings_for(dsn, **UNLIMITED)
        async with gateway(settings) as visitor, open_resources(settings) as resources:
            connection = await asyncpg.connect(dsn, timeout=10)
            world = World(visitor, connection, resources.repositories)
            await _open_stores(world)
            await _invite(world)
            await _settle(world)
            await _settle_quality(world)
            yield world
            await connection.close()


async def _open_stores(world: World) -> None:
    for name, domain, status in (("Harbour", HARBOUR, "ACTIVE"), ("Market", MARKET, "ACTIVE"), (f"{MARK} store", CLOSED, "SUSPENDED")):
        store = await world.insert("stores", name=name, domain=domain, status=status)
        config = '{"note": "%s"}' % (MARK if status == "SUSPENDED" else "open")
        settings = await world.insert("store_settings", store_id=key(store), config=config)
        if status == "SUSPENDED":
            world.victims |= {"Store": store, "StoreSettings": settings}
        world.public[domain] = store
    world.public["Product"] = await world.product(HARBOUR, MARKET, name="Teapot")


async def _invite(world: World) -> None:
    """A stranger who shops, rivals who run another store, insiders whose role is about something else, and those of the story."""
    await world.role("RIVAL", "*:read", "*:write")
    await world.role("SCRIBE", "events:write")
    world.victims["Role"] = await world.role("CLERK", "orders:read")
    world.victims["RolePermission"] = await world.insert("role_permissions", role_id=key(world.victims["Role"]), resource="x", action="y")
    for name, role, store in (
        ("stranger", "USER", None),
        ("rival", "RIVAL", MARKET),
        ("insider", "SCRIBE", HARBOUR),
        ("victim", "USER", None),
        ("administrator", "ADMIN", None),
        ("clerk", "CLERK", CLOSED),
    ):
        world.people[name] = await world.person(name if name != "clerk" else f"{MARK}clerk", role, store)
    del world.people["clerk"]
    world.people["anonymous"] = Person("anonymous", world.visitor)


async def _settle(world: World) -> None:
    """What the victim has: something of every type."""
    victim = world.people["victim"]
    product = await world.product(HARBOUR, status="INACTIVE")
    cart, order = await world.cart(victim, CLOSED, product), await world.order(victim, CLOSED, product)
    payment = await world.insert("payments", order_id=key(order), amount=20, provider="test", transaction_id=f"{MARK} charge")
    await world.connection.execute("update user_sessions set user_agent = $1 where user_id = $2", f"{MARK} agent", key(victim.own["User"]))
    world.victims |= {"User": victim.own["User"], "Product": product, "Cart": cart, "Order": order, "Payment": payment}
    refund = {"amount": 1, "idempotency_key": f"{MARK} key", "reason": f"{MARK} refund"}
    world.victims["Refund"] = await world.insert("refunds", payment_id=key(payment), **refund)
    world.victims["OrderEvent"] = await world.insert("order_events", order_id=key(order), kind="CREATED", data=f'{{"note": "{MARK}"}}')
    world.victims["Inventory"] = await world.id_of("inventory", "product_id", product)
    moved = {"inventory_id": key(world.victims["Inventory"]), "kind": "ADJUSTMENT", "quantity": 1, "reason": f"{MARK} delivery"}
    world.victims["InventoryMovement"] = await world.insert("inventory_movements", **moved)
    lost = {"store_id": key(world.public[CLOSED]), "user_id": key(victim.own["User"]), "event_type": "cart_abandoned", "outcome": MARK}
    world.victims["RecoveryEvent"] = await world.insert("recovery_events", cart_id=key(cart), **lost)
    world.victims["CartItem"] = await world.id_of("cart_items", "cart_id", cart)
    world.victims["OrderItem"] = await world.id_of("order_items", "order_id", order)
    world.victims["UserSession"] = await world.id_of("user_sessions", "user_id", victim.own["User"])
    event = {"type": "SIGNED_IN", "ip_address": "192.0.2.1", "user_agent": f"{MARK} agent", "details": f'{{"note": "{MARK}"}}'}
    world.victims["SecurityEvent"] = await world.insert("security_events", user_id=key(victim.own["User"]), **event)
    world.victims["ApiKey"] = await world.api_key(victim)
    world.victims["Notification"] = await world.insert("notifications", user_id=key(victim.own["User"]), type="order", message=MARK)
    failed = {"user_id": key(victim.own["User"]), "status": "FAILED", "error": MARK}
    world.victims["DataExport"] = await world.insert("data_exports", **failed)
    hook = {"store_id": key(world.public[CLOSED]), "url": f"https://{MARK}.example.com/", "event_type": "ORDER_CREATED", "secret": MARK}
    world.victims["Webhook"] = await world.insert("webhooks", **hook)
    world.victims["Voucher"] = await world.voucher(CLOSED)
    sent = {"event_id": uuid4(), "event_type": "ORDER_CREATED", "payload": f'{{"note": "{MARK}"}}', "next_attempt_at": datetime.now(UTC)}
    world.victims["WebhookDelivery"] = await world.insert("webhook_deliveries", webhook_id=key(world.victims["Webhook"]), **sent)
    world.victims["UserEvent"] = await world.event(victim, CLOSED)
    feature = {"name": "user_interaction", "value": f'"{MARK}"', "description": MARK}
    world.victims["Feature"] = await world.insert("features", cart_id=key(cart), **feature)
    await _settle_features(world, victim, product)


async def _settle_features(world: World, victim: Person, product: str) -> None:
    """What is computed of the victim, and of a product that nobody else may see."""
    for table, subject in (("user_features", victim.own["User"]), ("product_features", product)):
        column = f"{table.split('_')[0]}_id"
        insert = f"insert into {table} ({column}, store_id, name, value) values ($1, $2, $3, $4)"
        await world.connection.execute(insert, key(subject), key(world.public[CLOSED]), f"{MARK} feature", f'"{MARK}"')


async def _settle_quality(world: World) -> None:
    """What is known of the quality of the platform's data."""
    checked = {"table_name": "orders", "check_type": "NULL_CHECK", "check_name": "orders_null_check"}
    world.victims["QualityValidation"] = await world.insert("quality_validations", **checked)
    asked = {"store_id": key(world.public[CLOSED]), "type": "SALES", "parameters": f'{{"note": "{MARK}"}}'}
    world.victims["Report"] = await world.insert("reports", **asked)
    rule = {"name": "orders_vs_orders_mirror", "source_table": "orders", "target_table": "orders_mirror", "join_key": "id"}
    world.victims["ReconciliationRule"] = await world.insert("reconciliation_rules", **rule)
    run = {"rule_id": key(world.victims["ReconciliationRule"]), "status": "FAILED", "details": f'{{"note": "{MARK}"}}'}
    world.victims["ReconciliationExecution"] = await world.insert("reconciliation_executions", **run, finished_at=datetime.now(UTC))
    repair = {"operation_id": f"{MARK} row", "type": "RESHIP", "status": "SUCCESS", "details": f'{{"note": "{MARK}"}}'}
    execution = key(world.victims["ReconciliationExecution"])
    world.victims["RepairOperation"] = await world.insert("repair_operations", execution_id=execution, **repair)
    world.victims["QualityAnomaly"] = await world.insert("quality_anomalies", type="MISSING_DATA", table_name="orders")
    scheduled = {"table_name": "users", "check_type": "NULL_CHECK", "column_name": "email", "next_run_at": datetime(2100, 1, 1, tzinfo=UTC)}
    world.victims["QualitySchedule"] = await world.insert("quality_schedules", **scheduled)

"""System operations, type guards and utilities, and the factory itself."""

from datetime import timedelta
from decimal import Decimal
from itertools import product as pairs
from uuid import uuid4

import pytest
import structlog

from app.accounts.models import UserStatus, is_active_user, validate_email
from app.core.cache import Cache, memory_backend
from app.core.errors import UserError
from app.core.metrics import Metrics
from app.core.paging import Sort
from app.core.repository import Repository
from app.orders.models import OrderStatus, OrderUpdate, is_completed_order, validate_order_status_transition
from app.quality.checks import CheckRequest, Checks
from app.quality.models import QualityCheckType, QualityValidationCreate, ReconciliationRuleCreate
from app.repositories import Repositories, create_repository_factory
from tests.serving import SIGN_UP
from tests.specification.conftest import PASSWORD, World, global_id
from tests.specification.contents import GRAPHQL, operation


@operation("runQualityCheck")
async def test_run_quality_check(world: World) -> None:
    checks = Checks(world.factory)
    request = CheckRequest(QualityCheckType.NULL_CHECK, "users", "email", None)
    validation = await checks.run(await checks.prepare(request))
    row = await world.row("quality_validations", validation.id)
    assert (row["table_name"], row["check_type"], row["status"], row["affected_rows"]) == ("users", "NULL_CHECK", "PASSED", 0)


RUN = """mutation ($input: RunQualityCheckInput!) {
    runQualityCheck(input: $input) { validation { id status severity affectedRows } userErrors { code } } }"""
FAILED = "query ($since: DateTime!) { failedQualityChecks(since: $since, first: 50) { nodes { id status } } }"


@operation("runQualityCheck", GRAPHQL)
@operation("getFailedQualityChecks", GRAPHQL)
async def test_run_quality_check_over_graphql(world: World) -> None:
    since = world.factory.now().isoformat()
    await world.user()
    input = {"tableName": "users", "checkType": "NULL_CHECK", "columnName": "first_name"}
    found = (await world.administrator.ask(RUN, input=input))["runQualityCheck"]["validation"]
    assert (found["status"], found["affectedRows"] > 0) == ("FAILED", True)
    row = await world.shown("quality_validations", "QualityValidation", found["id"])
    assert (row["table_name"], row["status"], row["affected_rows"]) == ("users", "FAILED", found["affectedRows"])
    failed = (await world.administrator.ask(FAILED, since=since))["failedQualityChecks"]["nodes"]
    assert {"id": found["id"], "status": "FAILED"} in failed


@operation("createReconciliationRule")
async def test_create_reconciliation_rule(world: World) -> None:
    rule = ReconciliationRuleCreate(
        name=f"orders_vs_orders_mirror_{world.number()}",
        source_table="orders",
        target_table="orders_mirror",
        join_key="id",
        next_run_at=world.factory.now() + timedelta(days=1),
    )
    made = await world.factory.reconciliation_rules.create(rule)
    row = await world.row("reconciliation_rules", made.id)
    assert (row["source_table"], row["target_table"], row["join_key"], row["enabled"]) == ("orders", "orders_mirror", "id", True)
    assert (row["schedule"], row["tolerance"], row["last_run_at"]) == ("DAILY", Decimal("0.01"), None)


RULE = """mutation ($input: CreateReconciliationRuleInput!) {
    createReconciliationRule(input: $input) { rule { id } userErrors { code message } } }"""
RULES = """{ reconciliationRules(first: 100, filter: { enabled: { eq: true } }) { nodes { id } } }"""


@operation("createReconciliationRule", GRAPHQL)
@operation("getActiveReconciliationRules", GRAPHQL)
async def test_create_reconciliation_rule_over_graphql(world: World) -> None:
    input = {"sourceTable": "orders", "targetTable": "orders_mirror", "joinKey": "id", "name": f"mirror {world.number()}"}
    answer = (await world.administrator.ask(RULE, input=input))["createReconciliationRule"]
    assert answer["userErrors"] == []
    row = await world.shown("reconciliation_rules", "ReconciliationRule", answer["rule"]["id"])
    assert (row["source_table"], row["enabled"], row["schedule"]) == ("orders", True, "DAILY")
    assert timedelta(hours=23) < row["next_run_at"] - row["created_at"] < timedelta(hours=25)
    off = {**input, "name": f"mirror {world.number()}", "enabled": False}
    idle = (await world.administrator.ask(RULE, input=off))["createReconciliationRule"]["rule"]
    listed = (await world.administrator.ask(RULES))["reconciliationRules"]["nodes"]
    assert answer["rule"] in listed
    assert idle not in listed


@operation("getFailedQualityChecks")
async def test_get_failed_quality_checks(world: World) -> None:
    checks, now = world.factory.quality_validations, world.factory.now()
    made = []
    for status, hours in (("failed", 3), ("FAILED", 2), ("failed", 1), ("passed", 1)):
        given = QualityValidationCreate.model_validate(
            {
                "table_name": "users",
                "check_type": "null_check",
                "check_name": "users_null_check",
                "status": status,
                "severity": "medium",
                "details": {"column": "email"},
                "affected_rows": 1,
                "execution_time": 2,
                "executed_at": now - timedelta(hours=hours),
            }
        )
        made.append(await checks.create(given))
    found = await checks.find_failed(now - timedelta(hours=2, minutes=30))
    assert [check.id for check in found if check.id in {row.id for row in made}] == [made[2].id, made[1].id]
    assert (await world.row("quality_validations", made[0].id))["status"] == "FAILED"


@operation("getActiveReconciliationRules")
async def test_get_active_reconciliation_rules(world: World) -> None:
    rules, now = world.factory.reconciliation_rules, world.factory.now()
    made = []
    for days, enabled in ((2, True), (1, True), (1, False)):
        rule = ReconciliationRuleCreate(
            name=f"orders_vs_payments_{world.number()}",
            source_table="orders",
            target_table="payments",
            join_key="id",
            enabled=enabled,
            next_run_at=now + timedelta(days=days),
        )
        made.append(await rules.create(rule))
    found = [rule.id for rule in await rules.find_many({"enabled": True}, (Sort("next_run_at"),))]
    assert [id for id in found if id in {rule.id for rule in made}] == [made[1].id, made[0].id]
    assert [rule.id for rule in await rules.find_enabled()] == found


@operation("isActiveUser")
async def test_is_active_user(world: World) -> None:
    user = await world.user()
    assert is_active_user(user)
    for status in UserStatus:
        if status is not UserStatus.DELETED:
            changed = await world.factory.users.update_by_id(user.id, {"status": status.value})
            assert is_active_user(changed) == (status is UserStatus.ACTIVE)


@operation("isActiveUser", GRAPHQL)
async def test_only_active_users_act_over_graphql(world: World) -> None:
    caller, user = await world.caller()
    assert (await caller.ask("{ me { status } }"))["me"] == {"status": "ACTIVE"}
    await world.factory.users.batch_update_status([user.id], UserStatus.BANNED)
    refused = (await caller.post("{ me { status } }")).json()["errors"]
    assert refused[0]["extensions"]["code"] == "UNAUTHENTICATED"


@operation("isCompletedOrder")
async def test_is_completed_order(world: World) -> None:
    user = await world.user()
    cart = await world.cart(user, (await world.product(await world.store()), 1))
    order = await world.factory.orders.create_from_cart(cart.id, "card")
    assert not is_completed_order(order)
    assert is_completed_order(await world.factory.orders.update_status(order.id, OrderStatus.COMPLETED))


ORDER = "query ($id: ID!) { order(id: $id) { status completedAt } }"
CANCEL = "mutation ($id: ID!) { cancelOrder(input: { id: $id }) { order { status } userErrors { code } } }"


@operation("isCompletedOrder", GRAPHQL)
@operation("OrderUpdateInput", GRAPHQL)
@operation("validateOrderStatusTransition", GRAPHQL)
async def test_the_status_of_an_order_over_graphql(world: World) -> None:
    caller, user = await world.caller()
    store = await world.store()
    for status, codes in ((None, []), (OrderStatus.COMPLETED, ["INVALID_TRANSITION"])):
        cart = await world.cart(user, (await world.product(store), 1))
        order = await world.factory.orders.create_from_cart(cart.id, "card")
        if status is not None:
            await world.factory.orders.update_status(order.id, status)
        found = (await caller.ask(ORDER, id=global_id(order)))["order"]
        assert (found["status"], found["completedAt"] is not None) == (status or "PENDING", status is not None)
        answer = (await caller.ask(CANCEL, id=global_id(order)))["cancelOrder"]
        assert [error["code"] for error in answer["userErrors"]] == codes
        assert (await world.row("orders", order.id))["status"] == (status or "CANCELLED")


@operation("OrderUpdateInput")
async def test_the_input_of_a_changed_order_takes_its_status_alone(world: World) -> None:
    assert set(OrderUpdate.model_fields) == {"status"}
    with pytest.raises(ValueError, match="total"):
        OrderUpdate.model_validate({"status": "COMPLETED", "total": 0})


@operation("validateEmail")
def test_validate_email() -> None:
    assert all(map(validate_email, ["a@example.com", "first.last+tag@sub.example.org"]))
    assert not any(map(validate_email, ["", "a", "a@b", "a b@example.com", "a@@example.com", "@example.com"]))


@operation("validateEmail", GRAPHQL)
async def test_validate_email_over_graphql(world: World) -> None:
    users = await world.factory.users.count()
    for email in ("a@b", "a b@example.com", "a@@example.com"):
        answer = (await world.visitor.ask(SIGN_UP, input={"email": email, "username": "abcdef", "password": PASSWORD}))["signUp"]
        assert [(error["field"], error["code"]) for error in answer["userErrors"]] == [(["email"], "INVALID")]
    assert await world.factory.users.count() == users


@operation("validateOrderStatusTransition")
async def test_validate_order_status_transition(world: World) -> None:
    """As the specification's table says; PENDING orders may fail as well, which its own example of a payment does."""
    allowed = {
        (OrderStatus.PENDING, OrderStatus.COMPLETED),
        (OrderStatus.PENDING, OrderStatus.CANCELLED),
        (OrderStatus.PENDING, OrderStatus.FAILED),
        (OrderStatus.FAILED, OrderStatus.PENDING),
    }
    assert {pair for pair in pairs(OrderStatus, repeat=2) if validate_order_status_transition(*pair)} == allowed

    cart = await world.cart(await world.user(), (await world.product(await world.store()), 1))
    order = await world.factory.orders.create_from_cart(cart.id, "card")
    await world.factory.orders.update_status(order.id, OrderStatus.CANCELLED)
    with pytest.raises(UserError, match="CANCELLED"):
        await world.factory.orders.update_status(order.id, OrderStatus.COMPLETED)
    assert (await world.row("orders", order.id))["status"] == "CANCELLED"


REPOSITORIES = (
    "users user_sessions roles api_keys stores products carts cart_items orders order_items payments inventory features notifications "
    "recovery_events webhooks reports quality_validations quality_anomalies reconciliation_rules user_events"
)


@operation("createRepositoryFactory")
async def test_create_repository_factory(world: World) -> None:
    database, metrics = world.factory.database, Metrics()
    cache, clickhouse = Cache(memory_backend(), metrics), world.factory.clickhouse
    factory = create_repository_factory(
        database=database, cache=cache, metrics=metrics, logger=structlog.get_logger(), clickhouse=clickhouse
    )
    assert isinstance(factory, Repositories)
    for name in REPOSITORIES.split():
        repository = getattr(factory, name)
        assert isinstance(repository, Repository) == (name != "user_events"), name
        assert await repository.find_by_id(uuid4()) is None
    operation = 'repository_operation_seconds_count{{entity="{}",operation="find_by_id",result="success"}} 1.0'
    said = metrics.render().decode()
    assert all(operation.format(name) in said for name in REPOSITORIES.split())

"""Ids of others: for every argument of the schema that takes an id, nobody reads or changes by it what is not theirs.

The schema is walked, so an operation that takes an id and has no case here fails. Each attack is made by a visitor, by another shopper, by
the staff of another store with all permissions there, and by staff of the same store whose role is about something else; the database
must hold the same before and after. Then whoever has the right does the same, and that must work: or the attack would prove nothing.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

import httpx
import pytest
from graphql import GraphQLArgument, GraphQLField, GraphQLInputField, GraphQLInputObjectType, get_named_type, is_non_null_type

from app.api.scalars import encode_id
from app.schema import create_schema
from tests.access.selection import everything
from tests.access.world import HARBOUR, MARK, MARKET, NODES, Person, World, key

pytestmark = pytest.mark.usefixtures("unmeasured")
SCHEMA = create_schema()._schema
REFUSALS = {"UNAUTHENTICATED", "FORBIDDEN", "NOT_FOUND", "BAD_USER_INPUT"}
DEPTH = 3
_numbers = count(1)
OF_THE_PLATFORM = (
    "Role",
    "RolePermission",
    "QualityValidation",
    "QualityAnomaly",
    "QualitySchedule",
    "ReconciliationRule",
    "ReconciliationExecution",
)
OPEN_TO = {("rival", name) for name in OF_THE_PLATFORM}
"""Roles and the quality of the data are the platform's: whoever may read any of them reads all; others' rows are ids there."""


# --- The walk


def id_paths(arguments: dict[str, GraphQLArgument] | dict[str, GraphQLInputField], depth: int = 0) -> Iterator[str]:
    """Where among arguments, and inside of inputs, ids are taken."""
    for name, argument in arguments.items():
        kind = get_named_type(argument.type)
        if kind.name == "ID":
            yield name
        elif isinstance(kind, GraphQLInputObjectType) and name not in ("and", "or", "not"):
            for path in id_paths(kind.fields, depth + 1):
                yield name if kind.name == "IdFilter" and path == "eq" else f"{name}.{path}"


def taking_ids(root: str) -> list[str]:
    kind: Any = SCHEMA.get_type(root)
    found = []
    for name, field in (kind.fields if kind else {}).items():
        paths = {path.removesuffix(".in") for path in id_paths(field.args)}
        found += [f"{name}.{path}" for path in sorted(paths)]
    return found


# --- Reading


def read_type(field: GraphQLField, path: str) -> str:
    """The type whose ids an argument of a query takes."""
    name = path.rpartition(".")[2]
    if name in ("id", "ids"):
        shown: Any = get_named_type(field.type)
        return str(get_named_type(shown.fields["nodes"].type).name if "nodes" in shown.fields else shown.name)
    return name[0].upper() + name[1:].removesuffix("Id")


def reads() -> list[tuple[str, str]]:
    """Every argument of a query that takes an id, with each type that the id may be of."""
    query = SCHEMA.query_type
    assert query is not None
    found = []
    for place in taking_ids("Query"):
        name, _, path = place.partition(".")
        kind = read_type(query.fields[name], path)
        found += [(place, type_name) for type_name in (NODES if kind == "Node" else [kind])]
    return found


SPAN = {"from": "2026-01-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"}
"""What figures are asked about."""


def read_document(place: str, type_name: str) -> str:
    name, _, path = place.partition(".")
    assert SCHEMA.query_type is not None
    field = SCHEMA.query_type.fields[name]
    shown = get_named_type(field.type).name
    selection = f"... on {type_name} {everything(SCHEMA, type_name, DEPTH)}" if shown == "Node" else everything(SCHEMA, shown, DEPTH)[1:-1]
    kind = field.args[path.partition(".")[0]].type
    if "." not in path:
        listed = "[ID!]!" if path == "ids" else "ID!"
        times = "".join(f', {other}: "{time}"' for other, time in SPAN.items() if other in field.args)
        return f"query ($id: {listed}) {{ found: {name}({path}: $id{times}) {{ {selection} }} }}"
    filtered = path.partition(".")[2]
    assert str(kind).endswith("Filter")
    return f"query ($id: ID!) {{ found: {name}(first: 100, filter: {{ {filtered}: {{ eq: $id }} }}) {{ {selection} }} }}"


def found_in(response: httpx.Response) -> bool:
    data = (response.json().get("data") or {}).get("found")
    if isinstance(data, dict) and "nodes" in data:
        return bool(data["nodes"])
    return any(data) if isinstance(data, list) else data is not None


def test_every_type_that_has_ids_has_a_victim(world: World) -> None:
    assert sorted(world.victims) == NODES


@pytest.mark.parametrize(("place", "type_name"), reads())
async def test_nobody_reads_what_is_not_theirs(world: World, place: str, type_name: str) -> None:
    document, id = read_document(place, type_name), world.victims[type_name]
    variables: dict[str, Any] = {"id": [id] if place.endswith("ids") else id}
    for attacker in world.attackers:
        response = await attacker.caller.post(document, variables)
        assert response.status_code == 200, response.text
        codes = {error["extensions"]["code"] for error in response.json().get("errors", ())}
        if place in ("node.id", "nodes.ids") and (attacker.name, type_name) in OPEN_TO:
            assert found_in(response), (attacker.name, response.text)
            continue
        assert codes <= REFUSALS, (attacker.name, response.text)
        assert not found_in(response), (attacker.name, response.text)
        assert MARK not in response.text, (attacker.name, response.text)
    assert found_in(await world.administrator.caller.post(document, variables)), "the administrator must see it"


def listings() -> list[str]:
    """Root fields that need no argument."""
    assert SCHEMA.query_type is not None
    fields = SCHEMA.query_type.fields.items()
    return [name for name, field in fields if not any(is_non_null_type(argument.type) for argument in field.args.values())]


@pytest.mark.parametrize("name", [name for name in listings() if name not in ("product", "store")])
async def test_no_relation_leads_to_what_is_not_ones_own(world: World, name: str) -> None:
    """Everything that a list shows, with all that is behind it."""
    assert SCHEMA.query_type is not None
    field = SCHEMA.query_type.fields[name]
    page = "(first: 100)" if "first" in field.args else ""
    document = f"{{ found: {name}{page} {everything(SCHEMA, get_named_type(field.type).name, DEPTH)} }}"
    await world.order(world.people["stranger"], HARBOUR, world.public["Product"])
    for attacker in world.attackers:
        text = (await attacker.caller.post(document)).text
        assert "INTERNAL_SERVER_ERROR" not in text
        seen = [type_name for type_name, id in world.victims.items() if id in text and (attacker.name, type_name) not in OPEN_TO]
        assert seen == [], attacker.name
        own = attacker.name == "stranger"  # Whose rows the world marks as well.
        assert own or MARK not in text, (attacker.name, text)


# --- Changing


@dataclass(frozen=True)
class Attack:
    """What is sent, with the id of something that is not the sender's; who has the right to it, or nobody where it is there for nobody."""

    input: Callable[[World, Person], Awaitable[dict[str, Any]]]
    rightful: str | None = "victim"


async def _updated_store(world: World, _: Person) -> dict[str, Any]:
    return {"id": world.public[HARBOUR], "name": f"Taken {next(_numbers)}"}


async def _store_settings(world: World, _: Person) -> dict[str, Any]:
    return {"storeId": world.public[HARBOUR], "config": {"taken": next(_numbers)}}


async def _created_product(world: World, _: Person) -> dict[str, Any]:
    return {"name": "Taken", "price": "1", "storeIds": [world.public[HARBOUR]]}


async def _updated_product(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.product(HARBOUR), "name": "Taken", "price": "0.01"}


async def _shared_product(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.product(HARBOUR, MARKET), "price": "0.01"}


async def _moved_product(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.product(MARKET), "storeIds": [world.public[HARBOUR]]}


async def _archived_product(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.product(HARBOUR)}


async def _restored_product(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.product(HARBOUR, status="ARCHIVED")}


async def _counted_product(world: World, _: Person) -> dict[str, Any]:
    return {"productId": await world.product(HARBOUR), "onHand": 7}


async def _adjusted_product(world: World, _: Person) -> dict[str, Any]:
    return {"productId": await world.product(HARBOUR), "delta": 7, "reason": "delivery"}


async def _revoked_session(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.session(world.victim)}


async def _revoked_key(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.api_key(world.victim)}


async def _given_role(world: World, _: Person) -> dict[str, Any]:
    other = await world.person(MARK)
    return {"userId": other.own["User"], "roleId": world.victims["Role"]}


async def _filled_cart(world: World, _: Person) -> dict[str, Any]:
    product = world.public["Product"]
    return {"cartId": await world.cart(world.victim, HARBOUR, product), "productId": product, "quantity": 5}


async def _emptied_cart(world: World, sender: Person) -> dict[str, Any]:
    filled = await _filled_cart(world, sender)
    return {"cartId": filled["cartId"], "productId": filled["productId"]}


async def _accepted_cart(world: World, _: Person) -> dict[str, Any]:
    cart = await world.cart(world.victim, HARBOUR, world.public["Product"])
    await world.connection.execute("update cart_items set price = 9 where cart_id = $1", key(cart))
    return {"cartId": cart}


async def _left_cart(world: World, _: Person) -> dict[str, Any]:
    cart = await world.cart(world.victim, HARBOUR, world.public["Product"])
    await world.connection.execute("update carts set status = 'ABANDONED' where id = $1", key(cart))
    return {"cartId": cart}


async def _guests_cart(world: World, _: Person) -> dict[str, Any]:
    values = {"cart_token_hash": f"{next(_numbers):064x}", "store_id": await world.store_key(HARBOUR)}
    return {"cartId": await world.insert("carts", **values), "email": "taken@example.com"}


async def _ordered_cart(world: World, _: Person) -> dict[str, Any]:
    return {"cartId": await world.cart(world.victim, HARBOUR, world.public["Product"]), "paymentMethod": "card"}


async def _placed_order(world: World, sender: Person) -> dict[str, Any]:
    return {**await _ordered_cart(world, sender), "paymentToken": "tok_success"}


async def _paid_order(world: World, _: Person) -> dict[str, Any]:
    return {"orderId": await world.order(world.victim, HARBOUR, world.public["Product"]), "paymentToken": "tok_success"}


async def _cancelled_order(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.order(world.victim, HARBOUR, world.public["Product"])}


async def _refunded_payment(world: World, _: Person) -> dict[str, Any]:
    id = await world.paid(world.victim, HARBOUR, world.public["Product"])
    return {"paymentId": encode_id("Payment", id), "idempotencyKey": str(id)}


async def _refunded_order(world: World, _: Person) -> dict[str, Any]:
    id = await world.paid(world.victim, HARBOUR, world.public["Product"])
    order = await world.connection.fetchval("select order_id from payments where id = $1", id)
    return {"orderId": encode_id("Order", order), "idempotencyKey": str(id)}


async def _captured_payment(world: World, _: Person) -> dict[str, Any]:
    id = await world.paid(world.victim, HARBOUR, world.public["Product"], captured=False)
    return {"paymentId": encode_id("Payment", id)}


async def _held_payment(world: World, _: Person) -> dict[str, Any]:
    id = await world.paid(world.victim, HARBOUR, world.public["Product"], captured=False)
    await world.connection.execute("update test_charges set state = 'SUCCEEDED', captured = amount where key = $1", str(id))
    await world.connection.execute("update payments set held_reason = $1, authorized_at = null where id = $2", MARK, id)
    return {"paymentId": encode_id("Payment", id), "resolution": "ACCEPT"}


async def _hidden_product(world: World, _: Person) -> dict[str, Any]:
    return {"productId": world.victims["Product"]}


async def _hidden_store(world: World, _: Person) -> dict[str, Any]:
    return {"productId": world.public["Product"], "storeId": world.victims["Store"]}


async def _line_of_hidden_product(world: World, sender: Person) -> dict[str, Any]:
    cart = await world.cart(sender, MARKET, world.public["Product"]) if sender.own else world.victims["Cart"]
    return {"cartId": cart, "productId": world.victims["Product"]}


async def _quantity_of_hidden_product(world: World, sender: Person) -> dict[str, Any]:
    return {**await _line_of_hidden_product(world, sender), "quantity": 1}


async def _event_of_hidden_store(world: World, _: Person) -> dict[str, Any]:
    return {"events": [{"eventType": "PAGE_VIEW", "storeId": world.victims["Store"]}]}


async def _events_of_hidden_store(world: World, _: Person) -> dict[str, Any]:
    return {"events": [{"eventType": "PAGE_VIEW"}], "storeId": world.victims["Store"]}


async def _new_webhook(world: World, _: Person) -> dict[str, Any]:
    return {"storeId": world.public[HARBOUR], "url": "https://hooks.example.com/", "eventType": "ORDER_CREATED"}


async def _webhook(world: World, _: Person) -> dict[str, Any]:
    hook = {"url": "https://hooks.example.com/", "event_type": "ORDER_CREATED", "secret": "whsec_AAAA"}
    return {"id": await world.insert("webhooks", store_id=key(world.public[HARBOUR]), **hook)}


async def _changed_webhook(world: World, sender: Person) -> dict[str, Any]:
    return {**await _webhook(world, sender), "url": "https://taken.example.com/"}


async def _failed_delivery(world: World, sender: Person) -> dict[str, Any]:
    hook = await _webhook(world, sender)
    failed = {"event_id": uuid4(), "event_type": "ORDER_CREATED", "payload": "{}", "status": "FAILED"}
    return {"id": await world.insert("webhook_deliveries", webhook_id=key(hook["id"]), **failed)}


async def _new_voucher(world: World, _: Person) -> dict[str, Any]:
    return {"storeId": world.public[HARBOUR], "code": f"TAKEN-{next(_numbers)}", "percent": "100"}


async def _voucher(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.voucher(HARBOUR)}


async def _changed_voucher(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.voucher(HARBOUR), "percent": "100"}


async def _cart_with_voucher(world: World, _: Person) -> dict[str, Any]:
    cart, voucher = await world.cart(world.victim, HARBOUR, world.public["Product"]), key(await world.voucher(HARBOUR))
    change = "update carts set voucher_id = $1, voucher_code = (select code from vouchers where id = $1) where id = $2"
    await world.connection.execute(change, voucher, key(cart))
    return {"cartId": cart}


async def _applied_voucher(world: World, _: Person) -> dict[str, Any]:
    voucher = key(await world.voucher(HARBOUR))
    code = await world.connection.fetchval("select code from vouchers where id = $1", voucher)
    return {"cartId": await world.cart(world.victim, HARBOUR, world.public["Product"]), "code": code}


async def _sent_notification(world: World, _: Person) -> dict[str, Any]:
    return {"userId": world.victim.own["User"], "type": "order", "message": f"Taken {next(_numbers)}"}


async def _read_notification(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.insert("notifications", user_id=key(world.victim.own["User"]), type="order", message=MARK)}


async def _anomaly(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.insert("quality_anomalies", type="DUPLICATE", table_name="orders")}


async def _run_rule(world: World, _: Person) -> dict[str, Any]:
    rule = {"source_table": "orders", "target_table": "orders_mirror", "join_key": "id"}
    return {"id": await world.insert("reconciliation_rules", name=f"rule {next(_numbers)}", **rule)}


async def _changed_rule(world: World, sender: Person) -> dict[str, Any]:
    return {**await _run_rule(world, sender), "tolerance": "0.5"}


async def _repaired_run(world: World, sender: Person) -> dict[str, Any]:
    rule = key((await _run_rule(world, sender))["id"])
    listed = f'{{"discrepancies": [{{"kind": "MISSING_IN_SOURCE", "key": "{uuid4()}"}}]}}'
    run = {"rule_id": rule, "status": "WARNING", "details": listed, "finished_at": datetime.now(UTC)}
    return {"executionId": await world.insert("reconciliation_executions", **run)}


async def _computed_cart(world: World, _: Person) -> dict[str, Any]:
    return {"cartId": await world.cart(world.victim, HARBOUR, world.public["Product"])}


async def _computed_user(world: World, _: Person) -> dict[str, Any]:
    await world.cart(world.victim, HARBOUR, world.public["Product"])
    return {"userId": world.victim.own["User"], "storeId": world.public[HARBOUR]}


async def _computed_product(world: World, _: Person) -> dict[str, Any]:
    return {"productId": await world.product(HARBOUR), "storeId": world.public[HARBOUR]}


async def _schedule(world: World, _: Person) -> dict[str, Any]:
    return {"id": await world.insert("quality_schedules", table_name="users", check_type="NULL_CHECK", column_name="email")}


async def _changed_schedule(world: World, sender: Person) -> dict[str, Any]:
    return {**await _schedule(world, sender), "intervalMinutes": 60}


async def _requested_report(world: World, _: Person) -> dict[str, Any]:
    period = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
    return {"storeId": world.public[HARBOUR], "type": "SALES", **period}


async def _ready_report(world: World, _: Person) -> dict[str, Any]:
    ready = {"status": "READY", "generated_at": datetime.now(UTC), "expires_at": datetime(2100, 1, 1, tzinfo=UTC), "url": "x.csv"}
    return {"id": await world.insert("reports", store_id=key(world.public[HARBOUR]), type="SALES", **ready)}


async def _ready_export(world: World, _: Person) -> dict[str, Any]:
    ready = {"status": "READY", "generated_at": datetime.now(UTC), "expires_at": datetime(2100, 1, 1, tzinfo=UTC), "url": "x.zip"}
    return {"id": await world.insert("data_exports", user_id=key(world.victim.own["User"]), **ready)}


ATTACKS = {
    "updateQualitySchedule.input.id": [Attack(_changed_schedule, "administrator")],
    "deleteQualitySchedule.input.id": [Attack(_schedule, "administrator")],
    "computeCartFeatures.input.cartId": [Attack(_computed_cart)],
    "computeUserFeatures.input.userId": [Attack(_computed_user, "administrator")],
    "computeUserFeatures.input.storeId": [Attack(_computed_user, "administrator")],
    "computeProductFeatures.input.productId": [Attack(_computed_product, "administrator")],
    "computeProductFeatures.input.storeId": [Attack(_computed_product, "administrator")],
    "sendNotification.input.userId": [Attack(_sent_notification, "administrator")],
    "markNotificationAsRead.input.id": [Attack(_read_notification)],
    "createWebhook.input.storeId": [Attack(_new_webhook, "administrator")],
    "updateWebhook.input.id": [Attack(_changed_webhook, "administrator")],
    "deleteWebhook.input.id": [Attack(_webhook, "administrator")],
    "rotateWebhookSecret.input.id": [Attack(_webhook, "administrator")],
    "redeliverWebhook.input.id": [Attack(_failed_delivery, "administrator")],
    "updateStore.input.id": [Attack(_updated_store, "administrator")],
    "updateStoreSettings.input.storeId": [Attack(_store_settings, "administrator")],
    "createProduct.input.storeIds": [Attack(_created_product, "administrator")],
    "updateProduct.input.id": [Attack(_updated_product, "administrator"), Attack(_shared_product, "administrator")],
    "updateProduct.input.storeIds": [Attack(_moved_product, "administrator")],
    "archiveProduct.input.id": [Attack(_archived_product, "administrator")],
    "restoreProduct.input.id": [Attack(_restored_product, "administrator")],
    "setInventory.input.productId": [Attack(_counted_product, "administrator")],
    "adjustInventory.input.productId": [Attack(_adjusted_product, "administrator")],
    "revokeSession.input.id": [Attack(_revoked_session)],
    "revokeApiKey.input.id": [Attack(_revoked_key)],
    "assignRole.input.userId": [Attack(_given_role, "administrator")],
    "assignRole.input.roleId": [Attack(_given_role, "administrator")],
    "addToCart.input.cartId": [Attack(_filled_cart)],
    "addToCart.input.productId": [Attack(_hidden_product, None)],
    "addToCart.input.storeId": [Attack(_hidden_store, None)],
    "updateCartItem.input.cartId": [Attack(_filled_cart)],
    "updateCartItem.input.productId": [Attack(_quantity_of_hidden_product, None)],
    "removeFromCart.input.cartId": [Attack(_emptied_cart)],
    "removeFromCart.input.productId": [Attack(_line_of_hidden_product, None)],
    "acceptPrices.input.cartId": [Attack(_accepted_cart)],
    "restoreCart.input.cartId": [Attack(_left_cart)],
    "setCartEmail.input.cartId": [Attack(_guests_cart, "administrator")],
    "applyVoucher.input.cartId": [Attack(_applied_voucher)],
    "removeVoucher.input.cartId": [Attack(_cart_with_voucher)],
    "createVoucher.input.storeId": [Attack(_new_voucher, "administrator")],
    "updateVoucher.input.id": [Attack(_changed_voucher, "administrator")],
    "deactivateVoucher.input.id": [Attack(_voucher, "administrator")],
    "createOrder.input.cartId": [Attack(_ordered_cart)],
    "placeOrder.input.cartId": [Attack(_placed_order)],
    "processPayment.input.orderId": [Attack(_paid_order)],
    "cancelOrder.input.id": [Attack(_cancelled_order)],
    "refundPayment.input.paymentId": [Attack(_refunded_payment, "administrator")],
    "refundPayment.input.orderId": [Attack(_refunded_order, "administrator")],
    "capturePayment.input.paymentId": [Attack(_captured_payment, "administrator")],
    "voidPayment.input.paymentId": [Attack(_captured_payment, "administrator")],
    "resolveHeldPayment.input.paymentId": [Attack(_held_payment, "administrator")],
    "resolveQualityAnomaly.input.id": [Attack(_anomaly, "administrator")],
    "requestReport.input.storeId": [Attack(_requested_report, "administrator")],
    "createDataExportDownload.input.id": [Attack(_ready_export, None)],
    "createReportDownload.input.id": [Attack(_ready_report, None)],
    "updateReconciliationRule.input.id": [Attack(_changed_rule, "administrator")],
    "runReconciliation.input.id": [Attack(_run_rule, "administrator")],
    "repairDiscrepancies.input.executionId": [Attack(_repaired_run, "administrator")],
    "trackEvents.input.events.storeId": [Attack(_event_of_hidden_store, None)],
    "trackEvents.input.storeId": [Attack(_events_of_hidden_store, None)],
}
"""By the place of the id that is not the sender's."""

FOLLOWED = {"cartUpdated.cartId": "Cart", "liveMetrics.storeId": "Store", "orderUpdated.orderId": "Order"}
"""What subscriptions take ids of."""


def test_every_mutation_and_subscription_that_takes_an_id_is_attacked() -> None:
    assert sorted([*ATTACKS, *FOLLOWED]) == sorted(taking_ids("Mutation") + taking_ids("Subscription"))


def change_document(name: str) -> str:
    assert SCHEMA.mutation_type is not None
    field = SCHEMA.mutation_type.fields[name]
    payload = everything(SCHEMA, get_named_type(field.type).name, DEPTH)
    return f"mutation ($input: {field.args['input'].type}) {{ changed: {name}(input: $input) {payload} }}"


def refused(response: httpx.Response) -> bool:
    """Whether the change itself was refused; that its answer has columns which are not for everybody is no refusal."""
    body = response.json()
    changed = (body.get("data") or {}).get("changed")
    if changed is None:
        return {error["extensions"]["code"] for error in body["errors"]} <= REFUSALS
    return bool(changed["userErrors"] or changed.get("rejected"))


@pytest.mark.parametrize(("place", "n"), [(place, n) for place, attacks in ATTACKS.items() for n in range(len(attacks))])
async def test_nobody_changes_what_is_not_theirs(world: World, place: str, n: int) -> None:
    attack = ATTACKS[place][n]
    document = change_document(place.partition(".")[0])
    for attacker in world.attackers:
        input = await attack.input(world, attacker)
        before = await world.checksums()
        response = await attacker.caller.post(document, {"input": input})
        after = await world.checksums()
        assert refused(response), (attacker.name, response.text)
        assert MARK not in response.text, (attacker.name, response.text)
        assert before == after, (attacker.name, [name for name in before if before[name] != after[name]])
    if attack.rightful is not None:
        person = world.people[attack.rightful]
        input = await attack.input(world, person)
        before = await world.checksums()
        response = await person.caller.post(document, {"input": input})
        assert not refused(response), response.text
        assert before != await world.checksums(), "whoever has the right must be able to"


@pytest.mark.parametrize("place", FOLLOWED)
async def test_nobody_follows_what_is_not_theirs(world: World, place: str) -> None:
    name, _, argument = place.partition(".")
    document = f"subscription ($id: ID) {{ {name}({argument}: $id) {{ __typename }} }}"
    variables = {"id": world.victims[FOLLOWED[place]]}
    for attacker in world.attackers:
        async with asyncio.timeout(5):
            response = await attacker.caller.post(document, variables, Accept="text/event-stream")
        assert MARK not in response.text
        assert re.findall(r'"code":"(\w+)"', response.text)[0] in REFUSALS, (attacker.name, response.text)
        assert response.text.endswith("event: complete\ndata: \n\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await world.administrator.caller.post(document, variables, Accept="text/event-stream")

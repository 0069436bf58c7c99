"""Asked again, a query is only run: with the data of the moment, for whoever asks, and counted all the same."""

from collections.abc import AsyncIterator

import pytest

from app.api.repeated import MAX_BODY
from app.api.trusted_documents import digest
from app.seed.people import ADMINISTRATOR, SHOPPER
from tests.conftest import fresh_database
from tests.serving import Caller, gateway, settings_for

CATALOG = "query Again { products(first: 2) { nodes { id name price } totalCount } }"
MINE = "query Mine { me { email } orders(first: 50) { nodes { user { email } } } }"


@pytest.fixture(scope="module")
async def shop(postgres: str, demo: str) -> AsyncIterator[Caller]:
    """A shop of this module's own, whose rows it changes."""
    async with fresh_database(postgres, demo) as dsn, gateway(settings_for(dsn)) as caller:
        yield caller


async def test_the_second_answer_has_the_data_of_its_moment(shop: Caller) -> None:
    administrator = await shop.sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)
    first = (await administrator.ask(CATALOG))["products"]["nodes"][0]
    change = "mutation($input: UpdateProductInput!) { updateProduct(input: $input) { userErrors { message } } }"

    await administrator.ask(change, input={"id": first["id"], "name": "A name like no other"})

    assert (await administrator.ask(CATALOG))["products"]["nodes"][0]["name"] == "A name like no other"
    assert (await shop.ask(CATALOG))["products"]["nodes"][0]["name"] == "A name like no other"


async def test_the_same_body_is_each_callers_own(shop: Caller) -> None:
    callers = [await shop.sign_in(person.email, person.password) for person in (SHOPPER, ADMINISTRATOR)]
    for _ in range(2):
        mine, everybodys = [await caller.ask(MINE) for caller in callers]
        assert mine["me"] == {"email": SHOPPER.email}
        assert {node["user"]["email"] for node in mine["orders"]["nodes"]} == {SHOPPER.email}
        assert everybodys["me"] == {"email": ADMINISTRATOR.email}
        assert len({node["user"]["email"] for node in everybodys["orders"]["nodes"]}) > 1


async def test_who_loses_a_right_loses_what_was_prepared_with_it(shop: Caller) -> None:
    administrator = await shop.sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)
    shopper = await shop.sign_in(SHOPPER.email, SHOPPER.password)
    assign = "mutation($input: AssignRoleInput!) { assignRole(input: $input) { user { id } userErrors { message } } }"
    identity = (await shopper.ask("{ me { id } }"))["me"]["id"]
    roles = (await administrator.ask("{ roles { nodes { id name } } }"))["roles"]["nodes"]
    role = next(role["id"] for role in roles if role["name"] == "ADMIN")
    users = "query Users { users(first: 3) { nodes { email } } }"

    granted = await administrator.ask(assign, input={"userId": identity, "roleId": role})
    assert granted["assignRole"]["userErrors"] == []
    for _ in range(2):
        assert len((await shopper.ask(users))["users"]["nodes"]) == 3
    await administrator.ask(assign, input={"userId": identity, "roleId": None})

    refused = (await shopper.post(users)).json()
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_every_run_is_counted(shopper: Caller) -> None:
    async def compiled() -> float:
        lines = (await shopper.http.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith('graphql_executions_total{mode="compiled"'))

    before = await compiled()
    for _ in range(3):
        await shopper.ask(CATALOG)
    assert await compiled() == before + 3


async def test_what_is_told_beside_the_data_is_told_again(anonymous: Caller) -> None:
    first, second = [(await anonymous.post(CATALOG)).json() for _ in range(2)]
    assert first["extensions"]["cost"]["requested"] > 0
    assert first == second


async def test_a_long_body_is_answered_as_often(anonymous: Caller) -> None:
    long = CATALOG + "#" * MAX_BODY
    assert await anonymous.ask(long) == await anonymous.ask(long) == await anonymous.ask(CATALOG)


async def test_a_text_that_comes_with_its_hash_is_registered_each_time(shop: Caller) -> None:
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": digest(CATALOG)}}
    for _ in range(2):
        assert "data" in (await shop.http.post("/graphql", json={"query": CATALOG, "extensions": extensions})).json()
    for _ in range(2):
        assert "data" in (await shop.http.post("/graphql", json={"extensions": extensions})).json()

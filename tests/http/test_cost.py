"""Developers are told what their operations cost; callers of production are not."""

from typing import Any

from tests.serving import Caller, gateway, settings_for

CHEAP = "{ products(first: 7) { nodes { id name } } }"
STORES = "nodes { stores { id name domain url status createdAt updatedAt } }"
DEAR = f"{{ {' '.join(f'p{number}: products(first: 100) {{ {STORES} }}' for number in range(10))} }}"
SIZED = "query ($size: Int!) { products(first: $size) { nodes { id name } } }"


async def asked(caller: Caller, query: str, **variables: Any) -> dict[str, Any]:
    body: dict[str, Any] = (await caller.post(query, variables)).json()
    return body


async def test_an_answer_tells_what_its_operation_cost(anonymous: Caller) -> None:
    cost = (await asked(anonymous, CHEAP))["extensions"]["cost"]

    assert cost["limit"] == 35_000
    assert 14 <= cost["requested"] <= 30


async def test_the_cost_grows_with_the_size_that_a_variable_gives(anonymous: Caller) -> None:
    few, many = [(await asked(anonymous, SIZED, size=size))["extensions"]["cost"]["requested"] for size in (2, 100)]

    assert many >= 20 * few


async def test_a_refused_operation_tells_what_it_would_have_cost(anonymous: Caller) -> None:
    body = await asked(anonymous, DEAR)

    assert body["errors"][0]["extensions"]["code"] == "TOO_COMPLEX"
    assert body["extensions"]["cost"]["requested"] > 35_000


async def test_production_keeps_it_to_itself(database_url: str) -> None:
    strong = {"argon2_memory_kib": 19_456, "argon2_time_cost": 2}
    async with gateway(settings_for(database_url, environment="production", **strong)) as caller:
        assert "extensions" not in await asked(caller, CHEAP)

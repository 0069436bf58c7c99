"""Over HTTP: a query is compiled, or executed by resolvers, by setting; and tells how when it is asked in development."""

import asyncio
import re

import asyncpg
import pytest

from app.settings import Environment, ExecutionMode
from tests.conftest import fresh_database
from tests.http.watching import blocked, locked
from tests.serving import Caller, eventually, gateway, settings_for

QUERY = "{ products(first: 3, orderBy: { field: PRICE }) { nodes { id name price createdAt stores { name } } totalCount } }"


async def test_both_ways_of_execution_answer_alike(postgres: str, migrated: str) -> None:
    async with fresh_database(postgres, migrated) as dsn:
        async with gateway(settings_for(dsn, demo_data=True)) as caller:
            compiled = await caller.ask(QUERY)
            metrics = (await caller.http.get("/metrics")).text
        assert 'graphql_executions_total{mode="compiled",reason=""}' in metrics
        async with gateway(settings_for(dsn, execution=ExecutionMode.STANDARD)) as caller:
            standard = await caller.ask(QUERY)
            metrics = (await caller.http.get("/metrics")).text
        assert 'graphql_executions_total{mode="compiled",reason=""} 0.0' in metrics or "graphql_executions_total{" not in metrics
    assert compiled == standard
    assert len(compiled["products"]["nodes"]) == 3


async def test_a_query_explains_itself_in_development(anonymous: Caller) -> None:
    answer = (await anonymous.post(QUERY, None, **{"X-Explain": "1"})).json()
    shown = answer["extensions"]["explain"]
    assert shown["execution"] == "compiled"
    assert shown["statements"]["products"]["sql"].startswith("SELECT json_build_object")
    assert answer["data"] == await anonymous.ask(QUERY)


async def test_production_explains_nothing(postgres: str, migrated: str) -> None:
    production = {"environment": Environment.PRODUCTION, "argon2_memory_kib": 19 * 1024, "argon2_time_cost": 2}
    async with (
        fresh_database(postgres, migrated) as dsn,
        gateway(settings_for(dsn, **production)) as caller,
    ):
        answer = (await caller.post("{ products { totalCount } }", None, **{"X-Explain": "1"})).json()
    assert answer == {"data": {"products": {"totalCount": 0}}}


@pytest.mark.parametrize("header", ["0", "true"])
async def test_only_one_asks_for_an_explanation(anonymous: Caller, header: str) -> None:
    answer = (await anonymous.post(QUERY, None, **{"X-Explain": header})).json()
    assert "explain" not in answer["extensions"]


async def test_slow_root_fields_run_side_by_side_and_are_timed_by_name(database_url: str, watcher: asyncpg.Connection) -> None:
    """Once each has been seen to take long, one that waits does not keep the other waiting."""
    query = "{ dear: products { totalCount } stores { totalCount } }"
    second = await asyncpg.connect(database_url, timeout=10)
    async with gateway(settings_for(database_url, response_cache="off")) as caller:
        async with locked(second, "stores"):
            async with locked(watcher, "products"):
                asked = asyncio.create_task(caller.ask(query))
                await blocked(watcher)
                await asyncio.sleep(0.05)
            await _until_timed(caller, products=1, stores=0)
            await asyncio.sleep(0.05)
        assert await asked == {"dear": {"totalCount": 0}, "stores": {"totalCount": 0}}
        async with locked(watcher, "products"):
            asked = asyncio.create_task(caller.ask(query))
            await _until_timed(caller, products=1, stores=2)
            assert not asked.done()
        await asked
        await _until_timed(caller, products=2, stores=2)
    await second.close()


TIMED = re.compile(r'repository_operation_seconds_count{entity="(\w+)",operation="\1",result="success"} (\d+)')


async def _until_timed(caller: Caller, **expected: int) -> None:
    """Wait until so many statements are in the metrics, under the names of the root fields."""

    async def are_timed() -> bool:
        found = dict(TIMED.findall((await caller.http.get("/metrics")).text))
        return all(int(found.get(name, 0)) == count for name, count in expected.items())

    await eventually(are_timed)

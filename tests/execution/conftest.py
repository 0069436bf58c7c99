"""The whole schema over a small shop, executed both ways."""

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import asyncpg
import orjson
import pytest
import strawberry
from graphql import DocumentNode, ExecutionResult, GraphQLObjectType, GraphQLSchema, OperationDefinitionNode, execute, parse

from app.api.context import Context, RequestInfo
from app.api.declared import declarations
from app.core.cache import Cache, memory_backend
from app.core.database import Database
from app.core.metrics import Metrics
from app.core.security import Viewer
from app.execution.declarations import Declarations
from app.execution.runtime import CompiledExecution
from app.repositories import Repositories, create_repository_factory
from app.schema import create_schema
from tests.conftest import fresh_database
from tests.execution.bazaar import create_bazaar
from tests.execution.documents import Pools
from tests.execution.shop import Filler, Shop

SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))


@dataclass
class Both:
    """Both executors over one database."""

    schema: GraphQLSchema
    declarations: Declarations
    compiled: CompiledExecution
    metrics: Metrics
    repositories: Repositories
    shop: Shop
    pools: Pools

    def context(self, viewer: Viewer) -> Context:
        return Context(repositories=self.repositories.scoped(viewer), request=RequestInfo(id="test"), services=None)

    async def standard(self, document: DocumentNode, variables: dict[str, Any], viewer: Viewer) -> ExecutionResult:
        result = execute(self.schema, document, context_value=self.context(viewer), variable_values=variables)
        return result if isinstance(result, ExecutionResult) else await result

    async def compile(self, text: str, document: DocumentNode, variables: dict[str, Any], viewer: Viewer) -> Any:
        """The compiled answer's data; None where the executor refuses."""
        operation = next(d for d in document.definitions if isinstance(d, OperationDefinitionNode))
        body = await self.compiled.execute(text, document, operation, variables, self.context(viewer))
        return None if body is None else orjson.loads(body)["data"]

    def refusals(self) -> dict[str, float]:
        """How many operations were executed how, by mode and reason."""
        found: dict[str, float] = {}
        for metric in self.metrics.executions.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    found[f"{sample.labels['mode']} {sample.labels['reason']}".strip()] = sample.value
        return found


@pytest.fixture(scope="session")
async def shop_database(postgres: str, migrated: str) -> AsyncIterator[tuple[str, Shop]]:
    async with fresh_database(postgres, migrated) as dsn:
        connection = await asyncpg.connect(dsn, timeout=10)
        shop = await Filler(connection, Random(SEED)).fill()
        for table in ("roles", "role_permissions", "cart_items", "order_items"):
            shop.ids[table] = [row["id"] for row in await connection.fetch(f"select id from {table} limit 20")]
        await connection.close()
        yield dsn, shop


@asynccontextmanager
async def both_over(schema: strawberry.Schema, dsn: str, shop: Shop) -> AsyncIterator[Both]:
    """Both executors of a schema over one database."""
    database = Database(dsn)
    await database.open()
    metrics, declared = Metrics(), declarations(schema)
    repositories = create_repository_factory(database, Cache(memory_backend(), metrics), metrics)
    compiled = CompiledExecution(schema._schema, declared, metrics)
    pools = Pools({name: _global_ids(name, shop.ids.get(table, [])) for name, table in declared.repositories.items()}, shop.skus)
    both = Both(schema._schema, declared, compiled, metrics, repositories, shop, pools)
    await _collect_cursors(both)
    yield both
    await database.close()


@pytest.fixture(scope="session")
async def both(shop_database: tuple[str, Shop]) -> AsyncIterator[Both]:
    """Over the gateway's schema."""
    async with both_over(create_schema(), *shop_database) as both:
        yield both


@pytest.fixture(scope="session")
async def bazaar(shop_database: tuple[str, Shop]) -> AsyncIterator[Both]:
    """Over the schema in which much goes wrong."""
    async with both_over(create_bazaar(), *shop_database) as both:
        yield both


def _global_ids(name: str, ids: list[Any]) -> list[str]:
    return [base64.b64encode(f"{name}:{id}".encode()).decode() for id in ids]


async def _collect_cursors(both: Both) -> None:
    """Cursors of every list that the query type has, as an administrator sees it."""
    query = both.schema.query_type
    assert query is not None
    for name, definition in query.fields.items():
        if "first" in definition.args:
            document = parse(f"{{ {name}(first: 20) {{ edges {{ cursor }} }} }}")
            result = await both.standard(document, {}, both.shop.viewers["administrator"])
            edges = ((result.data or {}).get(name) or {"edges": []})["edges"]
            both.pools.cursors[f"Query.{name}"] = [edge["cursor"] for edge in edges]
    await _collect_nested_cursors(both)


async def _collect_nested_cursors(both: Both) -> None:
    """Cursors of the orders of every store, where stores have any."""
    kind = both.schema.get_type("Store")
    if not isinstance(kind, GraphQLObjectType) or "orders" not in kind.fields:
        return
    document = parse("{ stores { nodes { orders(first: 20) { edges { cursor } } } } }")
    result = await both.standard(document, {}, both.shop.viewers["administrator"])
    assert result.data is not None, result.errors
    found = [edge["cursor"] for store in result.data["stores"]["nodes"] for edge in store["orders"]["edges"]]
    both.pools.cursors["Store.orders"] = found

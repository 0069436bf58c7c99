"""Rows that several requests look up at the same time: fewer statements, the same answers, and nobody suffers for another."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from graphql import parse

from app.api.scalars import encode_id
from app.core.database import Database
from app.core.errors import InvalidValue, Unavailable
from app.execution.lookups import MOST_ROWS, Lookups
from tests.execution.conftest import Both

ONE = "select to_json($1::uuid)"
MANY = "select to_json(k) from unnest($1::uuid[]) with ordinality as given(k, place) order by place"
DOCUMENTS = {
    "Product": "query ($id: ID!) { product(id: $id) { id name price stores { name } inventory { available onHand } } }",
    "Order": "query ($id: ID!) { order(id: $id) { id total user { email } items { id lineTotal product { name } } } }",
    "Store": "query ($id: ID!) { store(id: $id) { id name settings { currency } } }",
    "Cart": "query ($id: ID!) { node(id: $id) { ... on Cart { id total items { quantity } } } }",
}


class Table:
    """Where ids are looked up; it remembers how, and which of them cannot be looked up together with others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lookups = Lookups()
        self.asked: list[int] = []
        self.poison: set[UUID] = set()

    async def find(self, id: UUID, key: str = "same") -> Any:
        rows = await self._lookups.find(key, id, lambda: self._one(id), self._many)
        return UUID(rows[0][0].decode().strip('"'))

    async def _one(self, id: UUID) -> Sequence[Any]:
        self.asked.append(1)
        return await self._database.compose(ONE, [id])

    async def _many(self, ids: Sequence[UUID]) -> Sequence[Any]:
        self.asked.append(len(ids))
        if self.poison & set(ids):
            await self._database.compose(MANY, [["no id"]])
        return await self._database.compose(MANY, [ids])


@pytest.fixture
def table(database: Database) -> Table:
    return Table(database)


async def test_who_comes_alone_has_a_statement_of_its_own(table: Table) -> None:
    for _ in range(3):
        assert await table.find(id := uuid4()) == id
    assert table.asked == [1, 1, 1]


async def test_who_comes_while_one_is_at_work_waits_and_shares(table: Table) -> None:
    ids = [uuid4() for _ in range(50)]
    ids += ids[:3]
    assert await asyncio.gather(*map(table.find, ids)) == ids
    assert table.asked == [1, 52]


async def test_a_statement_for_many_is_bounded(table: Table) -> None:
    ids = [uuid4() for _ in range(2 * MOST_ROWS + 11)]
    assert await asyncio.gather(*map(table.find, ids)) == ids
    assert table.asked == [1, MOST_ROWS, MOST_ROWS, 10]


async def test_nobody_shares_with_whom_it_has_not_all_in_common(table: Table) -> None:
    ids = [uuid4() for _ in range(4)]
    assert await asyncio.gather(*(table.find(id, key) for id, key in zip(ids, "aabb", strict=True))) == ids
    assert table.asked == [1, 1, 1, 1]


async def test_what_cannot_be_looked_up_together_is_looked_up_alone(table: Table) -> None:
    ids = [uuid4() for _ in range(5)]
    table.poison = {ids[3]}
    assert await asyncio.gather(*map(table.find, ids)) == ids
    assert table.asked == [1, 4, 1, 1, 1, 1]


async def test_who_gives_up_takes_nothing_from_the_others(table: Table) -> None:
    ids = [uuid4() for _ in range(6)]
    finding = [asyncio.create_task(table.find(id)) for id in ids]
    await asyncio.sleep(0)
    finding[0].cancel()
    finding[2].cancel()
    found = await asyncio.gather(*finding, return_exceptions=True)
    assert [type(one) for one in found] == [asyncio.CancelledError, UUID, asyncio.CancelledError, UUID, UUID, UUID]
    assert table.asked == [1, 4]
    assert await table.find(ids[0]) == ids[0]


async def test_a_database_that_goes_away_is_told_to_all_who_wait(table: Table, database: Database) -> None:
    finding = [asyncio.create_task(table.find(uuid4())) for _ in range(5)]
    await asyncio.sleep(0)
    await database.close()
    found = await asyncio.gather(*finding, return_exceptions=True)
    assert [type(one) for one in found[1:]] == [Unavailable] * 4
    assert table.asked == [1, 4]


async def test_one_that_fails_alone_fails_for_itself(table: Table, database: Database) -> None:
    ids = [uuid4(), uuid4()]
    first = asyncio.create_task(Lookups().find("k", ids[0], lambda: database.compose(ONE, ["no id"]), table._many))
    with pytest.raises(InvalidValue):
        await first


@pytest.mark.parametrize("kind", DOCUMENTS)
async def test_all_who_ask_at_once_get_their_own_rows(both: Both, kind: str) -> None:
    text = DOCUMENTS[kind]
    document = parse(text)
    ids = [*both.pools.ids[kind][:8], encode_id(kind, uuid4()), *both.pools.ids[kind][:3]]
    questions = [(id, viewer) for id in ids for viewer in both.shop.viewers.values()]

    async def ask(id: str, viewer: Any) -> Any:
        return await both.compile(text, document, {"id": id}, viewer)

    together = await asyncio.gather(*(ask(*question) for question in questions))
    assert together == [await ask(*question) for question in questions]
    shown = [answer for answer in together if answer is not None and next(iter(answer.values())) is not None]
    assert 0 < len(shown) < len(questions)
    for (id, viewer), answer in list(zip(questions, together, strict=True))[::7]:
        expected = await both.standard(document, {"id": id}, viewer)
        if answer is not None:
            assert (expected.data, expected.errors) == (answer, None)

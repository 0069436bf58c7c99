"""Several gateways over one database: what one changes, the others do not remember differently."""

import asyncio

from tests.serving import eventually, gateway, new_administrator, settings_for

CREATE = "mutation ($name: String!) { createProduct(input: { name: $name, price: 1 }) { product { id } userErrors { message } } }"
UPDATE = "mutation ($id: ID!) { updateProduct(input: { id: $id, price: 2 }) { product { price } userErrors { message } } }"


async def test_changes_at_the_same_time_are_all_heard(database_url: str) -> None:
    """The reader keeps products in its memory: by resolvers, since compiled queries always ask the database."""
    async with gateway(settings_for(database_url)) as writer, gateway(settings_for(database_url, execution="standard")) as reader:
        administrator = await new_administrator(writer, database_url)
        made = await asyncio.gather(*(administrator.ask(CREATE, name=f"Lantern {n}") for n in range(20)))
        ids = [answer["createProduct"]["product"]["id"] for answer in made]
        read = [f'p{n}: product(id: "{id}") {{ price }}' for n, id in enumerate(ids)]
        query = f"{{ {' '.join(read)} }}"
        assert {product["price"] for product in (await reader.ask(query)).values()} == {"1.00"}
        changed = await asyncio.gather(*(administrator.ask(UPDATE, id=id) for id in ids))
        assert [answer["updateProduct"]["product"]["price"] for answer in changed] == ["2.00"] * 20

        async def all_heard() -> bool:
            return {product["price"] for product in (await reader.ask(query)).values()} == {"2.00"}

        await eventually(all_heard, 5)

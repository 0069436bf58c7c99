"""A GraphQL client of the Python world: it reads the schema, checks its documents against it, and speaks the protocol its own way."""

from collections.abc import AsyncIterator

import pytest
from gql import Client, GraphQLRequest, gql
from gql.client import AsyncClientSession
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport

from app.seed.people import SHOPPER
from tests.serving import SIGN_IN, Served


@pytest.fixture
async def session(shop: Served) -> AsyncIterator[AsyncClientSession]:
    transport = HTTPXAsyncTransport(url=f"{shop.url}/graphql", timeout=30)
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        yield session


async def test_client_reads_the_schema_and_signs_in(session: AsyncClientSession, shop: Served) -> None:
    document = GraphQLRequest(SIGN_IN, variable_values={"input": {"email": SHOPPER.email, "password": SHOPPER.password}})
    token = (await session.execute(document))["signIn"]["session"]["token"]
    transport = HTTPXAsyncTransport(url=f"{shop.url}/graphql", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    async with Client(transport=transport) as signed_in:
        assert (await signed_in.execute(gql("{ me { email } }")))["me"] == {"email": SHOPPER.email}


async def test_client_walks_through_all_pages(session: AsyncClientSession) -> None:
    query = """
        query Page($after: String) {
          products(first: 100, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes { ...Tile } }
        }
        fragment Tile on Product { id name price }
    """
    seen: list[str] = []
    after, more = None, True
    while more:
        page = (await session.execute(GraphQLRequest(query, variable_values={"after": after})))["products"]
        seen += [product["id"] for product in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert len(seen) == len(set(seen)) == page["totalCount"]


async def test_client_is_told_what_is_wrong(session: AsyncClientSession) -> None:
    with pytest.raises(TransportQueryError) as refusal:
        await session.execute(gql('{ product(id: "nonsense") { id } }'))
    assert refusal.value.errors
    assert refusal.value.errors[0]["extensions"] == {"code": "BAD_USER_INPUT", "argument": "id"}

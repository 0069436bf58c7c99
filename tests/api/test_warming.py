"""What the manifest names is ready before anybody asks for it."""

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, parse

from app.api.scalars import decode_any_id
from app.api.warming import samples
from app.schema import create_schema


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return create_schema()._schema


def operation(text: str) -> OperationDefinitionNode:
    found = parse(text).definitions[0]
    assert isinstance(found, OperationDefinitionNode)
    return found


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("query ($id: ID!) { product(id: $id) { id } }", ["Product"]),
        ("query ($id: ID!) { mine: order(id: $id) { id } store(id: $id) { id } }", ["Order", "Store"]),
    ],
)
def test_ids_are_of_the_types_that_are_asked_for(schema: GraphQLSchema, text: str, types: list[str]) -> None:
    assert [decode_any_id(found["id"], "id")[0] for found in samples(schema, operation(text))] == types


def test_flags_fall_both_ways_and_what_has_a_default_keeps_it(schema: GraphQLSchema) -> None:
    text = "query ($flag: Boolean!, $sku: String!, $first: Int = 5, $after: String) { product(sku: $sku) { id @skip(if: $flag) } }"
    assert samples(schema, operation(text)) == [{"flag": True, "sku": ""}, {"flag": False, "sku": ""}]


def test_sizes_and_filters_have_no_samples(schema: GraphQLSchema) -> None:
    text = "query ($first: Int!, $filter: ProductFilter!) { products(first: $first, filter: $filter) { nodes { id } } }"
    assert samples(schema, operation(text)) == [{}]

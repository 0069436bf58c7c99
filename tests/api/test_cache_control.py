"""The policy of an operation, by the rule that Apollo Server documents."""

import pytest
import strawberry
from graphql import GraphQLSchema

from app.api.cache_control import INHERITED, CacheControl, CacheControlScope, CachePolicies, Policy, cached
from app.api.documents import Documents
from app.api.limits import Limits
from app.schema import create_schema


@strawberry.type(directives=[CacheControl(scope=CacheControlScope.PRIVATE)])
class Reader:
    name: str


@strawberry.type(directives=[INHERITED])
class Shelf:
    label: str


@strawberry.type(directives=[cached(60)])
class Book:
    title: str
    price: str = strawberry.field(directives=[cached(30)])
    stock: str = strawberry.field(directives=[cached(0)])
    shelf: Shelf
    reader: Reader
    borrower: Reader = strawberry.field(directives=[cached(10)])
    sequel: "Book" = strawberry.field(directives=[cached(20)])
    other: "Book" = strawberry.field(directives=[INHERITED])


@strawberry.type
class Author:
    name: str


@strawberry.type
class BookQuery:
    book: Book = strawberry.field(directives=[cached(300)])
    hinted_by_type: Book
    hinted: Author = strawberry.field(directives=[cached(40)])
    author: Author
    motto: str
    mottos: list[str] = strawberry.field(directives=[cached(50)])
    shelf: Shelf
    mine: Book = strawberry.field(directives=[cached(90, private=True)])


def policy(schema: GraphQLSchema, text: str, name: str | None = None) -> Policy:
    documents = Documents(schema, Limits(100, 1_000_000, 1000, 1000), max_tokens=10_000, introspection=True)
    document = documents.read(text)
    assert documents.check(document, name, {}) == []
    return CachePolicies(schema).policy(document, document.operation(name))


@pytest.fixture(scope="module")
def books() -> GraphQLSchema:
    return strawberry.Schema(BookQuery)._schema


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A field's hint wins over its type's; scalars have what their parent has.
        ("{ book { title } }", Policy(300)),
        ("{ hintedByType { title } }", Policy(60)),
        ("{ hinted { name } }", Policy(40)),
        # The least of all.
        ("{ book { title price } }", Policy(30)),
        ("{ book { title price sequel { title } } }", Policy(20)),
        ("{ book { title } hinted { name } }", Policy(40)),
        # 0 for root fields and for objects that say nothing.
        ("{ author { name } }", Policy(0)),
        ("{ motto }", Policy(0)),
        ("{ mottos }", Policy(50)),
        ("{ book { title } motto }", Policy(0)),
        ("{ book { stock } }", Policy(0)),
        # As the parent, where a type or a field says so; a type's own age goes before a field's wish to inherit.
        ("{ book { shelf { label } } }", Policy(300)),
        ("{ shelf { label } }", Policy(0)),
        ("{ book { other { title } } }", Policy(60)),
        # Private where anything is.
        ("{ book { title borrower { name } } }", Policy(10, private=True)),
        ("{ book { title reader { name } } }", Policy(0, private=True)),
        ("{ mine { title } }", Policy(90, private=True)),
        # Fragments, directives and meta fields.
        ("{ book { ...F } } fragment F on Book { title ...G } fragment G on Book { ... @include(if: false) { price } }", Policy(30)),
        ("{ book { __typename title } }", Policy(300)),
        ("{ __typename book { title } }", Policy(0)),
        ("{ __schema { queryType { name } } }", Policy(0)),
    ],
)
def test_the_least_age_and_the_narrowest_scope_hold(books: GraphQLSchema, text: str, expected: Policy) -> None:
    assert policy(books, text) == expected


def test_each_operation_of_a_document_has_its_own(books: GraphQLSchema) -> None:
    text = "query A { book { title } } query B { motto }"
    assert [policy(books, text, name).max_age for name in "AB"] == [300, 0]


def test_fragments_that_double_each_other_take_no_time(books: GraphQLSchema) -> None:
    doubling = " ".join(f"fragment F{n} on Book {{ ...F{n + 1} ...F{n + 1} }}" for n in range(15))
    documents = Documents(books, Limits(10**6, 10**12, 10**6, 10**6), max_tokens=10_000, introspection=True)
    document = documents.read(f"{{ book {{ ...F0 }} }} {doubling} fragment F15 on Book {{ price }}")
    assert CachePolicies(books).policy(document, document.operation(None)) == Policy(30)


@pytest.mark.parametrize(
    ("found", "header"),
    [(Policy(60), "max-age=60, public"), (Policy(60, private=True), "max-age=60, private"), (Policy(0), "no-store")],
)
def test_policies_as_http_says_them(found: Policy, header: str) -> None:
    assert found.header == header


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ products { nodes { id name } pageInfo { hasNextPage } edges { cursor node { sku } } totalCount } }", Policy(60)),
        ("{ products { nodes { name inventory { available } } } }", Policy(5)),
        ('{ store(domain: "tea.example") { name settings { currency } } }', Policy(300)),
        ("{ stores { nodes { name } } products { nodes { stores { name } } } }", Policy(60)),
        ("{ me { id } products { nodes { id } } }", Policy(0)),
        ("{ orders { nodes { id } } }", Policy(0)),
        ('{ node(id: "x") { id } }', Policy(0)),
    ],
)
def test_the_shop_keeps_what_everybody_sees(text: str, expected: Policy) -> None:
    assert policy(SHOP, text) == expected


SHOP = create_schema()._schema

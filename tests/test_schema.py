"""The printed schema is what the code says."""

from graphql import build_schema

from app.schema import create_schema, printed_schema
from tests.serving import REPOSITORY


def test_the_printed_schema_is_up_to_date() -> None:
    assert (REPOSITORY / "schema.graphql").read_text(encoding="utf-8") == printed_schema(), "run `make schema`"


def test_the_printed_schema_can_be_read_by_other_tools() -> None:
    schema = build_schema(printed_schema())
    assert schema.query_type is not None
    assert schema.mutation_type is not None


def test_root_mutation_fields_are_nullable() -> None:
    """A failure in one must not erase the answers of those that already took effect."""
    mutations = create_schema()._schema.mutation_type
    assert mutations is not None
    assert [name for name, field in mutations.fields.items() if str(field.type).endswith("!")] == []

"""The shop, for the tests of this domain."""

from tests.shop import premises, schema, shop

__all__ = ["premises", "schema", "shop"]

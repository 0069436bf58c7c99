"""The shop, for the tests of this domain."""

from tests.shop import schema, shop

__all__ = ["schema", "shop"]

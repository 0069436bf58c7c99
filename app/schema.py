"""The whole GraphQL schema, merged from the domains."""

import functools
from typing import Any

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from app.accounts.mutations import AccountsMutation
from app.accounts.queries import AccountsQuery
from app.analytics.mutations import AnalyticsMutation
from app.analytics.queries import AnalyticsQuery
from app.analytics.subscriptions import AnalyticsSubscription
from app.api.context import Info
from app.api.declared import show_access
from app.api.node import NodeQuery
from app.api.scalars import SCALARS
from app.api.scopes import enforce_scopes
from app.carts.mutations import CartMutation, VoucherMutation
from app.carts.queries import CartQuery
from app.carts.subscriptions import CartSubscription
from app.catalog.mutations import CatalogMutation
from app.catalog.queries import CatalogQuery
from app.engagement.mutations import EngagementMutation
from app.engagement.queries import EngagementQuery
from app.engagement.subscriptions import NotificationSubscription
from app.orders.mutations import OrderMutation
from app.orders.queries import OrderQuery
from app.orders.subscriptions import OrderSubscription
from app.privacy.mutations import PrivacyMutation
from app.privacy.queries import PrivacyQuery
from app.quality.mutations import QualityMutation
from app.quality.queries import QualityQuery
from app.quality.reconciliation_mutations import ReconciliationMutation
from app.quality.reconciliation_queries import ReconciliationQuery
from app.stores.mutations import StoreMutation
from app.stores.queries import StoreQuery

Query: Any = merge_types(
    "Query",
    (
        NodeQuery,
        StoreQuery,
        AccountsQuery,
        CatalogQuery,
        CartQuery,
        OrderQuery,
        EngagementQuery,
        AnalyticsQuery,
        QualityQuery,
        ReconciliationQuery,
        PrivacyQuery,
    ),
)
Mutation: Any = merge_types(
    "Mutation",
    (
        StoreMutation,
        AccountsMutation,
        CatalogMutation,
        CartMutation,
        VoucherMutation,
        OrderMutation,
        EngagementMutation,
        AnalyticsMutation,
        QualityMutation,
        ReconciliationMutation,
        PrivacyMutation,
    ),
)
Subscription: Any = merge_types("Subscription", (CartSubscription, OrderSubscription, NotificationSubscription, AnalyticsSubscription))


@functools.cache
def create_schema() -> strawberry.Schema:
    """The schema, which nothing changes once it is built. To build it takes a fifth of a second."""
    schema = strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        config=StrawberryConfig(info_class=Info, scalar_map=SCALARS),
    )
    show_access(schema)
    enforce_scopes(schema._schema)  # noqa: SLF001 - the graphql-core schema, which Strawberry keeps for itself
    return schema


def printed_schema() -> str:
    """The schema in the schema definition language, as schema.graphql holds it."""
    return create_schema().as_str() + "\n"

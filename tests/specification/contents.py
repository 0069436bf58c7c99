"""The specification's table of contents: every operation of its examples, in its order, and the GraphQL field that does the same."""

from collections.abc import Iterable, Mapping
from typing import Final

import pytest

PYTHON, GRAPHQL = "Python", "GraphQL"

CONTENTS: Final[Mapping[str, Mapping[str, str | None]]] = {
    "Importing types": {"importModels": None},
    "Store operations": {"createStore": "createStore", "updateStoreSettings": "updateStoreSettings", "getActiveStores": "stores"},
    "User management": {"createUser": "signUp", "authenticateUser": "signIn", "getUserProfile": "me"},
    "Commerce operations": {"addToCart": "addToCart", "createOrder": "createOrder", "processPayment": "processPayment"},
    "Analytics & features": {
        "computeCartFeatures": "computeCartFeatures",
        "sendNotification": "sendNotification",
        "getUserNotifications": "notifications",
        "markNotificationAsRead": "markNotificationAsRead",
    },
    "API key management": {
        "createApiKey": "createApiKey",
        "validateApiKey": "Authorization: Bearer",
        "revokeApiKey": "revokeApiKey",
        "getUserApiKeys": "apiKeys",
        "updateApiKeyUsage": "apiKeys.usageCount",
    },
    "System operations": {
        "runQualityCheck": "runQualityCheck",
        "createReconciliationRule": "createReconciliationRule",
        "getFailedQualityChecks": "failedQualityChecks",
        "getActiveReconciliationRules": "reconciliationRules",
    },
    "Type guards and utilities": {
        "isActiveUser": "User.status",
        "isCompletedOrder": "Order.status",
        "UserCreateInput": "SignUpInput",
        "OrderUpdateInput": "cancelOrder",
        "validateEmail": "signUp",
        "validateOrderStatusTransition": "cancelOrder",
    },
    "Integration with database clients": {
        "createRepositoryFactory": None,
        "UserService.authenticateUser": "signIn",
        "AnalyticsService.trackUserEvent": "trackEvents",
        "OrderService.placeOrder": "placeOrder",
    },
}
"""By section, each operation and its field; None where nothing of it is for the API."""

WAYS: Final = {
    (operation, way)
    for operations in CONTENTS.values()
    for operation, field in operations.items()
    for way in (PYTHON, GRAPHQL)
    if way == PYTHON or field is not None
}


def operation(name: str, way: str = PYTHON) -> pytest.MarkDecorator:
    """Says which operation a test walks through, and on which way."""
    assert (name, way) in WAYS, f"{name} in {way} is not in the table of contents"
    return pytest.mark.operation(name, way)


def checklist(passed: Iterable[tuple[str, str]], failed: Iterable[tuple[str, str]]) -> list[str]:
    """The table of contents with what became of each operation, a line per operation; nothing where none was tried."""
    results = {**dict.fromkeys(passed, "ok"), **dict.fromkeys(failed, "FAILED")}
    if not results:
        return []
    lines = ["Specification, operation by operation:"]
    for section, operations in CONTENTS.items():
        lines.append(f"  {section}")
        lines += [f"    {_line(name, field, results)}".rstrip() for name, field in operations.items()]
    return lines


def _line(name: str, field: str | None, results: Mapping[tuple[str, str], str]) -> str:
    python = f"{name:<34}{PYTHON} {results.get((name, PYTHON), 'not run'):<9}"
    return python if field is None else f"{python}{GRAPHQL} {results.get((name, GRAPHQL), 'not run'):<9}({field})"

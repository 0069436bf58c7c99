"""Amounts as GraphQL shows them: a decimal string with exactly the digits of the row's currency."""

from typing import Any

import strawberry

from app.api.context import Info
from app.api.scalars import MoneyText
from app.core.money import format_amount


def money(column: str, *, currency: str = "currency", description: str | None = None) -> Any:
    """A field that shows the amount in `column`, if there is one, in the currency of the same row."""

    def resolve(root, info):  # type: ignore[no-untyped-def]
        amount = getattr(root, column)
        return None if amount is None else MoneyText(format_amount(amount, getattr(root, currency)))

    resolve.__annotations__ = {"root": Any, "info": Info}
    return strawberry.field(resolver=resolve, description=description, metadata={"money": (column, currency)})
